// Following a log: every record once, whatever the moment of a nudge; a record stored twice is seen.

import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { followLog } from './log-follower.mjs';

test('records are reported once, in order, though it is nudged while a read is under way', async () => {
  const ids = ['a', 'b', 'c', 'b']; // the third offset repeats a message: that is what `storedTwice` is for
  const held = [];
  const server = http.createServer((request, response) => {
    const after = Number(new URL(request.url, 'http://log').searchParams.get('after') ?? 0);
    held.push(() => response.end(ids.slice(after, after + 2).map((id, i) => `${JSON.stringify({ offset: String(after + i + 1), messageId: id })}\n`).join('')));
    asked();
  });
  let asked = () => {};
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  const seen = [];
  let told;
  const follower = followLog({
    url: () => `http://127.0.0.1:${server.address().port}`,
    token: () => 't',
    onUp: () => {},
    onRecords: (records) => { seen.push(...records.map((r) => r.offset)); told?.(); },
  });
  const next = () => new Promise((resolve) => { asked = resolve; if (held.length) resolve(); });
  for (let round = 0; round < 2; round++) {
    await next();
    follower.nudge(); // while the answer is still held back
    follower.nudge();
    assert.equal(held.length, 1, 'no second read beside the first');
    const reported = new Promise((resolve) => { told = resolve; });
    held.shift()();
    await reported;
    setImmediate(follower.nudge);
  }
  assert.deepEqual(seen, ['1', '2', '3', '4']);
  assert.deepEqual(follower.state(), { up: true, storedTwice: 1 });
  follower.stop();
  server.close();
  server.closeAllConnections();
});
