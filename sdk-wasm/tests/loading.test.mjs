/*
 * Where the script's files may lie and what its tag can say: any folder of any server, a collector behind a path, in the page itself.
 * Real browser; the last ones against the real collector.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { startHeadwater } from "./headwater.mjs";
import { browser, collector, stored } from "./page.mjs";

const script = readFileSync(join(import.meta.dirname, "../dist/headwater.js"), "utf8");

/** A page of the shop with this in its head, and a call that was queued before; gives back what it loads. */
const visit = async (head) => {
  collector.files["/shop/index.html"] = `<!doctype html><title>Shop</title>
    <script nonce=n>headwater = [["track", "Queued", { n: 1 }]]</script>${head}`;
  const page = await browser.context.newPage();
  page.loaded = [];
  page.on("request", (request) => page.loaded.push(request.url().split("?")[0]));
  page.failures = [];
  page.on("pageerror", (error) => page.failures.push(error.message));
  await page.goto(`${collector.page}/shop/index.html`);
  return page;
};

test("files in a folder of the shop's own, and a collector behind a path", async () => {
  const page = await visit(
    `<script async src="/a/b/headwater.js?release=7/8" data-write-key="wk_test" data-endpoint="${collector.endpoint}/first/party/"></script>`,
  );
  await stored(1);
  assert.equal(collector.requests[0].url, "/first/party/v1/batch?receipt=1");
  assert.ok(page.loaded.includes(`${collector.page}/a/b/headwater.wasm`), page.loaded.join("\n"));
  assert.ok(!page.loaded.some((url) => url.startsWith(collector.endpoint) && !url.includes("/first/party/v1/")), page.loaded.join("\n"));
});

test("the tag's attributes are the options of load: wasm, autocapture, and an endpoint that defaults to the script's folder", async () => {
  const page = await visit(
    `<script async src="${collector.endpoint}/x7/headwater.js" data-write-key="wk_test" data-wasm="/other/headwater.wasm"
      data-autocapture="pages"></script>`,
  );
  await stored(2);
  assert.deepEqual([...collector.stored.values()].map(({ type, event }) => event ?? type), ["Queued", "page"]);
  assert.ok(collector.requests.every(({ url }) => url.startsWith("/x7/v1/")));
  assert.ok(page.loaded.includes(`${collector.page}/other/headwater.wasm`), page.loaded.join("\n"));
  await until(() => page.loaded.includes(`${collector.endpoint}/x7/headwater-autocapture.js`), "autocapture");
});

test("a script that stands in the page itself has its files from the endpoint", async () => {
  const page = await visit(
    `<script nonce=n data-write-key="wk_test" data-endpoint="${collector.endpoint}/" data-autocapture="clicks">${script}</script>`,
  );
  await stored(1);
  await until(() => page.loaded.includes(`${collector.endpoint}/headwater-autocapture.js`), "autocapture");
  assert.ok(page.loaded.includes(`${collector.endpoint}/headwater.wasm`), page.loaded.join("\n"));
  assert.deepEqual(page.failures, []);
});

test("a tag without a write key waits for load, and a module of the collector needs no more than its address", async () => {
  const page = await visit(`<script async src="/headwater.js" data-endpoint="https://nobody.invalid"></script>`);
  await page.waitForFunction(() => headwater.track);
  await page.evaluate((endpoint) => headwater.load({ writeKey: "wk_test", endpoint }), collector.endpoint);
  await stored(1);
  await page.evaluate(async (endpoint) => {
    const { another } = await import(`${endpoint}/m/headwater.mjs`);
    const client = another();
    client.load({ writeKey: "wk_other" });
    await client.track("From the module");
  }, collector.endpoint);
  await stored(2);
  assert.equal(collector.requests.at(-1).url, "/m/v1/batch?receipt=1");
  assert.ok(page.loaded.includes(`${collector.endpoint}/m/headwater.wasm`));
});

test("the real collector behind a path prefix: it serves the script, and the files of a shop that has its own speak to it", async () => {
  const headwater = await startHeadwater(`path_prefix = "/x7"`);
  try {
    const tags = [
      `<script async src="${headwater.url}/x7/headwater.js" data-write-key="wk_test"></script>`,
      `<script async src="/a/b/headwater.js" data-write-key="wk_test" data-endpoint="${headwater.url}/x7"></script>`,
    ];
    for (const [at, tag] of tags.entries()) {
      const page = await visit(tag);
      await until(async () => (await headwater.log()).length === at + 1, `event ${at + 1} in the log`);
      // The log can be quicker than the browser's word of what it loaded.
      await until(() => page.loaded.some((url) => url.startsWith(headwater.url)), "what was loaded");
      const sent = page.loaded.filter((url) => url.startsWith(headwater.url));
      assert.ok(sent.every((url) => url.startsWith(`${headwater.url}/x7/`)), sent.join("\n"));
      await page.close();
    }
    const log = await headwater.log();
    assert.deepEqual(log.map(({ event, context }) => [event, context.headwater.seq]), [["Queued", 1], ["Queued", 2]]);
  } finally {
    await headwater.stop();
  }
});

test("the real collector: a service worker and a page of the shop are one device in its log", async () => {
  const headwater = await startHeadwater(`path_prefix = "/x7"`);
  try {
    collector.files["/worker.js"] = `importScripts("${headwater.url}/x7/headwater.js");
      headwater.load({ writeKey: "wk_test", endpoint: "${headwater.url}/x7" });
      headwater.track("In the worker");
      onmessage = (event) => event.waitUntil(headwater.track(event.data));`;
    const page = await visit(`<script async src="${headwater.url}/x7/headwater.js" data-write-key="wk_test"></script>`);
    await page.evaluate(() => navigator.serviceWorker.register("/worker.js"));
    const logged = (count) => until(async () => ((await headwater.log()).length === count ? headwater.log() : undefined), `${count} events`);
    await logged(2);
    await page.evaluate(async () => (await navigator.serviceWorker.ready).active.postMessage("Pushed"));
    const log = await logged(3);
    assert.deepEqual(log.map(({ event }) => event).toSorted(), ["In the worker", "Pushed", "Queued"]);
    assert.deepEqual(log.map(({ context }) => context.headwater.seq).toSorted(), [1, 2, 3]);
    for (const of of [({ anonymousId }) => anonymousId, ({ context }) => context.headwater.queue, ({ context }) => context.sessionId])
      assert.equal(new Set(log.map(of)).size, 1);
  } finally {
    await headwater.stop();
  }
});
