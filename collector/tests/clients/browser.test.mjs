/*
 * @segment/analytics-next, unmodified, in a real Chromium: it fetches its settings document from the collector and then sends
 * there, across origins. Promises that hundreds of events are in the log once, with the fields they were sent with, and that
 * the page speaks to nobody else.
 */
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { KEY, assertStored, properties, startCollector } from "./collector.mjs";

const COUNT = 300;
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const umd = join(dirname(fileURLToPath(import.meta.resolve("@segment/analytics-next"))), "../umd");

/** What the log holds as it was sent; the record's own fields, and the write key, are not the event's. */
const CARRIED = ["anonymousId", "context", "event", "groupId", "integrations", "previousId", "properties", "traits", "userId"];

/** A shop's web server: one page, and the client's published files. */
const startPages = async (t) => {
  const server = createServer((request, response) => {
    const file = join(umd, request.url);
    if (request.url.endsWith(".js") && existsSync(file)) {
      response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(file));
    } else {
      response.writeHead(200, { "content-type": "text/html;charset=utf-8" });
      response.end(`<!doctype html><title>Shop</title><script src="/index.js"></script>`);
    }
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
};

const startPage = async (t, address) => {
  assert.ok(existsSync(executablePath), `no Chromium at ${executablePath}: apt-get install chromium, or set CHROMIUM`);
  const profile = mkdtempSync(join(tmpdir(), "headwater-clients-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  });
  t.after(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  });
  const page = await context.newPage();
  const hosts = new Set();
  const complaints = [];
  const sent = [];
  page.on("request", (request) => {
    hosts.add(new URL(request.url()).host);
    const body = request.postDataJSON();
    if (body) sent.push(...(body.batch ?? [body]));
  });
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  await page.goto(address);
  return { page, hosts, complaints, sent };
};

/** Runs in the page: loads the client as its documentation says, with nothing but where the settings are. */
const sendAll = async ({ key, url, events, integrations }) => {
  const [analytics] = await AnalyticsNext.AnalyticsBrowser.load({ writeKey: key, cdnURL: url }, { integrations });
  await analytics.identify("u-1", { email: "a@b.example", plan: { name: "pro" } });
  await analytics.page("Shop", "Home", { dark: true });
  await analytics.group("g-1", { seats: 12 });
  await analytics.screen("Start");
  await analytics.alias("u-2", "a-1");
  await Promise.all(events.map(([name, properties]) => analytics.track(name, properties)));
};

for (const [name, integrations] of [
  ["one by one", {}],
  ["in batches", { "Segment.io": { deliveryStrategy: { strategy: "batching", config: { size: 40, timeout: 200 } } } }],
])
  test(`@segment/analytics-next in Chromium, ${name}`, async (t) => {
    const collector = await startCollector();
    t.after(collector.stop);
    const address = await startPages(t);
    const { page, hosts, complaints, sent } = await startPage(t, address);
    const events = Array.from({ length: COUNT }, (_, n) => [`Clicked ${n % 7}`, properties(n)]);
    await page.evaluate(sendAll, { key: KEY, url: collector.url, events, integrations });

    const stored = await collector.eventsOnceThereAre(COUNT + 5);
    assertStored(stored, COUNT, "analytics.js");
    assert.equal(stored.length, COUNT + 5);
    const one = (type) => stored.find((event) => event.type === type);
    assert.deepEqual(one("identify").traits, { email: "a@b.example", plan: { name: "pro" } });
    assert.deepEqual([one("page").name, one("page").category, one("page").properties.dark], ["Home", "Shop", true]);
    assert.deepEqual([one("group").groupId, one("group").traits.seats], ["g-1", 12]);
    assert.equal(one("screen").name, "Start");
    assert.equal(one("alias").previousId, "a-1");
    assert.equal(new Set(stored.map((event) => event.anonymousId)).size, 1, "one device");
    assert.equal(sent.length, COUNT + 5);
    const byId = new Map(stored.map((event) => [event.messageId, event]));
    for (const event of sent) {
      const found = byId.get(event.messageId);
      // The collector adds where it came from.
      assert.equal(found.context.ip, "127.0.0.1");
      delete found.context.ip;
      for (const field of CARRIED) assert.deepEqual(found[field], event[field], `${event.type}: ${field}`);
    }
    assert.deepEqual([...hosts].sort(), [collector.host, new URL(address).host].sort(), "nobody else is told");
    assert.deepEqual(complaints, []);
  });

test("navigator.sendBeacon from a page of another origin", async (t) => {
  const collector = await startCollector();
  t.after(collector.stop);
  const { page } = await startPage(t, await startPages(t));
  await page.evaluate(
    ({ key, url }) => {
      const batch = (messageId) =>
        JSON.stringify({ writeKey: key, batch: [{ type: "track", event: "Left", anonymousId: "a", messageId }] });
      navigator.sendBeacon(`${url}/v1/b`, batch("text"));
      navigator.sendBeacon(`${url}/v1/batch`, new Blob([batch("blob")]));
      navigator.sendBeacon(`${url}/v1/batch`, new Blob([batch("form")], { type: "application/x-www-form-urlencoded" }));
    },
    { key: KEY, url: collector.url },
  );
  const stored = await collector.eventsOnceThereAre(3);
  assert.deepEqual(stored.map((event) => event.messageId).sort(), ["blob", "form", "text"]);
});
