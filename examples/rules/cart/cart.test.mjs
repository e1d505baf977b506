// Who leaves a cart gets one e-mail; who orders gets none, on whichever device.
// On virtual time, by the fixtures beside the rules, and on the wall clock, with a real collector and real receiving ends.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rules } from '../stage.mjs';
import { play } from './play.mjs';

const folder = new URL('.', import.meta.url).pathname;

test('the rules and templates can be used, and their fixtures come out', () => {
  const checked = rules('check', folder);
  assert.equal(checked.status, 0, checked.text);
  const tested = rules('test', folder);
  assert.equal(tested.status, 0, tested.text);
  assert.match(tested.text, /^8 ran, 0 failed$/m);
});

test('two of four shoppers are written to, when the time is over', { timeout: 60_000 }, async () => {
  const { added, waitsMs, firings, received } = await play(() => {});
  const who = received.map(({ to }) => to[0]).sort();
  assert.deepEqual(who, ['leaves@shoppers.example', 'phone-of-somebody-else@shoppers.example']);
  for (const { at, subject, parts, from } of received) {
    assert.ok(at - added >= waitsMs - 50, `after ${at - added} ms`);
    assert.equal(from, 'hello@shop.example');
    assert.equal(subject, 'Still thinking about A kettle?');
    assert.match(parts['text/plain'], /A kettle is still in your cart/);
    assert.match(parts['text/html'], /<a href="https:\/\/shop.example\/cart\?id=cart%20of%20/);
  }
  assert.equal(firings.length, 2);
  for (const { actions } of firings) assert.deepEqual(actions.map(({ kind, state }) => `${kind} ${state}`), ['email accepted', 'emit accepted']);
});
