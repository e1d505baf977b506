// A webhook consumer, as you would write one: it verifies each delivery, keeps every event once, and answers fast.
// Promises: nothing unsigned, forged or older than five minutes gets in; a repeated delivery is recognised; memory is
// bounded. It does not know Headwater: any sender of Standard Webhooks (standardwebhooks.com) will do.
//
//   WEBHOOK_SECRET=whsec_… PORT=8422 node receiver.mjs

import http from 'node:http';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Webhook } from 'standardwebhooks';

/**
 * The server, not yet listening: call `.listen(port, '127.0.0.1')` on it.
 * @param {object} options
 * @param {string} options.secret        the consumer's secret, `whsec_…`, the same as in Headwater's configuration
 * @param {number} [options.remember]    how many events are kept for `/events` and `/deliveries.json`
 * @param {number} [options.rememberIds] how many webhook ids are kept to recognise a repeated delivery
 * @param {string} [options.viewer]      the origin of the one page that may read this from a browser
 * @param {(event: object) => void} [options.onEvent] what you came for: called once per event
 */
export function createReceiver({ secret, remember = 1000, rememberIds = 50_000, viewer, onEvent = () => {} }) {
  const webhook = new Webhook(secret);
  const seen = new Set(); // webhook ids, oldest first: a Set keeps the order of insertion
  const deliveries = []; // the last events, oldest first
  const readers = new Set(); // open /events responses
  const count = { received: 0, repeated: 0, rejected: 0 };
  let lastId = Date.now(); // from the clock, so that the numbers of an earlier life of this process are smaller

  function receive(body, headers) {
    let event;
    try {
      event = webhook.verify(body, headers); // signature and timestamp; throws, and parses the JSON
    } catch {
      count.rejected += 1;
      return 401; // the sender waits and tries again: look at your secret and at your clock
    }

    // Delivery is at least once: if our answer was lost, the same webhook-id comes again. Saying 200 to it ends that.
    // In a service of yours, keep the id in the same database transaction as what you do with the event.
    const webhookId = headers['webhook-id'];
    if (seen.has(webhookId)) {
      count.repeated += 1;
      return 200;
    }
    onEvent(event); // if this throws, we answer 500 below and have not marked the id: it will be sent again
    seen.add(webhookId);
    if (seen.size > rememberIds) seen.delete(seen.values().next().value);

    count.received += 1;
    const delivery = { id: ++lastId, webhookId, deliveredAt: new Date().toISOString(), repeated: count.repeated, event };
    deliveries.push(delivery);
    if (deliveries.length > remember) deliveries.shift();
    for (const reader of readers) send(reader, delivery);
    return 200;
  }

  // Server-sent events. A browser reconnects by itself and says in Last-Event-ID where it was.
  function follow(request, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write('retry: 500\n\n');
    const after = Number(request.headers['last-event-id'] ?? 0);
    for (const delivery of deliveries) if (delivery.id > after) send(response, delivery);
    readers.add(response);
    response.on('close', () => readers.delete(response));
  }

  function send(reader, delivery) {
    reader.write(`id: ${delivery.id}\ndata: ${JSON.stringify(delivery)}\n\n`);
    if (reader.writableLength > 4 << 20) reader.destroy(); // too slow: it reconnects and resumes; we do not buffer for it
  }

  return http.createServer(async (request, response) => {
    if (viewer) response.setHeader('access-control-allow-origin', viewer);
    const route = `${request.method} ${request.url.split('?')[0]}`;
    if (route === 'POST /webhook') {
      try {
        const body = await read(request);
        response.writeHead(body === null ? 413 : receive(body, request.headers)).end();
      } catch (error) {
        console.error('receiver:', error);
        response.writeHead(500).end();
      }
    } else if (route === 'GET /events') {
      follow(request, response);
    } else if (route === 'GET /deliveries.json') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ ...count, deliveries }));
    } else {
      response.writeHead(404).end();
    }
  });
}

// The body as it came, byte for byte: the signature is over the bytes, not over what JSON.parse makes of them.
async function read(request, limitBytes = 1 << 20) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size <= limitBytes) chunks.push(chunk); // beyond it, read on without keeping: the sender gets its 413
  }
  return size > limitBytes ? null : Buffer.concat(chunks).toString('utf8');
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const { WEBHOOK_SECRET: secret, PORT: port = '8422' } = process.env;
  if (!secret) {
    console.error('Set WEBHOOK_SECRET to the secret of the consumer in your headwater.toml.');
    process.exit(2);
  }
  createReceiver({ secret, onEvent: (event) => console.log(event.receivedAt, event.type, event.event ?? event.name ?? '') })
    .listen(Number(port), '127.0.0.1', () => console.log(`receiver: http://127.0.0.1:${port}/webhook`));
}
