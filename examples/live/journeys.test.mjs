// The join that the live view's figures rest on, and the experiment's states.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { duration, join, title, totals } from './journeys.js';
import { createTrial, words } from './trial.js';

const T = Date.parse('2026-11-22T00:00:00.000Z');
const iso = (ms) => new Date(T + ms).toISOString();
const event = (messageId, name, at, receivedAt = at + 20) => ({ messageId, type: 'track', anonymousId: 'mine', event: name, originalTimestamp: iso(at), receivedAt: iso(receivedAt), offset: messageId });
const call = (n, name, at, id) => ({ key: `c${n}`, at: T + at, type: 'track', name, id });
const stored = (...events) => new Map(events.map((e) => [e.messageId, e]));
const delivered = (...events) => new Map(events.map((e) => [e.messageId, { deliveredAt: new Date(Date.parse(e.receivedAt) + 5).toISOString(), event: e }]));

test('a call goes from waiting to stored to delivered', () => {
  const a = event('a', 'Product Added', 0);
  const calls = [call(1, 'Product Added', 0, 'a')];
  const at = (accounts) => join({ devices: ['mine'], calls, stored: new Map(), delivered: new Map(), ...accounts })[0];
  assert.equal(at({}).state, 'waiting');
  assert.equal(at({ stored: stored(a) }).state, 'stored');
  const done = at({ delivered: delivered(a) });
  assert.equal(done.state, 'delivered');
  assert.deepEqual([done.storedAt - done.clickedAt, done.deliveredAt - done.storedAt], [20, 5]);
});

test('calls without an id take the nearest events of their name, one each', () => {
  const calls = [call(1, 'Product Clicked', 0), call(2, 'Product Clicked', 1000), call(3, 'Product Viewed', 1010)];
  const got = join({ devices: ['mine'], calls, stored: new Map(), delivered: delivered(event('b', 'Product Clicked', 1003), event('a', 'Product Clicked', 2), event('v', 'Product Viewed', 1011)) });
  assert.deepEqual(Object.fromEntries(got.map((j) => [j.key, j.id])), { c1: 'a', c2: 'b', c3: 'v' });
});

test('a lost call stays waiting: no other event stands in for it', () => {
  const calls = [call(1, 'Product Added', 0), call(2, 'Product Added', 10, 'b')];
  const got = join({ devices: ['mine'], calls, stored: new Map(), delivered: delivered(event('b', 'Product Added', 10)) });
  assert.deepEqual(totals(got).waiting, 1);
  assert.deepEqual(totals(got).clicked, 2);
});

test('an event of another browser never stands in for a lost call', () => {
  const theirs = { ...event('x', 'Product Clicked', 2), anonymousId: 'theirs' };
  const accounts = { calls: [call(1, 'Product Clicked', 0)], stored: stored(theirs), delivered: delivered(theirs) };
  for (const devices of [['mine'], []]) {
    const lost = join({ devices, ...accounts }).find((journey) => journey.key === 'c1');
    assert.deepEqual([lost.state, lost.id], ['waiting', undefined]);
  }
});

test('one event never stands for two calls', () => {
  const calls = [call(1, 'Product Clicked', 0), call(2, 'Product Clicked', 3)];
  const sum = totals(join({ devices: ['mine'], calls, stored: new Map(), delivered: delivered(event('a', 'Product Clicked', 2)) }));
  assert.deepEqual([sum.clicked, sum.delivered, sum.waiting], [2, 1, 1]);
});

test('an event that no page here has called for is shown, and not counted as a click', () => {
  const sum = totals(join({ devices: ['mine'], calls: [], stored: new Map(), delivered: delivered(event('x', 'From curl', 0)) }));
  assert.deepEqual([sum.clicked, sum.delivered, sum.elsewhere], [0, 0, 1]);
});

test('newest first; the titles and durations that a row shows', () => {
  const got = join({ devices: ['mine'], calls: [call(1, 'A', 0), call(2, 'B', 5)], stored: new Map(), delivered: new Map() });
  assert.deepEqual(got.map((j) => j.name), ['B', 'A']);
  assert.deepEqual([title({ type: 'page', name: 'Cart' }), title({ type: 'identify', name: '' })], ['Page: Cart', 'Identify']);
  assert.deepEqual([7, 4230, 125_000].map(duration), ['7 ms', '4.2 s', '2 min 5 s']);
});

test('the trial: down, clicks wait, back, all arrived', () => {
  const trial = createTrial();
  const j = (n, state) => ({ key: `c${n}`, state, elsewhere: false });
  assert.equal(trial.update(true, [], 0).state, 'up');
  assert.deepEqual(pick(trial.update(false, [j(1, 'waiting')], 1000)), ['down', 1, 0]);
  assert.deepEqual(pick(trial.update(false, [j(1, 'waiting'), j(2, 'waiting')], 2000)), ['down', 2, 0]);
  assert.deepEqual(pick(trial.update(true, [j(1, 'delivered'), j(2, 'waiting'), j(3, 'waiting')], 3000)), ['back', 3, 1]);
  // A click after it came back is not part of the experiment.
  const end = trial.update(true, [j(1, 'delivered'), j(2, 'delivered'), j(3, 'delivered'), j(4, 'waiting')], 3400);
  assert.deepEqual([pick(end), end.downMs, end.drainMs], [['proven', 3, 3], 2000, 400]);
  assert.equal(words(end, { duplicates: 0, repeated: 0 }, duration)[0], 'All 3 that waited arrived, each once.');
  assert.equal(trial.update(false, [], 9000).state, 'down', 'and again');
});

const pick = ({ state, waited, arrived }) => [state, waited, arrived];
