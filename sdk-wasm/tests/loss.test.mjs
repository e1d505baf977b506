/*
 * What else may not lose events: the browser killed, tabs frozen, storage that is full, blocked or broken, clocks that jump, batches
 * refused whole. Each test's calls must all be stored, each once, or be reported; waiting is on conditions.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { show, until } from "./browser.mjs";
import { down, gapless } from "./collector.mjs";
import { browser, collector, complete, expected, names, open, replaceBrowser, stored as storedWithin, track } from "./page.mjs";

/** A backlog may first have to wait out a pause. */
const stored = (count) => storedWithin(count, 40_000);
/** Resolves to the page's first report of this name. */
const reported = (page, name) =>
  page.evaluate((name) => new Promise((done) => headwater.on(name, done)), name);
/** Records in the page's storage. */
const records = (page) =>
  page.evaluate(async () => {
    const db = await new Promise((done) => {
      indexedDB.open("headwater:wk_test").onsuccess = (event) => done(event.target.result);
    });
    const count = db.transaction("records").objectStore("records").count();
    await new Promise((done) => (count.onsuccess = done));
    db.close();
    return count.result;
  });
const requested = (count = 1) => until(() => collector.requests.length >= count, `${count} requests`);

test("the browser is killed 200 ms after the last call: nothing is lost", async () => {
  collector.respond = down;
  const page = await open();
  await track(page, 200);
  await page.evaluate(() => new Promise((done) => setTimeout(done, 200)));
  await browser.kill();
  collector.respond = undefined;
  await replaceBrowser(browser.profile);
  await open();
  await stored(200);
  complete(200);
});

test("three tabs write while the collector is unreachable, are closed, and one is opened", async () => {
  collector.respond = down;
  const pages = await Promise.all([open(), open(), open()]);
  await Promise.all(pages.map((page, tab) => track(page, 66, tab * 66)));
  await requested();
  await Promise.all(pages.map((page) => page.close()));
  collector.respond = undefined;
  await open();
  await stored(198);
  complete(198);
});

test("an outage with the tab open ends by itself: five attempts, no event as a nudge", async () => {
  collector.respond = (_, count) => (count < 5 ? { down: true } : {});
  const page = await open();
  await track(page, 200);
  await stored(200);
  assert.deepEqual(names(), expected(200));
  complete(200);
});

test("1,000 events in one loop", async () => {
  const page = await open();
  await track(page, 1000);
  await stored(1000);
  assert.deepEqual(names(), expected(1000));
  complete(1000);
  assert.ok(collector.requests.length <= 8, `${collector.requests.length} requests`);
});

test("storage is full: events are sent from memory, the loss of durability is reported, and ends", async () => {
  const page = await browser.context.newPage();
  await page.addInitScript(() => {
    // As the browser does it: the request fails, and its transaction with it.
    const { add } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.add = function (...given) {
      const request = add.apply(this, given);
      if (self.full) this.transaction.abort();
      return request;
    };
  });
  await page.goto(collector.page);
  await page.waitForFunction(() => headwater.track);
  await track(page, 1);
  await stored(1);
  const notDurable = reported(page, "not_durable");
  await page.evaluate(() => (full = true));
  const made = await track(page, 5, 1);
  assert.ok(made.every(({ durable }) => !durable));
  await notDurable;
  await stored(6);
  await page.evaluate(() => (full = false));
  const [{ durable }] = await track(page, 1, 6);
  assert.ok(durable);
  await stored(7);
  assert.deepEqual(names(), expected(7));
  gapless(collector);
});

test("the database is blocked by somebody's newer version: delivery goes on from memory", async () => {
  const page = await browser.context.newPage();
  await page.addInitScript(() => {
    const open = IDBFactory.prototype.open;
    IDBFactory.prototype.open = function (...given) {
      const request = open.apply(this, given);
      // Another tab's connection that does not let go.
      queueMicrotask(() => request.dispatchEvent(new Event("blocked")));
      Object.defineProperty(request, "onsuccess", { set() {} });
      return request;
    };
  });
  await page.goto(collector.page);
  await page.waitForFunction(() => headwater.track);
  const made = await track(page, 5);
  assert.ok(made.every(({ durable }) => !durable));
  await stored(5);
  assert.deepEqual(names(), expected(5));
});

test("what is saved is corrupt: it is said, a new queue begins, and no event is lost", async () => {
  collector.respond = down;
  const page = await open();
  await track(page, 5);
  await requested();
  await page.goto(`${collector.page}/?bare`);
  await page.evaluate(
    () =>
      new Promise((done) => {
        indexedDB.open("headwater:wk_test").onsuccess = ({ target: { result } }) => {
          const tx = result.transaction("state", "readwrite");
          tx.objectStore("state").get("core").onsuccess = ({ target }) => {
            const words = target.result;
            words[3] = (words[3] + 1) % 65536;
            tx.objectStore("state").put(words, "core");
          };
          tx.oncomplete = () => (result.close(), done());
        };
      }),
  );
  collector.respond = undefined;
  await open();
  await stored(5);
  assert.deepEqual(names(), expected(5));
  gapless(collector);
});

test("a private window: the same promises for as long as it is open", async () => {
  // `--incognito` would not do: the profile's own window is opened first, and driven.
  const context = await browser.context.browser().newContext();
  collector.respond = down;
  const page = await open("", context);
  await track(page, 20);
  await requested();
  collector.respond = undefined;
  await page.reload();
  await stored(20);
  complete(20);
});

test("an answer that never comes: the events go again, at the next visit at the latest", async () => {
  collector.respond = (_, count) => (count ? {} : { never: true });
  const page = await open();
  await track(page, 5);
  await requested();
  await page.reload();
  await stored(5);
  complete(5);
});

test("an answer that comes after the page was hidden counts: nothing goes twice, and the next visit asks nothing", async () => {
  let answer;
  collector.respond = () => ({ after: new Promise((done) => (answer = done)) });
  const page = await open();
  await track(page, 5);
  await stored(5);
  await show(page, false);
  await page.evaluate(() => headwater.ready());
  answer();
  await until(async () => !(await records(page)), "the events' deletion");
  await show(page, true);
  collector.respond = undefined;
  await page.reload();
  await page.waitForFunction(() => headwater.track);
  await track(page, 1, 5);
  await stored(6);
  complete(6);
  assert.deepEqual([collector.requests.length, collector.questions.length], [2, 0]);
});

test("back and forward: a page out of the back/forward cache goes on", async () => {
  const page = await open();
  await track(page, 2);
  await stored(2);
  await page.evaluate(() => (mark = true));
  await page.goto(`${collector.page}/?bare`);
  await page.goBack({ waitUntil: "commit" });
  assert.ok(await page.evaluate(() => mark), "it is the same page");
  await track(page, 3, 2);
  await stored(5);
  complete(5);
});

test("a tab is frozen in the middle of an outage, and thawed", async () => {
  collector.respond = down;
  const page = await open();
  await track(page, 10);
  await requested();
  const session = await page.context().newCDPSession(page);
  await session.send("Page.setWebLifecycleState", { state: "frozen" });
  collector.respond = undefined;
  await session.send("Page.setWebLifecycleState", { state: "active" });
  await track(page, 1, 10);
  await stored(11);
  complete(11);
});

for (const [name, jump] of [["back a day", -86_400_000], ["forward a year", 31_536_000_000]])
  test(`the clock is set ${name} while events wait`, async () => {
    collector.respond = down;
    // Before the SDK is there, which keeps the function that it found.
    await browser.context.addInitScript(() => {
      const now = Date.now;
      Date.now = () => now() + (self.jump ?? 0);
    });
    const page = await open();
    await track(page, 5);
    await requested();
    await page.evaluate((jump) => (self.jump = jump), jump);
    await track(page, 5, 5);
    collector.respond = undefined;
    await page.evaluate(() => headwater.flush());
    await stored(10);
    complete(10);
    const [before, after] = [4, 5].map((index) => [...collector.stored.values()].find(({ event }) => event === `Event ${index}`));
    const apart = Date.parse(after.timestamp) - Date.parse(before.timestamp) - jump;
    assert.ok(apart >= 0 && apart < 60_000, `the SDK's clock has jumped: ${apart} ms`);
  });

test("an event that is too large among good ones is dropped alone, and reported with its number", async () => {
  const page = await open();
  const dropped = reported(page, "dropped");
  const { messageId } = await page.evaluate(async () => {
    headwater.track("Event 0");
    const large = headwater.track("Large", { text: "x".repeat(40_000) });
    await headwater.track("Event 1");
    return large;
  });
  assert.deepEqual(await dropped, { messageId, reason: "too_large" });
  await stored(2);
  await track(page, 1, 2);
  await stored(3);
  assert.deepEqual(names(), expected(3));
  assert.equal(gapless(collector).numbers, 4);
});

for (const [status, reason] of [[400, "refused"], [413, "too_large"]])
  test(`a batch refused whole with ${status} is bisected: only the poison event is dropped`, async () => {
    collector.respond = (batch) => (batch.some(({ event }) => event === "Event 13") ? { status } : {});
    const page = await open();
    const dropped = reported(page, "dropped");
    const made = await track(page, 40);
    await stored(39);
    assert.deepEqual(await dropped, { messageId: made[13].messageId, reason });
    await track(page, 1, 40);
    await stored(40);
    assert.deepEqual(names(), expected(41).filter((name) => name !== "Event 13"));
    assert.equal(gapless(collector).numbers, 41);
  });

test("403 stops, keeps the queue over a reload, and says so", async () => {
  collector.respond = () => ({ status: 403 });
  const page = await open();
  const stopped = reported(page, "stopped");
  await track(page, 5);
  assert.deepEqual(await stopped, { status: 403 });
  const before = collector.requests.length;
  await track(page, 5, 5);
  assert.equal(collector.requests.length, before, "silence");
  collector.respond = undefined;
  await page.reload();
  await stored(10);
  complete(10);
});

test("the wasm is truncated, then whole: nothing is lost", async () => {
  collector.truncate = true;
  const page = await open();
  const failed = page.evaluate(() => new Promise((done) => headwater.on("core_failed", () => done(true))));
  await track(page, 10);
  assert.ok(await failed);
  collector.truncate = false;
  await stored(10);
  complete(10);
});

test("whatever another script of the origin posts to the tabs, delivery goes on", async () => {
  const page = await open();
  const errors = [];
  page.on("pageerror", (error) => errors.push(error.message));
  page.on("console", (message) => errors.push(message.text()));
  await track(page, 1);
  await stored(1);
  await page.evaluate(() => {
    heard = new Promise((done) => (new BroadcastChannel("headwater:wk_test").onmessage = ({ data }) => data?.[0] === 99 && done()));
  });
  const other = await browser.context.newPage();
  await other.goto(`${collector.page}/?bare`);
  await other.evaluate(() => {
    const channel = new BroadcastChannel("headwater:wk_test");
    const kinds = Array.from({ length: 14 }, (_, at) => at - 3);
    const given = [undefined, null, 512, 1e300, 1n, "x", {}, [512], new Map()];
    for (const posted of [null, undefined, 0, "0", {}, [], [[]], [0, 512], [1, 512, 1], [3, 1, 1], [4, 1, 200, 512], [9, 255, 255], [9, 0, 255]])
      channel.postMessage(posted);
    for (const kind of [...kinds, "constructor", null, 1n]) for (const a of given) for (const b of given) channel.postMessage([kind, a, b]);
    for (const name of ["__proto__", "constructor", "toString", "dropped", "acknowledged"])
      for (const what of [null, undefined]) channel.postMessage([-2, name, what]);
    for (const at of [NaN, Infinity, "9".repeat(15), 1n]) channel.postMessage([-1, { at, anonymousId: 7, userId: {}, consent: 1n }]);
    channel.postMessage([99, "last"]);
  });
  await page.evaluate(() => heard);
  await track(page, 5, 1);
  await stored(6);
  complete(6);
  const late = await open();
  await track(late, 1, 6);
  await stored(7);
  complete(7);
  assert.deepEqual(errors, []);
});
