/*
 * A site whose pages are what a test says, in a real Chromium, with autocapture on; and the events that came of it. Promises to
 * wait for conditions, never for time; knows nothing of what is captured.
 */
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { startBrowser, until } from "./browser.mjs";
import { startCollector } from "./collector.mjs";

const dist = join(import.meta.dirname, "../dist");
const TYPES = { js: "text/javascript", mjs: "text/javascript", wasm: "application/wasm" };

/** Starts both. `pages` maps paths to bodies, `headers` are those of every page. */
export const startSite = async () => {
  const [collector, browser] = await Promise.all([startCollector(), startBrowser()]);
  const site = { collector, browser, pages: {}, headers: {}, head: "", loads: [] };
  const server = createServer(({ url }, response) => {
    const { pathname } = new URL(url, "http://site");
    site.loads.push(url);
    const type = TYPES[pathname.split(".").pop()];
    const body = site.pages[pathname] ?? "<h1>Shop</h1>";
    const file = type && !(pathname in site.pages) && join(dist, pathname);
    if (file && !existsSync(file)) return void response.writeHead(404).end();
    response.writeHead(200, { "content-type": type ?? "text/html;charset=utf-8", ...site.headers });
    response.end(
      type
        ? (site.pages[pathname] ?? readFileSync(file))
        : `<!doctype html><html><head><title>Shop ${pathname}</title>${site.head}</head><body>${body}</body></html>`,
    );
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  site.url = `http://127.0.0.1:${server.address().port}`;

  /** The script tag; `attributes` are added to it. */
  const tag = (attributes = "") =>
    `<script async src="/headwater.js" data-write-key="wk_test" data-endpoint="${collector.endpoint}" ${attributes}></script>`;

  /** A page of the site whose SDK is there; autocapture runs with `options`, unless there are none. */
  const open = async (body, options, path = "/") => {
    if (body !== undefined) site.pages[path] = body;
    site.head ||= tag();
    const page = await browser.context.newPage();
    await page.goto(site.url + path);
    await ready(page, options);
    return page;
  };
  const ready = async (page, options) => {
    await page.waitForFunction(() => window.headwater?.track);
    if (options !== undefined) await page.evaluate((options) => headwater.autocapture(options), options);
  };

  /** All events of this name so far (`page` for page views), in the order of their numbers. */
  const events = (name) =>
    [...collector.stored.values()]
      .sort((one, other) => one.context.headwater?.seq - other.context.headwater?.seq)
      .filter((event) => !name || (event.event ?? event.type) === name);
  /** Waits until there are so many, and gives them back. */
  const wait = async (name, count = 1) => {
    await until(() => events(name).length >= count, `${count} × ${name}, not ${JSON.stringify(events().map((event) => event.event ?? event.type))}`);
    return events(name);
  };
  /** Everything said so far is at the collector: another event, said last, is. */
  const settled = async (page, mark = `Mark ${Math.random()}`) => {
    await page.evaluate((mark) => headwater.track(mark).then(() => headwater.flush()), mark);
    await wait(mark);
  };
  /** Everything that went over the wire. */
  const wire = () => collector.requests.map(({ body }) => body).join("\n");
  const close = async () => {
    await browser.close();
    server.closeAllConnections();
    server.close();
    collector.close();
  };
  return Object.assign(site, { tag, open, ready, events, wait, settled, wire, close });
};
