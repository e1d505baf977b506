/*
 * What one client costs a page, whoever made it: bytes, microseconds per call, main thread until everything is stored and
 * acknowledged, heap at rest. Promises the same page, calls and server for all of them; knows none of them by name.
 */
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";
import { startBrowser, until } from "../tests/browser.mjs";

const CORS = { "access-control-allow-origin": "*", "access-control-allow-headers": "*", "access-control-allow-methods": "*" };
const NAME = "Product Viewed";
const SETTLED_MS = 500;

/** A page with this script, and whatever of its events arrives. `files` by path; `html` is the page's head. */
const startShop = async ({ files, html, answer }) => {
  const state = { seen: 0, requests: 0, transferred: 0 };
  const server = createServer(async (request, response) => {
    const path = request.url.split("?")[0].slice(1);
    if (path in files) {
      const type = path.endsWith("wasm") ? "application/wasm" : "text/javascript";
      response.writeHead(200, { "content-type": type, ...CORS }).end(files[path]);
      if (!state.seen) state.transferred += gzipSync(files[path], { level: 9 }).length;
      return;
    }
    if (request.method === "GET" && path === "")
      return response.writeHead(200, { "content-type": "text/html" }).end(`<!doctype html><title>Shop</title>${html}`);
    let body = "";
    for await (const chunk of request) body += chunk;
    state.requests += request.method === "POST";
    state.seen += decodeURIComponent(body.replace(/\+/g, " ").replace(/%(?![0-9a-f]{2})/gi, "%25")).split(`"${NAME}"`).length - 1;
    response.writeHead(200, { "content-type": "application/json", ...CORS }).end(answer);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return Object.assign(state, {
    url: `http://127.0.0.1:${server.address().port}/`,
    close: () => (server.closeAllConnections(), server.close()),
  });
};

/** One cold run: a fresh browser, one event, then 1,000 (`loop`: in one loop; else ten every 10 ms). */
export const measure = async (client, loop) => {
  const [shop, browser] = await Promise.all([startShop(client), startBrowser()]);
  const page = await browser.context.newPage();
  const session = await page.context().newCDPSession(page);
  // Time on the processor, not on the clock: other programs do not count.
  await session.send("Performance.enable", { timeDomain: "threadTicks" });
  const metric = async (name) =>
    (await session.send("Performance.getMetrics")).metrics.find((metric) => metric.name === name).value;
  await page.goto(shop.url);
  await page.waitForFunction(() => self.track);
  await page.evaluate((name) => track(name, { first: true }), NAME);
  await until(() => shop.seen >= 1, "the first event");
  const { transferred } = shop;
  await new Promise((done) => setTimeout(done, SETTLED_MS));
  const before = await metric("TaskDuration");
  const us = await page.evaluate(
    async ([name, loop]) => {
      const properties = { sku: "kettle-01", price: 49.5, currency: "EUR", list: "kitchen", position: 3 };
      let ms = 0;
      for (let round = 0; round < (loop ? 1 : 100); round++) {
        const start = performance.now();
        for (let index = 0; index < (loop ? 1000 : 10); index++) track(name, properties);
        ms += performance.now() - start;
        if (!loop) await new Promise((done) => setTimeout(done, 10));
      }
      return ms;
    },
    [NAME, loop],
  );
  // Not every client delivers all of them on a busy machine: how many it did is a figure like the others.
  await until(() => shop.seen >= 1001, "all events", 30_000).catch(() => {});
  await new Promise((done) => setTimeout(done, SETTLED_MS));
  const main = ((await metric("TaskDuration")) - before) * 1000;
  await session.send("HeapProfiler.collectGarbage");
  const heap = (await session.send("Runtime.getHeapUsage")).usedSize / 1e6;
  await browser.close();
  shop.close();
  return { us, main, heap, requests: shop.requests, arrived: shop.seen - 1, bytes: transferred };
};
