/*
 * What must not be lost, in a real browser against a collector that fails in every way it can: each test's calls must all be
 * stored, each once, with numbers that have no gaps.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { crash, until } from "./browser.mjs";
import { down, gapless } from "./collector.mjs";
import { browser, collector, complete, expected, names, open, stored, track } from "./page.mjs";

test("calls before and after the script arrive once, in order, numbered from 1", async () => {
  const early =
    "called = Date.now() - 60000; headwater.push(['track',['Event 0'],called],['track','Event 1'])";
  const page = await open(`?early=${encodeURIComponent(early)}`);
  await track(page, 48, 2);
  await stored(50);
  assert.deepEqual(names(), expected(50));
  complete(50);
  const [first] = [...collector.stored.values()];
  const called = await page.evaluate(() => new Date(called).toISOString());
  assert.equal(first.timestamp, called, "a queued call keeps its time");
  assert.equal(collector.preflights, 0);
  assert.equal(collector.served.has("headwater.wasm"), process.env.CORE !== "js");
  assert.equal(collector.served.has("headwater.core.js"), process.env.CORE === "js");
  assert.ok(collector.requests.every(({ url }) => url === "/v1/batch?receipt=1"));
  assert.equal(new Set([...collector.stored.values()].map((event) => event.context.sessionId)).size, 1);
  assert.equal([...collector.stored.values()].filter((event) => event.context.sessionStart).length, 1);
});

test("a verb's promise says that the event is durable", async () => {
  const page = await open();
  const [{ messageId, durable }] = await track(page, 1);
  assert.match(messageId, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(durable, true);
});

test("unreachable, then a reload: nothing is lost", async () => {
  collector.respond = down;
  const page = await open();
  await track(page, 200);
  await until(() => collector.requests.length > 0, "a request");
  collector.respond = undefined;
  await page.reload();
  await stored(200);
  complete(200);
});

test("unreachable, then the renderer crashes 50 ms after the last call: nothing is lost", async () => {
  collector.respond = down;
  const page = await open();
  await page.evaluate(() => {
    const calls = [new Promise((done) => setTimeout(done, 50))];
    for (let index = 0; index < 200; index++)
      calls.push(headwater.track(`Event ${index}`, { index }));
    // Committed is what is promised, however slow the machine; `bench` measures how soon that is.
    return Promise.all(calls).then(() => {});
  });
  await crash(page);
  collector.respond = undefined;
  await open();
  await stored(200);
  complete(200);
});

test("three tabs at once: one queue, nothing lost, nothing numbered twice", async () => {
  const pages = await Promise.all([open(), open(), open()]);
  await Promise.all(pages.map((page, tab) => track(page, 66, tab * 66)));
  await stored(198);
  complete(198);
});

test("the tab that leads is closed: another one takes over", async () => {
  collector.respond = down;
  const first = await open();
  const second = await open();
  await track(first, 10);
  await track(second, 10, 10);
  // Numbered and committed by the one that leads: what is closed before goes without numbers, which is no fault.
  await until(
    () => collector.requests.some(({ batch }) => batch.some(({ event, context }) => event === "Event 19" && context.headwater)),
    "an attempt with the last event's number",
  );
  await first.close();
  collector.respond = undefined;
  await stored(20);
  complete(20);
});

test("50 events and away at once: nothing is lost", async () => {
  const page = await open();
  await page.evaluate(() => {
    for (let index = 0; index < 50; index++) headwater.track(`Event ${index}`, { index });
    location.href = "/?bare";
  });
  await stored(50);
  await open();
  await track(await open(), 1, 50);
  await stored(51);
  assert.deepEqual(names().sort(), expected(51).sort());
  gapless(collector);
});

test("away before the script is ready: what was called is sent all the same", async () => {
  collector.wasm = false;
  const page = await open("?early=" + encodeURIComponent("headwater.push(['track','Event 0'])"));
  await page.evaluate(() => {
    headwater.track("Event 1");
    location.href = "about:blank";
  });
  await stored(2);
  assert.deepEqual(names().sort(), expected(2));
});

test("429 with Retry-After: nothing is sent before its time", async () => {
  collector.respond = (_, count) =>
    count === 0 ? { status: 429, headers: { "retry-after": "2" } } : {};
  const page = await open();
  await track(page, 20);
  await until(() => collector.requests.length === 1, "the refusal");
  await track(page, 20, 20);
  await page.evaluate(() => headwater.flush());
  await stored(40);
  complete(40);
  const [first, second] = collector.requests;
  assert.ok(second.at - first.at >= 1_990, `${second.at - first.at} ms`);
});

test("503, then a reload: everything arrives, in order", async () => {
  collector.respond = () => ({ status: 503 });
  const page = await open();
  await track(page, 30);
  await until(() => collector.requests.length > 0, "a request");
  collector.respond = undefined;
  await page.reload();
  await stored(30);
  assert.deepEqual(names(), expected(30));
  complete(30);
});

test("a poison event is refused alone and reported", async () => {
  collector.respond = () => ({ refuse: (event) => event.event === "Event 7" && "no" });
  const page = await open();
  const reported = page.evaluate(
    () => new Promise((done) => headwater.on("dropped", done)),
  );
  const made = await track(page, 20);
  await stored(19);
  assert.deepEqual(await reported, { messageId: made[7].messageId, reason: "refused" });
  await track(page, 1, 20);
  await stored(20);
  assert.ok(!names().includes("Event 7"));
  assert.equal(gapless(collector).numbers, 21);
});

test("the wasm is missing, then there: nothing is lost", async () => {
  collector.wasm = false;
  const page = await open();
  const failed = page.evaluate(() => new Promise((done) => headwater.on("core_failed", () => done(true))));
  const made = await track(page, 10);
  assert.ok(made.every(({ durable }) => durable));
  assert.ok(await failed);
  collector.wasm = true;
  await stored(10);
  assert.deepEqual(names(), expected(10));
  complete(10);
});

test("a key that is not known stops everything until flush", async () => {
  collector.respond = () => ({ status: 401 });
  const page = await open();
  const stopped = page.evaluate(() => new Promise((done) => headwater.on("stopped", done)));
  await track(page, 5);
  assert.deepEqual(await stopped, { status: 401 });
  collector.respond = undefined;
  await page.evaluate(() => headwater.flush());
  await stored(5);
  complete(5);
});

test("an answer that is not a collector's is not taken for a receipt", async () => {
  collector.respond = (_, count) => (count === 0 ? { status: 200, body: "Please sign in to this Wi-Fi" } : {});
  const page = await open();
  await track(page, 5);
  await stored(5);
  complete(5);
});

test("storage that is refused: events are sent from memory, and say so", async () => {
  const page = await browser.context.newPage();
  await page.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("refused", "SecurityError");
    };
  });
  await page.goto(collector.page);
  await page.waitForFunction(() => headwater.track);
  const made = await track(page, 5);
  assert.ok(made.every(({ durable }) => !durable));
  await stored(5);
  assert.deepEqual(names(), expected(5));
});

test("without Web Locks: a lease lets one tab lead", async () => {
  await browser.context.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "locks", { value: undefined });
  });
  const pages = await Promise.all([open(), open(), open()]);
  await Promise.all(pages.map((page, tab) => track(page, 20, tab * 20)));
  await stored(60);
  complete(60);
});

test("the database is deleted under the tab that leads: nobody's events are lost", async () => {
  collector.respond = down;
  const leader = await open();
  await track(leader, 5);
  await until(() => collector.requests.length > 0, "a request of the tab that leads");
  const other = await open();
  await other.evaluate(
    () =>
      new Promise((done, failed) => {
        const request = indexedDB.deleteDatabase("headwater:wk_test");
        request.onsuccess = done;
        request.onerror = failed;
      }),
  );
  const committed = await track(other, 5, 5);
  assert.ok(committed.every(({ durable }) => durable));
  collector.respond = undefined;
  await stored(10);
  assert.deepEqual(names().sort(), expected(10).sort());
});

test("without Web Locks, a tab that slept through its lease still stores what is called in it", async () => {
  await browser.context.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "locks", { value: undefined });
  });
  const sleeper = await open();
  await track(sleeper, 1);
  await stored(1);
  const other = await open();
  // Its main thread is busy for longer than a lease lasts.
  await sleeper.evaluate(() => {
    for (const end = Date.now() + 9000; Date.now() < end; );
  });
  await until(async () => (await track(other, 1, collector.stored.size)) && collector.stored.size > 1, "the other tab leads");
  const before = collector.stored.size;
  const committed = await track(sleeper, 5, 100);
  assert.ok(committed.every(({ durable }) => durable), "they are in storage");
  await stored(before + 5);
});

test("a hostile receipt drops nothing, and the script may be on the page twice", async () => {
  const thrown = [];
  collector.respond = () => ({
    status: 200,
    body: { success: true, events: [999, -1, 0.5].map((index) => ({ index, outcome: "refused" })) },
  });
  const page = await open();
  page.on("pageerror", (error) => thrown.push(error.message));
  await page.evaluate(() => {
    dropped = [];
    headwater.on("dropped", (report) => dropped.push(report));
    const again = document.createElement("script");
    again.src = document.querySelector("script[src]").src;
    return new Promise((done) => {
      again.onload = done;
      document.head.append(again);
    });
  });
  await track(page, 3);
  await until(() => collector.requests.flatMap(({ batch }) => batch).length === 3, "the events");
  await page.evaluate(() => headwater.flush());
  assert.deepEqual(await page.evaluate(() => dropped), []);
  assert.deepEqual(thrown, []);
});
