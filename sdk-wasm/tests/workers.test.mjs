/*
 * The SDK where there is no page: dedicated, shared and service workers, as modules and as classic scripts, in a real browser.
 * Promises that they are one device with the pages of their origin: one queue, one leader, one person. Knows nothing of delivery
 * as such.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { down, gapless, strict } from "./collector.mjs";
import { browser, collector, complete, names, stored, track } from "./page.mjs";

const KINDS = ["dedicated", "shared", "service"].flatMap((kind) => [`${kind} module`, `${kind} classic`]);

/** The end of each worker's script: what a message asks for is evaluated, and its port gets the answer. */
const ANSWERS = `
const answer = async ({ data: { code, port } }) => {
  try { port.postMessage({ value: await (0, eval)(code) }); } catch (error) { port.postMessage({ error: String(error) }); }
};
self.onmessage = answer;
self.onconnect = ({ ports }) => (ports[0].onmessage = answer);
`;

const load = (options = "") => `headwater.load({ writeKey: "wk_test", endpoint: "${collector.endpoint}", ${options} });`;

/** Starts a worker of this kind from a page; gives back what evaluates an expression in it, and what ends it. */
const start = async (page, kind, first = load()) => {
  const module = kind.endsWith("module");
  const script = module
    ? `import { headwater, another } from "${collector.endpoint}/headwater.mjs"; Object.assign(self, { headwater, another });`
    : `importScripts("${collector.endpoint}/headwater.js");`;
  collector.files["/worker.js"] = `${script}\n${first}\n${ANSWERS}`;
  await page.evaluate(async (kind) => {
    const options = { type: kind.endsWith("module") ? "module" : "classic" };
    if (kind.startsWith("dedicated")) self.worker = new Worker("/worker.js", options);
    if (kind.startsWith("shared")) {
      worker = new SharedWorker("/worker.js", options).port;
      worker.start();
    }
    if (kind.startsWith("service")) {
      const { installing } = await navigator.serviceWorker.register("/worker.js", options);
      self.worker = installing;
      await navigator.serviceWorker.ready;
    }
  }, kind);
  return (expression, ...given) =>
    page.evaluate(
      (code) =>
        new Promise((done, fail) => {
          const { port1, port2 } = new MessageChannel();
          port1.onmessage = ({ data: { value, error } }) => (error ? fail(new Error(error)) : done(value));
          worker.postMessage({ code, port: port2 }, [port2]);
        }),
      `(${expression})(...${JSON.stringify(given)})`,
    );
};

/** A page of the origin without the SDK. */
const bare = async () => {
  const page = await browser.context.newPage();
  await page.goto(`${collector.page}/?bare`);
  return page;
};
/** The tag as the pages of these tests have it, at any time. */
const addTag = (page) =>
  page.evaluate(async (endpoint) => {
    const tag = Object.assign(document.createElement("script"), { src: "/headwater.js" });
    Object.assign(tag.dataset, { writeKey: "wk_test", endpoint });
    document.head.append(tag);
    await new Promise((done) => (tag.onload = done));
  }, collector.endpoint);
const event = (name) => until(() => [...collector.stored.values()].find(({ event }) => event === name), name);

for (const kind of KINDS)
  test(`a ${kind} worker that comes first: its events have no page, and the pages are the same device`, async () => {
    const page = await bare();
    const inWorker = await start(page, kind);
    const first = await inWorker(() => headwater.track("In the worker", { n: 1 }));
    assert.equal(first.durable, true);
    const said = await event("In the worker");
    assert.equal(said.messageId, first.messageId);
    const { library, page: about, screen, campaign, userAgent, locale, timezone } = said.context;
    assert.deepEqual([library.name, about, screen, campaign], ["headwater.js", undefined, undefined, undefined]);
    assert.ok(userAgent.includes("Chrom") && locale && timezone);
    // A page view that the worker has something to say of; there is nothing that it would add.
    await inWorker(() => headwater.page("Background", { own: true }));
    const view = await until(() => [...collector.stored.values()].find(({ type }) => type === "page"), "the view");
    assert.deepEqual([view.name, view.properties], ["Background", { own: true }]);

    await addTag(page);
    await until(() => page.evaluate((id) => JSON.stringify(localStorage).includes(id), said.anonymousId), "the worker's id");
    await page.evaluate(() => headwater.track("In the page"));
    const own = await event("In the page");
    assert.deepEqual([own.anonymousId, own.context.sessionId], [said.anonymousId, said.context.sessionId]);
    assert.deepEqual(gapless(collector), { queues: 1, numbers: 3 });
  });

for (const kind of KINDS)
  test(`a ${kind} worker that comes later is the person that the pages know, from its first call on`, async () => {
    const page = await bare();
    await addTag(page);
    await page.evaluate(() => headwater.identify("u-1"));
    // Called before `load`, and before the database can have said anything.
    const inWorker = await start(page, kind, `headwater.track("Early"); self.called = Date.now(); ${load()}`);
    const early = await event("Early");
    const identified = [...collector.stored.values()].find(({ type }) => type === "identify");
    assert.deepEqual([early.userId, early.anonymousId], ["u-1", identified.anonymousId]);
    const called = await inWorker(() => called);
    assert.ok(Math.abs(Date.parse(early.timestamp) - called) < 5, `${early.timestamp}, called at ${called}`);

    // What is said on one side is heard on the other.
    await page.evaluate(() => headwater.identify("u-2"));
    await until(async () => {
      await inWorker(() => headwater.track("Again"));
      return [...collector.stored.values()].some(({ event, userId }) => event === "Again" && userId === "u-2");
    }, "the page's user in the worker");
    await inWorker(() => headwater.reset());
    await until(() => page.evaluate(() => !JSON.stringify(localStorage).includes("u-2")), "the worker's reset in the page");
    await page.evaluate(() => headwater.track("Signed out"));
    const out = await event("Signed out");
    assert.equal(out.userId, undefined);
    assert.notEqual(out.anonymousId, early.anonymousId);
    assert.equal(gapless(collector).queues, 1);
  });

test("a worker and a page that begin at once, in a browser that knows neither, agree who this is", async () => {
  for (let round = 0; round < 5; round++) {
    const page = await bare();
    const tag = addTag(page);
    const inWorker = await start(page, "dedicated classic", `headwater.track("W"); ${load()}`);
    await tag;
    await until(() => collector.stored.size >= 1, "the worker's event");
    await page.evaluate(() => headwater.flush());
    const [{ anonymousId }] = collector.stored.values();
    await until(() => page.evaluate((id) => localStorage["headwater:wk_test"].includes(id), anonymousId), "one id");
    await inWorker(() => headwater.track("W2"));
    assert.equal((await event("W2")).anonymousId, anonymousId);
    // As new to the next round as to the first.
    await page.evaluate(() => (worker.terminate(), localStorage.clear()));
    await page.close();
    const cleaner = await bare();
    await cleaner.evaluate(
      () =>
        new Promise((done) => {
          indexedDB.deleteDatabase("headwater:wk_test").onsuccess = done;
        }),
    );
    await cleaner.close();
    collector.stored.clear();
  }
});

test("what a worker has stored is sent by the page when the worker is ended, and the other way round", async () => {
  collector.respond = down;
  const page = await bare();
  const inWorker = await start(page, "dedicated module");
  const call = (from) =>
    Promise.all(Array.from({ length: 20 }, (_, at) => headwater.track(`Event ${from + at}`)));
  await inWorker(call, 0);
  await until(() => collector.requests.length > 0, "the worker's attempt");
  await addTag(page);
  await track(page, 20, 20);
  await page.evaluate(() => worker.terminate());
  collector.respond = undefined;
  await page.evaluate(() => headwater.flush());
  await stored(40);
  complete(40);

  // The page leads now; a shared worker of the same origin outlives it.
  const other = await bare();
  const inShared = await start(other, "shared classic");
  collector.respond = down;
  await track(page, 20, 40);
  await inShared(call, 60);
  await page.close();
  collector.respond = undefined;
  await inShared(() => headwater.flush());
  await stored(80);
  complete(80);
});

test("a no in the page is a no in the worker", async () => {
  const page = await bare();
  await addTag(page);
  const inWorker = await start(page, "shared module");
  await inWorker(() => headwater.track("Before"));
  await event("Before");
  await page.evaluate(() => headwater.consent("denied"));
  await until(async () => !(await inWorker(() => headwater.track("After"))).durable, "the refusal in the worker");
  await page.evaluate(() => headwater.consent("granted"));
  await until(async () => (await inWorker(() => headwater.track("Again"))).durable, "the permission in the worker");
  await event("Again");
  assert.deepEqual(names().filter((name) => name === "After"), []);
});

test("a service worker that may not run WebAssembly says why, and stands in no page's way", async () => {
  collector.headers = { "content-security-policy": strict(collector.endpoint).replace("'self'", `'self' ${collector.endpoint}`) };
  const page = await bare();
  await page.evaluate(() => {
    self.said = new Promise((done) => (new BroadcastChannel("said").onmessage = ({ data }) => done(data)));
  });
  // It leads: nobody else is there. The policy refuses `eval` too, so it speaks by itself.
  const tell = `headwater.on("core_failed", ({ error }) => new BroadcastChannel("said").postMessage(String(error)));`;
  await start(page, "service classic", tell + load());
  assert.match(await page.evaluate(() => said), /import\(\) is disallowed on ServiceWorkerGlobalScope/);
  await addTag(page);
  await track(page, 10);
  await stored(10);
  complete(10);
});

test("autocapture in a worker does nothing, or says in the console why not", async () => {
  const page = await bare();
  const dedicated = await start(page, "dedicated module", load("autocapture: true"));
  assert.equal(await dedicated(() => headwater.autocapture(true)), undefined);
  const service = await start(
    page,
    "service classic",
    `self.said = []; console.error = (...all) => { said.push(all.join(" ")); }; ${load()}`,
  );
  assert.equal(await service(() => headwater.autocapture(true)), undefined);
  const said = await service(() => said);
  assert.equal(said.length, 1);
  assert.match(said[0], /headwater: .*import\(\) is disallowed on ServiceWorkerGlobalScope/);
});
