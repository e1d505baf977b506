// Who could not pay is told at once; who is to be left alone is left alone.
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
  assert.match(tested.text, /^4 ran, 0 failed$/m);
});

test('one e-mail, and the reason for each that was not sent', { timeout: 60_000 }, async () => {
  const { capped, silent, asleep, firings, received } = await play(() => {});
  assert.deepEqual(received.map(({ to }) => to), [['awake@customers.example']]);
  const [mail] = received;
  assert.equal(mail.subject, 'Your payment of 40 EUR did not go through');
  assert.match(mail.parts['text/plain'], /Hello shopper,\s+the card that we have of yours has expired.\s+.*o-1/s);
  assert.deepEqual([capped.state, capped.detail], ['refused', 'the person is written to as often as the cap allows']);
  assert.deepEqual([silent.state, silent.detail], ['refused', 'the person does not want to be written to by email']);
  assert.equal(asleep.state, 'pending', 'the night is over at eight');
  assert.equal(firings.length, 4, 'the forged one is none');
});
