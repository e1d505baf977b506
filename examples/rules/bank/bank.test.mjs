// A card that is not in its holder's hands is frozen before the shop has the money.
// On the wall clock, with a real collector and real receiving ends; `../rules.test.mjs` runs the fixtures, on virtual time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { play } from './play.mjs';

const CEILING_MS = 1800; // what banks promise each other for the slowest; a machine that does nothing else takes some ten

test('the card is frozen, its holder and the fraud team know, and a forged event does nothing', { timeout: 60_000 }, async () => {
  const { refused, usual, decided, at, received, fired, all, flagged } = await play(() => {});
  assert.deepEqual([refused.status, refused.answer.error.code], [403, 'not_trusted']);
  assert.deepEqual([usual.answer.decision, usual.answer.complete], ['allow', true]);
  const { answer, tookMs } = decided;
  assert.deepEqual([answer.decision, answer.by, answer.complete], ['freeze', 'freeze_card', true]);
  assert.ok(tookMs < CEILING_MS, `the decision took ${tookMs} ms`);

  const of = (kind) => received.filter((it) => it.kind === kind);
  const [[frozen], [text], [watched]] = [of('webhook'), of('sms'), of('slack')];
  assert.deepEqual([of('webhook').length, of('sms').length, of('slack').length], [1, 1, 1]);
  assert.equal(frozen.event.person.name, 'holder-1');
  assert.equal(frozen.event.event.properties.amount, 900);
  assert.equal(frozen.id, fired.actions[0].id, 'the same id at every attempt');
  assert.equal(text.to, '+351210000001');
  assert.match(text.text, /used in TH for 900 EUR. We froze it/);
  assert.match(watched.text, /two countries in a day \+0.4/);
  for (const it of received) assert.ok(it.at - at < CEILING_MS, `${it.kind} after ${it.at - at} ms`);

  assert.deepEqual(fired.actions.map(({ kind, state }) => `${kind} ${state}`), ['webhook accepted', 'sms accepted', 'set accepted', 'emit accepted']);
  assert.equal(flagged.traits.card_frozen.value, true);
  assert.deepEqual(all.map(({ name }) => name), ['holder-1']);
});
