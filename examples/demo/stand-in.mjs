#!/usr/bin/env node
// What the runner's tests start in place of the collector: it speaks the few words that the runner relies on (arguments,
// the line that says where it listens, /healthz, /v1/events, SIGTERM) and stores nothing.

import { readFileSync } from 'node:fs';
import http from 'node:http';

const config = readFileSync(process.argv[process.argv.indexOf('--config') + 1], 'utf8');
const [, host, port] = /^listen = "(.*):(\d+)"$/m.exec(config);
if (config.includes('refuse-to-start')) {
  console.error('error: the stand-in was told to fail');
  process.exit(3);
}
const record = (offset, event) => JSON.stringify({ offset, messageId: `m${offset}`, type: 'track', event, receivedAt: '2999-01-01T00:00:00.000Z' });
const page = `${record('0', 'Action Done')}\n${record('1', 'Stored')}\n`;
const server = http.createServer((request, response) => {
  if (!request.url.startsWith('/v1/events')) return response.end('ok');
  if (request.headers.authorization !== 'Bearer stand-in-token') return response.writeHead(401).end();
  response.end(request.url.includes('after=') ? '' : page);
});
server.listen(Number(port), host, () => {
  console.log('admin token: stand-in-token');
  console.log(`headwater listens on http://${host}:${server.address().port}`);
});
process.on('SIGTERM', () => process.exit(0));
