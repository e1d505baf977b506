// The runner: what it starts answers, what it stops is gone, and nobody but its own page can press its buttons.
// Runs the real runner with a stand-in for the collector, on free ports, in a folder of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { boundPort } from './collector.mjs';
import { startDemo } from './demo.mjs';
import { fillIn } from './site.mjs';

const standIn = fileURLToPath(new URL('stand-in.mjs', import.meta.url));
const runner = fileURLToPath(new URL('demo.mjs', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'headwater-demo-'));
const free = { port: 0, collectorPort: 0, receiverPort: 0 };
let demo;
before(async () => { demo = await startDemo({ binary: standIn, data: join(folder, 'shared'), ...free }); });
after(async () => { await demo.stop(); rmSync(folder, { recursive: true }); });

const page = async (path) => (await fetch(new URL(path, demo.url))).text();
const token = async () => /data-token="([^"]+)"/.exec(await page('/'))[1];
const alive = (pid) => { try { process.kill(pid, 0); return true; } catch { return false; } };

function press(button, headers) {
  return fetch(new URL(`/demo/${button}`, demo.url), { method: 'POST', headers }).then((r) => r.status);
}

// fetch sets Host itself; a forged one needs the plain client.
function raw(headers, path = '/demo/kill', method = 'POST') {
  const { port } = new URL(demo.url);
  return new Promise((resolve, reject) => http.request({ host: '127.0.0.1', port, path, method, headers }, (r) => { r.resume(); resolve(r.statusCode); }).on('error', reject).end());
}

async function untilState(wanted) {
  const stop = new AbortController();
  const response = await fetch(new URL('/demo/stream', demo.url), { signal: stop.signal });
  let text = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const states = text.split('\n\n').slice(0, -1).filter((f) => f.startsWith('event: state')).map((f) => JSON.parse(f.split('data: ')[1]));
    if (states.length && wanted(states.at(-1), text)) break;
  }
  stop.abort();
  return text;
}

test('the pages are served with address and key filled in, the token only in the live view', async () => {
  const shop = await page('/shop/');
  assert.ok(shop.includes(`src="${demo.collector.url}/headwater.js" data-write-key="${demo.collector.writeKey}"`));
  const secret = await token();
  for (const path of ['/shop/', '/shop/cart.html', '/shop/checkout.html', '/live/live.js']) {
    const text = await page(path);
    assert.ok(!text.includes(secret) && !/__[A-Z_]+__/.test(text), path);
  }
  assert.doesNotMatch(await page('/'), /__[A-Z_]+__/);
});

test('only listed files are served', async () => {
  for (const path of ['/demo.mjs', '/shop/../demo/demo.mjs', '/shop/%2e%2e/package.json', '/shop/shop.test.mjs', '/data/demo.json', '/live', '//', '//x', '/%']) {
    assert.equal(await raw({ host: '127.0.0.1' }, path, 'GET'), 404, path);
  }
  assert.equal((await fetch(new URL('/fonts/inter.woff2', demo.url))).headers.get('content-type'), 'font/woff2');
});

test('forged presses are refused, and the collector lives on', async () => {
  const origin = new URL(demo.url).origin;
  const { host } = new URL(demo.url);
  const good = await token();
  const { pid } = demo.collector.state();
  assert.equal(await press('kill', {}), 403, 'nothing to show');
  assert.equal(await press('kill', { origin }), 403, 'no token');
  assert.equal(await press('kill', { origin, 'x-demo-token': `${good.slice(0, -1)}?` }), 403, 'a wrong token');
  assert.equal(await press('kill', { 'x-demo-token': good }), 403, 'no origin');
  assert.equal(await press('kill', { origin: 'http://evil.example', 'x-demo-token': good }), 403, 'another site');
  assert.equal(await press('start', { origin: 'null', 'x-demo-token': good }), 403, 'a sandboxed frame');
  assert.equal(await raw({ host: `evil.example:${host.split(':')[1]}`, origin: `http://evil.example`, 'x-demo-token': good }), 421, 'a rebound name');
  assert.equal(await raw({ host, origin, 'x-demo-token': good }, '/demo/kill', 'GET'), 404, 'a link or an image');
  assert.equal(await press('constructor', { origin, 'x-demo-token': good }), 404, 'no such button');
  assert.equal(demo.collector.state().pid, pid);
  assert.ok(alive(pid));
});

test('the page itself may kill and start; the port stays, the state is told', async () => {
  const headers = { origin: new URL(demo.url).origin, 'x-demo-token': await token() };
  const { pid } = demo.collector.state();
  const url = demo.collector.url;
  assert.equal(await press('start', headers), 409, 'it is up');
  assert.equal(await press('kill', headers), 204);
  assert.ok(!alive(pid));
  await untilState((state) => !state.up && state.exit === 'SIGKILL');
  assert.equal(await press('start', headers), 204);
  await untilState((state) => state.up && state.running && state.pid !== pid);
  assert.equal((await fetch(`${url}/healthz`)).status, 200);
});

test('what the log holds is passed on, but for what the collector says of actions', async () => {
  const text = await untilState((state, all) => state.readsLog && all.includes('event: stored'));
  assert.match(text, /"messageId":"m1"/);
  // What became of rules' actions would push a shopper's clicks out of sight: the stream leaves it out, and so does the consumer.
  assert.doesNotMatch(text, /Action Done/);
  assert.match(readFileSync(join(demo.data, 'headwater.toml'), 'utf8'), /^events = \["!Action Done"\]/m);
});

test('the receiver can be taken away and come back on its port', async () => {
  await demo.receiver.stop();
  await assert.rejects(fetch(`${demo.receiver.url}/deliveries.json`));
  await demo.receiver.start();
  assert.equal((await fetch(`${demo.receiver.url}/deliveries.json`)).status, 200);
});

test('the admin token is kept for the next run, and not in the log file', () => {
  assert.equal(JSON.parse(readFileSync(join(demo.data, 'demo.json'))).adminToken, 'stand-in-token');
  assert.doesNotMatch(readFileSync(join(demo.data, 'collector.log'), 'utf8'), /stand-in-token/);
});

test('a taken port is named, with what to do', async () => {
  const taken = Number(new URL(demo.url).port);
  await assert.rejects(startDemo({ binary: standIn, data: join(folder, 'taken'), ...free, port: taken }), new RegExp(`Port ${taken} is taken[\\s\\S]*--port`));
});

test('a collector that does not start is quoted, and nothing stays behind', async () => {
  await assert.rejects(startDemo({ binary: standIn, data: join(folder, 'refuse-to-start'), ...free }), /exit 3[\s\S]*told to fail/);
  await assert.rejects(startDemo({ binary: join(folder, 'no-such-file'), data: join(folder, 'none'), ...free }), /ENOENT/);
});

test('who starts it by hand is told how to sign in to the console', async () => {
  const args = [runner, standIn, '--data', join(folder, 'by hand'), '--port', '0', '--collector-port', '0', '--receiver-port', '0'];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  for await (const chunk of child.stdout) if ((text += chunk).includes('Ctrl-C')) break;
  assert.match(text, /admin token to sign in there: +stand-in-token\n/);
  child.kill('SIGTERM');
  await new Promise((resolve) => child.once('exit', resolve));
});

for (const signal of ['SIGINT', 'SIGTERM']) {
  test(`${signal} ends the runner and its child`, async () => {
    const args = [runner, standIn, '--data', join(folder, signal), '--port', '0', '--collector-port', '0', '--receiver-port', '0', '--json'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ready = JSON.parse(await new Promise((resolve) => child.stdout.once('data', (text) => resolve(String(text)))));
    assert.ok(ready.ready && alive(ready.collector.pid));
    assert.equal((await fetch(ready.shop)).status, 200);
    child.kill(signal);
    assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
    assert.ok(!alive(ready.collector.pid));
  });
}

test('a damaged key file is named rather than replaced', async () => {
  const data = mkdtempSync(join(folder, 'damaged-'));
  writeFileSync(join(data, 'demo.json'), '{');
  await assert.rejects(startDemo({ binary: standIn, data, ...free }), /demo\.json is damaged/);
  assert.ok(existsSync(join(data, 'demo.json')));
});

test('where it listens is read from its words; what is filled in is escaped', () => {
  assert.equal(boundPort('headwater listens on http://127.0.0.1:40123'), 40123);
  assert.equal(boundPort('headwater listens on http://[::1]:40123'), 40123);
  assert.equal(boundPort('consumer receiver: http://127.0.0.1:8422/webhook'), null);
  assert.equal(fillIn('<a data-x="__KEY__">__OTHER__', { KEY: '"><b>' }), '<a data-x="&#34;&#62;&#60;b&#62;">__OTHER__');
});
