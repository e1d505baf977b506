// Serves the shop, the live view beside it, and the two buttons that kill and start the collector.
// Promises: only files that were listed at the start are served; the buttons obey only the page that this server made:
// its token, its origin, a loopback Host (so no other site can press them, nor DNS rebinding). Knows no events: it
// passes on what it is told to publish.

import { timingSafeEqual } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import { dirname, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);
const REMEMBER = 2000; // messages of the stream that a page which opens later still gets

const TYPES = {
  '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml', '.woff2': 'font/woff2',
};

/**
 * @param {object} options
 * @param {string} options.token                     what the page must show to press a button; fresh for each run
 * @param {() => Record<string, string>} options.fill `NAME` → the text that stands for `__NAME__` in an HTML page
 * @param {Record<string, () => Promise<void>>} options.control  the buttons by name
 * @param {(order: object) => Promise<{ status: number, error: string }>} options.pay  what the shop's backend says to an order
 * @param {() => object} options.state               sent to a page when it opens the stream
 */
export function createSite({ token, fill, pay, control, state }) {
  const files = listFiles();
  const readers = new Set();
  const remembered = [];

  const server = http.createServer((request, response) => {
    const path = request.url.split(/[?#]/, 1)[0]; // only ever compared, never resolved
    const host = request.headers.host ?? '';
    if (!/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(host)) return answer(response, 421, 'This demo answers on loopback only.');
    if (request.method === 'POST' && path === '/shop/pay') return takePayment(request, response, host);
    if (request.method === 'POST' && path.startsWith('/demo/')) return press(request, response, path.slice(6), host);
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(response, 405, 'Only GET.');
    if (path === '/demo/stream') return stream(request, response);
    if (path === '/shop') return response.writeHead(308, { location: '/shop/' }).end();
    const file = files.get(path);
    if (!file) return answer(response, 404, 'There is no such page.');
    try {
      serve(response, file, path === '/');
    } catch (error) {
      answer(response, 500, error.message); // a file that was there at the start and is not now
    }
  });

  function serve(response, file, isLiveView) {
    let body = readFileSync(file);
    const type = extname(file);
    if (type === '.html') body = fillIn(body.toString('utf8'), { ...fill(), DEMO_TOKEN: isLiveView ? token : '' });
    response.writeHead(200, {
      'content-type': TYPES[type],
      'cache-control': type === '.woff2' ? 'public, max-age=86400' : 'no-cache',
      'x-content-type-options': 'nosniff',
      // The live view holds the buttons: nobody may frame it, and it loads nothing from anywhere else.
      'content-security-policy': isLiveView
        ? `default-src 'self'; connect-src 'self' ${fill().RECEIVER}; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`
        : "frame-ancestors 'self'",
    }).end(body);
  }

  function press(request, response, button, host) {
    request.resume();
    const given = Buffer.from(String(request.headers['x-demo-token'] ?? ''));
    const expected = Buffer.from(token);
    const allowed = request.headers.origin === `http://${host}` && given.length === expected.length && timingSafeEqual(given, expected);
    if (!allowed) return answer(response, 403, 'Only the page of this demo may do that.');
    if (!Object.hasOwn(control, button)) return answer(response, 404, 'There is no such button.');
    control[button]().then(
      () => response.writeHead(204).end(),
      (error) => answer(response, 409, error.message),
    );
  }

  async function takePayment(request, response, host) {
    if (request.headers.origin !== `http://${host}`) {
      request.resume();
      return answer(response, 403, 'Only the shop of this demo may do that.');
    }
    try {
      let body = '';
      for await (const chunk of request) if ((body += chunk).length > 10_000) return answer(response, 413, 'That is no order.');
      const { userId, anonymousId, order_id, total } = JSON.parse(body) ?? {};
      const { status, error } = await pay({ userId, anonymousId, order_id, total });
      answer(response, status, error);
    } catch {
      answer(response, 400, 'That is no order.'); // or nobody is there any more to be told
    }
  }

  function stream(request, response) {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    response.write(`retry: 500\n\n${frame('state', state())}`);
    for (const text of remembered) response.write(text);
    readers.add(response);
    response.on('close', () => readers.delete(response));
  }

  return {
    server,
    /** To every open page, and, with `keep`, to those that open later. */
    publish(name, value, { keep = false } = {}) {
      const text = frame(name, value);
      if (keep) remembered.push(text);
      if (remembered.length > REMEMBER) remembered.shift();
      for (const reader of readers) {
        reader.write(text);
        if (reader.writableLength > 4 << 20) reader.destroy(); // too slow: it reconnects and starts over
      }
    },
  };
}

const frame = (name, value) => `event: ${name}\ndata: ${JSON.stringify(value)}\n\n`;

const answer = (response, status, text) => response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(text);

/** `__NAME__` → its value, escaped for an attribute. A name that nobody filled in stays, so that it is seen. */
export function fillIn(html, values) {
  return html.replace(/__([A-Z_]+?)__/g, (whole, name) =>
    Object.hasOwn(values, name) ? values[name].replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`) : whole);
}

// URL path → file. A list made once, so that no request can name a file that is not in it.
function listFiles() {
  const files = new Map([['/', join(here, '../live/index.html')], ['/shop/', join(here, '../shop/index.html')]]);
  for (const folder of ['shop', 'live']) {
    for (const entry of readdirSync(join(here, '..', folder), { recursive: true })) {
      const path = join(here, '..', folder, entry);
      if (TYPES[extname(path)] && path !== files.get('/')) files.set(`/${folder}/${entry.replaceAll('\\', '/')}`, path);
    }
  }
  for (const [name, file] of [
    ['inter', '@fontsource-variable/inter/files/inter-latin-wght-normal.woff2'],
    ['fraunces', '@fontsource-variable/fraunces/files/fraunces-latin-standard-normal.woff2'],
    ['jetbrains-mono', '@fontsource-variable/jetbrains-mono/files/jetbrains-mono-latin-wght-normal.woff2'],
  ]) files.set(`/fonts/${name}.woff2`, require.resolve(file));
  return files;
}
