// The two thin examples as a newcomer meets them: the package that `npm pack` makes, installed into a Vite build; and the page
// of plain HTML. Real Chromium, a stand-in for the collector. Promises that what the READMEs show works; knows no other part.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { build } from 'vite';

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'headwater-react-'));
const installed = join(folder, 'node_modules/@headwater/web');
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm', '.css': 'text/css' };
const open = [];
let browser;

before(async () => {
  assert.ok(existsSync(at('../../sdk-wasm/dist/headwater.mjs')), 'sdk-wasm/dist is missing: run `make build`');
  const [{ filename }] = JSON.parse(execFileSync('npm', ['pack', '--json', '--silent', '--pack-destination', folder], { cwd: at('../../sdk-wasm') }));
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, filename), '--strip-components=1', '-C', installed]);
  // The rest of what `npm install` would bring is there already.
  for (const name of ['react', 'react-dom']) symlinkSync(at(`../node_modules/${name}`), join(folder, 'node_modules', name));
  for (const name of ['index.html', 'package.json', 'src']) cpSync(at(name), join(folder, name), { recursive: true });
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
});
after(async () => {
  await browser?.close();
  for (const server of open) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(folder, { recursive: true, force: true });
});

const listen = async (answer) => {
  const server = http.createServer(answer);
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  open.push(server);
  return `http://127.0.0.1:${server.address().port}`;
};

/** A stand-in for the collector, which serves the SDK too, and the events it was sent. */
const collector = async () => {
  const events = new Map();
  const url = await listen(async (request, response) => {
    const headers = { 'access-control-allow-origin': '*' };
    if (request.method === 'GET') return send(response, join(installed, 'dist', new URL(request.url, 'http://x').pathname), headers);
    let body = '';
    for await (const chunk of request) body += chunk;
    for (const event of JSON.parse(body).batch) events.set(event.messageId, event);
    response.writeHead(200, { ...headers, 'content-type': 'application/json' }).end('{"success":true,"events":[]}');
  });
  const named = async (name) => {
    for (const end = Date.now() + 20_000; Date.now() < end;) {
      const found = [...events.values()].find((event) => (event.event ?? event.type) === name);
      if (found) return found;
      await new Promise((done) => setTimeout(done, 20));
    }
    throw new Error(`no ${name} among ${[...events.values()].map((event) => event.event ?? event.type)}`);
  };
  return { url, events, named };
};
const send = (response, path, headers) => {
  response.writeHead(200, { 'content-type': TYPES[extname(path)], ...headers }).end(readFileSync(path));
};

test('the packed package in a Vite build of React: pages, clicks, calls and time on a product arrive', async () => {
  const { url, named, events } = await collector();
  process.env.VITE_HEADWATER_KEY = 'wk_react';
  process.env.VITE_HEADWATER_URL = url;
  await build({ root: folder, logLevel: 'error', configFile: false });
  const site = await listen((request, response) => {
    const { pathname } = new URL(request.url, 'http://x');
    if (pathname === '/favicon.ico') return response.writeHead(204).end();
    return send(response, join(folder, 'dist', extname(pathname) ? pathname : 'index.html'));
  });
  const page = await browser.newPage();
  const failures = [];
  page.on('pageerror', (error) => failures.push(error.message));
  page.on('response', (response) => response.ok() || failures.push(`${response.status()} ${response.url()}`));
  await page.goto(site);
  const first = await named('page');
  assert.deepEqual([first.properties.path, first.context.headwater.seq], ['/', 1]);
  await page.waitForFunction(() => performance.getEntriesByType('resource').some(({ name }) => name.includes('autocapture')));
  await page.click('text=Show the kettle');
  await page.click('text=Add to cart');
  await page.click('text=Reviews');
  assert.deepEqual((await named('Product Added')).properties, { sku: 'kettle-01', name: 'Kettle', price: 49 });
  assert.equal((await named('Reviews Opened')).properties.sku, 'kettle-01');
  await page.goto('about:blank');
  assert.equal((await named('View Engaged')).properties.view, 'product:kettle-01');
  const paths = [...events.values()].filter(({ type }) => type === 'page').map(({ properties }) => properties.path);
  assert.deepEqual(paths, ['/', '/kettle']);
  assert.deepEqual(failures, []);
});

test('the page of plain HTML', async () => {
  const { url, named } = await collector();
  const html = readFileSync(at('../html/index.html'), 'utf8').replace('https://HOST', url).replace('KEY', 'wk_html');
  const site = await listen((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end(html));
  const page = await browser.newPage();
  await page.goto(site);
  await named('Product Viewed');
  await named('page');
  await page.waitForFunction(() => performance.getEntriesByType('resource').some(({ name }) => name.includes('autocapture')));
  await page.fill('input', 'somebody@example.com');
  await page.click('text=Add to cart');
  await page.click('text=Sign in');
  assert.equal((await named('Product Added')).properties.price, 49);
  assert.equal((await named('identify')).userId, 'user-17');
  assert.equal((await named('Form Submitted')).properties.form_id, 'sign-in');
});

test('the package can be imported where there is no window, and brings types, maps and no script that runs at installing', () => {
  const script = 'import("@headwater/web").then(({ headwater, another }) => console.log(typeof headwater.track, typeof another))';
  assert.equal(execFileSync(process.execPath, ['-e', script], { cwd: folder, encoding: 'utf8' }).trim(), 'function function');
  const { exports, scripts, dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8'));
  const files = Object.values(exports).flatMap((target) => (typeof target === 'string' ? target : Object.values(target)));
  assert.ok(files.length >= 4 && files.every((file) => existsSync(join(installed, file))), files.join());
  for (const file of ['headwater.mjs', 'headwater-autocapture.js']) {
    const [, map] = /sourceMappingURL=(\S+)/.exec(readFileSync(join(installed, 'dist', file), 'utf8'));
    assert.ok(JSON.parse(readFileSync(join(installed, 'dist', map), 'utf8')).sourcesContent.length > 0);
  }
  assert.deepEqual(Object.keys(scripts).filter((name) => /install|prepare/.test(name)), []);
  assert.equal(dependencies, undefined);
});
