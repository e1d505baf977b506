// Who leaves a cart gets one e-mail; who orders gets none, on whichever device.
// On the wall clock, with a real collector and real receiving ends; `../rules.test.mjs` runs the fixtures, on virtual time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { play } from './play.mjs';

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
