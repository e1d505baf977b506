// Who could not pay is told at once; who is to be left alone is left alone.
// On the wall clock, with a real collector and real receiving ends; `../rules.test.mjs` runs the fixtures, on virtual time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { play } from './play.mjs';

test('one message in the page and one e-mail, and the reason for each that was not sent', { timeout: 60_000 }, async () => {
  const { capped, silent, spammed, asleep, firings, received, heard } = await play(() => {});
  assert.deepEqual(received.map(({ to }) => to), [['awake@customers.example']]);
  const [mail] = received;
  assert.equal(mail.subject, 'Your payment of 40 EUR did not go through');
  assert.match(mail.parts['text/plain'], /Hello shopper,\s+the card that we have of yours has expired.\s+.*o-1/s);
  assert.deepEqual(heard.awake.map(({ title, url }) => [title, url]), [['Your payment did not go through', 'https://shop.example/pay?order=o-1']]);
  assert.deepEqual([heard.asleep, heard.silent], [[], []]);
  assert.equal(heard.spammed.length, 1, 'a page is no address');
  const said = (actions) => actions.map(({ kind, state, detail }) => [kind, state, detail.replace(/, the last set off at 20.*Z$/, '')]);
  const cap = (kind) => `the person is written to as often as the cap allows: at most once in 1 day (\`caps.${kind}\`)`;
  assert.deepEqual(said(capped), ['in_app', 'email'].map((kind) => [kind, 'withheld', cap(kind)]));
  assert.deepEqual(said(silent), ['in_app', 'email'].map((kind) => [kind, 'withheld', `the person does not want to be written to by ${kind}`]));
  assert.deepEqual(spammed.map(({ kind, state }) => [kind, state]), [['in_app', 'accepted'], ['email', 'withheld']]);
  assert.match(spammed[1].detail, /^the address is on the suppression list: complained, since 20/);
  assert.deepEqual(asleep.map(({ state }) => state), ['pending', 'pending'], 'the night is over at eight');
  assert.equal(firings.length, 5, 'the forged one is none');
});
