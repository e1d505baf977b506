// What a consumer must get right: signatures, age, repeats, bounds, and the stream that the live view reads.
// Speaks HTTP to a real server on a free port; signs with the same library as any sender would.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Webhook } from 'standardwebhooks';
import { createReceiver } from './receiver.mjs';

const secret = `whsec_${Buffer.alloc(24, 7).toString('base64')}`;
const stops = [];
after(() => stops.forEach((stop) => stop()));

async function listening(options = {}) {
  const server = createReceiver({ secret, ...options });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => (server.close(), server.closeAllConnections()));
  return `http://127.0.0.1:${server.address().port}`;
}

function signed(id, event, { at = new Date(), key = secret } = {}) {
  const body = JSON.stringify(event);
  return {
    method: 'POST',
    body,
    headers: {
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(at / 1000)),
      'webhook-signature': new Webhook(key).sign(id, at, body),
    },
  };
}

const status = async (url, init) => (await fetch(`${url}/webhook`, init)).status;
const deliveries = async (url) => (await fetch(`${url}/deliveries.json`)).json();
const event = (n) => ({ messageId: `m${n}`, type: 'track', event: 'Product Added' });

test('a signed delivery is taken, and shows in deliveries.json', async () => {
  const url = await listening();
  assert.equal(await status(url, signed('w1', event(1))), 200);
  const { received, deliveries: list } = await deliveries(url);
  assert.equal(received, 1);
  assert.deepEqual(list[0].event, event(1));
  assert.equal(list[0].webhookId, 'w1');
});

test('forged, altered, unsigned, stale and early deliveries get 401 and leave no trace', async () => {
  const url = await listening();
  const forged = signed('w1', event(1), { key: `whsec_${Buffer.alloc(24, 8).toString('base64')}` });
  const altered = { ...signed('w1', event(1)), body: JSON.stringify(event(2)) };
  const unsigned = { method: 'POST', body: JSON.stringify(event(1)) };
  const stale = signed('w1', event(1), { at: new Date(Date.now() - 6 * 60_000) });
  const early = signed('w1', event(1), { at: new Date(Date.now() + 6 * 60_000) });
  for (const init of [forged, altered, unsigned, stale, early]) assert.equal(await status(url, init), 401);
  assert.deepEqual(await deliveries(url), { received: 0, repeated: 0, rejected: 5, deliveries: [] });
});

test('a repeated delivery gets 200 and is kept once', async () => {
  const taken = [];
  const url = await listening({ onEvent: (e) => taken.push(e.messageId) });
  for (let i = 0; i < 3; i++) assert.equal(await status(url, signed('w1', event(1))), 200);
  const { received, repeated } = await deliveries(url);
  assert.deepEqual({ received, repeated, taken }, { received: 1, repeated: 2, taken: ['m1'] });
});

test('an event that could not be handled gets 500, and its next delivery is not taken for a repeat', async (t) => {
  t.mock.method(console, 'error', () => {});
  let broken = true;
  const url = await listening({ onEvent: () => { if (broken) throw new Error('database is away'); } });
  assert.equal(await status(url, signed('w1', event(1))), 500);
  broken = false;
  assert.equal(await status(url, signed('w1', event(1))), 200);
  assert.equal((await deliveries(url)).received, 1);
});

test('memory is bounded: events and ids forget the oldest', async () => {
  const url = await listening({ remember: 2, rememberIds: 2 });
  for (let n = 1; n <= 3; n++) await status(url, signed(`w${n}`, event(n)));
  assert.deepEqual((await deliveries(url)).deliveries.map((d) => d.event.messageId), ['m2', 'm3']);
  await status(url, signed('w3', event(3)));
  assert.equal((await deliveries(url)).repeated, 1);
  await status(url, signed('w1', event(1)));
  assert.equal((await deliveries(url)).received, 4, 'the id of the first was forgotten');
});

test('a body over the limit gets 413', async () => {
  const url = await listening();
  assert.equal(await status(url, { method: 'POST', body: 'x'.repeat((1 << 20) + 1) }), 413);
});

test('the stream resumes after Last-Event-ID, and only the viewer may read it from a page', async () => {
  const url = await listening({ viewer: 'http://127.0.0.1:1' });
  for (let n = 1; n <= 3; n++) await status(url, signed(`w${n}`, event(n)));
  const [first] = (await deliveries(url)).deliveries;
  const stop = new AbortController();
  const response = await fetch(`${url}/events`, { headers: { 'last-event-id': String(first.id) }, signal: stop.signal });
  assert.equal(response.headers.get('access-control-allow-origin'), 'http://127.0.0.1:1');
  const seen = [];
  let text = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    if (seen.length === 0 && text.includes('"m3"')) {
      seen.push('backlog');
      await status(url, signed('w4', event(4)));
    }
    if (text.includes('"m4"')) break;
  }
  stop.abort();
  assert.ok(!text.includes('"m1"') && text.includes('"m2"'));
  assert.match(text, /^id: \d+$/m);
});
