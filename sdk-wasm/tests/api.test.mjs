/*
 * What a page can ask of the client beside its verbs: who the person is, what became of a call, a look at each event before it is
 * kept, and what there is to see when something seems wrong.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { down } from "./collector.mjs";
import { browser, collector, names, open, stored, track } from "./page.mjs";

const events = async (count) => {
  await stored(count);
  return [...collector.stored.values()];
};

test("a call may wait for the collector's answer, in the tab that sends and in another one", async () => {
  collector.respond = () => ({ refuse: (event) => event.event === "Bad" && "no" });
  const acknowledged = (page, name) =>
    page.evaluate((name) => headwater.track(name, {}, { until: "acknowledged" }), name);
  const leader = await open();
  const first = await acknowledged(leader, "A");
  assert.deepEqual(first, { messageId: first.messageId, durable: true, outcome: "accepted" });
  assert.ok(collector.stored.has(first.messageId), "not before it was there");
  assert.equal((await acknowledged(leader, "Bad")).outcome, "refused");
  const other = await open();
  const [b, c, bad] = await Promise.all([
    acknowledged(other, "B"),
    acknowledged(leader, "C"),
    acknowledged(other, "Bad"),
  ]);
  assert.deepEqual([b.outcome, c.outcome, bad.outcome], ["accepted", "accepted", "refused"]);
});

test("a call that waits goes on waiting through an outage, and ends when the event is given up", async () => {
  collector.respond = down;
  const page = await open();
  await page.evaluate(() => {
    said = [];
    headwater.track("A", {}, { until: "acknowledged" }).then(({ outcome }) => said.push(outcome));
    return headwater.track("B");
  });
  await until(() => collector.requests.length > 1, "an attempt");
  assert.deepEqual(await page.evaluate(() => said), []);
  collector.respond = undefined;
  await page.evaluate(() => headwater.flush());
  await page.waitForFunction(() => said.length === 1);
  const large = page.evaluate(() => headwater.track("L", { text: "x".repeat(40_000) }, { until: "acknowledged" }));
  assert.equal((await large).outcome, "dropped");
  assert.deepEqual(names(), ["A", "B"]);
});

test("a call that waits ends when the person says no, in whichever tab", async () => {
  collector.respond = down;
  const [page, other] = [await open(), await open()];
  const waits = (tab, category) =>
    tab.evaluate((category) => {
      ended = headwater.track("Ad", {}, { until: "acknowledged", category });
      return headwater.flush();
    }, category);
  await Promise.all([waits(page, "marketing"), waits(other, "marketing")]);
  await page.evaluate(() => headwater.consent({ marketing: "denied" }));
  for (const tab of [page, other]) assert.equal((await tab.evaluate(() => ended)).outcome, "dropped");
});

test("what is dropped is told in every tab, until a listener is taken away", async () => {
  collector.respond = () => ({ refuse: (event) => /^Bad/.test(event.event) && "no" });
  await open();
  const other = await open();
  await other.evaluate(() => {
    told = [];
    headwater.on("dropped", (listener = (report) => told.push(report)));
    return headwater.track("Bad 1");
  });
  await other.waitForFunction(() => told.length === 1);
  const [{ reason, messageId }] = await other.evaluate(() => told);
  assert.deepEqual([reason, messageId.length], ["refused", 36]);
  const { outcome } = await other.evaluate(() => {
    headwater.off("dropped", listener);
    return headwater.track("Bad 2", {}, { until: "acknowledged" });
  });
  assert.deepEqual([outcome, await other.evaluate(() => told.length)], ["refused", 1]);
});

test("before: events are changed or dropped before they are kept; an error drops, and shows", async () => {
  const page = await open();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  const results = await page.evaluate(async () => {
    headwater.before((event) => {
      event.properties = { ...event.properties, seen: 1 };
      delete event.context;
      event.messageId = "mine";
      event.type = "alias";
    });
    headwater.before((event) => {
      if (event.event === "Secret") return null;
      if (event.event === "Broken") throw new Error("oops");
      return { properties: event.properties, event: event.event + '","messageId":"no' };
    });
    const said = [];
    for (const name of ["A", "Secret", "Broken", "B"])
      said.push(await headwater.track(name, { n: 1 }).catch((error) => error.message));
    return said;
  });
  assert.deepEqual(
    results.map((result) => result.durable ?? result),
    [true, false, "oops", true],
  );
  const [a, b] = await events(2);
  assert.deepEqual([a.event, b.event], ['A","messageId":"no', 'B","messageId":"no']);
  assert.deepEqual([a.type, a.messageId, a.properties], ["track", results[0].messageId, { n: 1, seen: 1 }]);
  assert.equal(a.context.library.name, "headwater.js");
  assert.equal(a.context.headwater.seq, 1);
  assert.match(errors.join(), /oops/);
});

test("before: what a short function happens to return is no event, and what it calls is not looked at", async () => {
  const page = await open();
  await page.evaluate(async () => {
    headwater.before((event) => delete event.context.page);
    headwater.before((event) => {
      if (event.event === "A") headwater.track("Called inside");
      return [];
    });
    await headwater.track("A", { n: 1 }, null);
    await headwater.track("B").catch(() => {});
    headwater.before(async (event) => event);
    await headwater.track("Never").catch(() => {});
  });
  const all = await events(3);
  const { event, anonymousId, properties, context } = all.find((one) => one.event === "A");
  assert.deepEqual([event, anonymousId.length, properties, context.page], ["A", 36, { n: 1 }, undefined]);
  assert.deepEqual(names().toSorted(), ["A", "B", "Called inside"]);
});

test("half an emoji is replaced, a whole one and an escaped one stay", async () => {
  const page = await open();
  const texts = ["cut \ud83d", "\udc4d cut", "whole \ud83d\udc4d", "\\ud83d"];
  await page.evaluate((texts) => headwater.track("A", { texts }), texts);
  const [{ properties }] = await events(1);
  assert.deepEqual(properties.texts, ["cut \ufffd", "\ufffd cut", texts[2], texts[3]]);
});

test("user and setAnonymousId say and change who the person is; ready says when it is known", async () => {
  const page = await open("?early=" + encodeURIComponent(`headwater.push(["ready", () => { isReady = true }])`));
  await page.waitForFunction(() => globalThis.isReady);
  await page.evaluate(async () => {
    headwater.setAnonymousId("from-my-server");
    await headwater.identify("u-1");
  });
  assert.deepEqual(await page.evaluate(() => headwater.user()), { anonymousId: "from-my-server", userId: "u-1" });
  const [identify] = await events(1);
  assert.deepEqual([identify.anonymousId, identify.userId], ["from-my-server", "u-1"]);
  await page.reload();
  await page.waitForFunction(() => headwater.track);
  assert.equal((await page.evaluate(() => headwater.user())).anonymousId, "from-my-server");
  assert.match(await page.evaluate(() => headwater.ready().then(() => "resolved")), /resolved/);
});

test("the script leaves no global behind but its own", async () => {
  const page = await browser.context.newPage();
  await page.goto(`${collector.page}/?bare`);
  const added = await page.evaluate(async (src) => {
    const before = new Set(Object.getOwnPropertyNames(window));
    await new Promise((done) => document.head.append(Object.assign(document.createElement("script"), { src, onload: done })));
    return Object.getOwnPropertyNames(window).filter((name) => !before.has(name));
  }, "/headwater.js");
  assert.deepEqual(added, [], "beside `headwater`, which the page's queue made");
});

test("debug prints what waits, the last answers, drops and consent", async () => {
  collector.respond = (batch, count) => (count < 1 ? { refuse: (event) => event.event === "Bad" && "no" } : { status: 503 });
  const page = await open();
  const printed = [];
  page.on("console", (message) =>
    printed.push(Promise.all([message.type(), ...message.args().map((arg) => arg.jsonValue().catch(() => {}))])),
  );
  await page.evaluate(() => headwater.track("Bad", {}, { until: "acknowledged" }));
  await page.evaluate(() => {
    headwater.consent({ marketing: "pending" });
    headwater.track("Ad", {}, { category: "marketing" });
  });
  await track(page, 3);
  await until(() => collector.requests.length > 1, "the refusal");
  const tables = await until(async () => {
    printed.length = 0;
    await page.evaluate(() => headwater.debug());
    const tables = (await Promise.all(printed)).filter(([kind]) => kind === "table");
    return tables.length === 4 && /503/.test(JSON.stringify(tables)) && tables;
  }, "the answer");
  const [about, waiting, answers, drops] = tables.map(([, table]) => table);
  assert.equal(about.storage, "IndexedDB");
  assert.deepEqual([waiting.analytics.events, waiting.marketing.events], [3, 1]);
  assert.deepEqual([waiting.analytics.consent, waiting.marketing.consent], ["granted", "pending"]);
  assert.ok(waiting.analytics.bytes > 1000 && waiting.analytics.oldest.endsWith("Z"));
  assert.deepEqual(
    answers.slice(0, 2).map(({ to, status }) => [to, status]),
    [["batch", 200], ["batch", 503]],
  );
  assert.deepEqual(drops, { refused: 1 });
});

test("a call before load says what it said then, whatever becomes of its objects", async () => {
  const page = await browser.context.newPage();
  const shown = [];
  page.on("console", (message) => message.type() === "error" && shown.push(message.text()));
  await page.goto(`${collector.page}/?bare`);
  const refused = await page.evaluate(async (endpoint) => {
    const { headwater } = await import("/headwater.mjs");
    const given = { cart: { items: ["a"] } };
    const own = { context: { step: 1 }, timestamp: new Date(1.7e12) };
    const answers = { marketing: "denied" };
    headwater.track("A", given, own);
    headwater.identify("u", given);
    headwater.alias("v");
    headwater.page(given);
    headwater.consent(answers);
    // Refused at once: nothing of it can be kept until then.
    const circular = {};
    circular.itself = circular;
    const outcomes = await Promise.allSettled([headwater.track("B", circular), headwater.track()]);
    given.cart.items.push("b");
    given.cart = own.context = undefined;
    own.timestamp.setTime(0);
    answers.marketing = "granted";
    headwater.load({ writeKey: "wk_test", endpoint });
    await headwater.track("Ad", {}, { category: "marketing" });
    await headwater.track("C", undefined, {});
    return outcomes.map(({ status }) => status);
  }, collector.endpoint);
  await stored(5);
  assert.deepEqual([refused, shown.length], [["rejected", "rejected"], 2]);
  const [a, identified, alias, seen, c] = [...collector.stored.values()];
  const cart = { items: ["a"] };
  assert.deepEqual([a.properties, identified.traits, seen.properties.cart], [{ cart }, { cart }, cart]);
  assert.deepEqual([a.context.step, a.timestamp], [1, "2023-11-14T22:13:20.000Z"]);
  assert.deepEqual([identified.userId, alias.userId, alias.previousId, c.event, c.userId], ["u", "v", "u", "C", "v"]);
});

test("a context that names what is added as an event is sent does not name it twice", async () => {
  const page = await browser.context.newPage();
  await page.goto(`${collector.page}/?bare`);
  await page.evaluate(async (endpoint) => {
    const { headwater } = await import("/headwater.mjs");
    const context = { sessionId: 7, sessionStart: false, headwater: { queue: "x", seq: 1 }, shop: 1 };
    headwater.load({ writeKey: "wk_test", endpoint, context });
    headwater.track("A");
    headwater.track("B", {}, { context });
    headwater.track("C", {}, { context: { toJSON: () => "none", own: 1 } });
    headwater.before((event) => ({ ...event, context }));
    await headwater.track("D");
  }, collector.endpoint);
  const stored = await events(4);
  for (const { context } of stored) {
    assert.ok(context.sessionId > 1e12 && context.headwater.seq > 0, JSON.stringify(context));
    assert.equal(context.shop, 1);
  }
  assert.equal(stored[2].context.own, 1);
  for (const member of ["sessionId", "headwater", "queue"])
    assert.equal(collector.requests[0].body.split(`"${member}":`).length - 1, 4, `${member} once in each event`);
  assert.equal(collector.requests[0].body.split('"sessionStart":').length - 1, 1);
});

/** More text than the SDK keeps at hand, and behind most of it a call that waits, in a queue that nobody takes anything from. */
const waitBehind = (page) =>
  page.evaluate(async () => {
    const large = { text: "x".repeat(1000) };
    said = [];
    const calls = Array.from({ length: 300 }, (_, at) => {
      if (at == 250) headwater.track("Waits", large, { until: "acknowledged" }).then(({ outcome }) => said.push(outcome));
      return headwater.track("Large", large);
    });
    await Promise.all(calls);
  });

test("a call that waits ends when its event is dropped from a full queue", async () => {
  collector.respond = down;
  const page = await open();
  await waitBehind(page);
  await page.evaluate(async () => {
    for (let at = 0; at < 105; at++) await Promise.all(Array.from({ length: 100 }, () => headwater.track("More")));
  });
  await page.waitForFunction(() => said.length);
  assert.deepEqual(await page.evaluate(() => said), ["dropped"]);
});

test("an event that a call waits for outlives the database", async () => {
  collector.respond = down;
  const page = await open();
  await waitBehind(page);
  await until(() => collector.requests.length, "the first try");
  await page.evaluate(() => new Promise((done) => (indexedDB.deleteDatabase("headwater:wk_test").onsuccess = done)));
  collector.respond = undefined;
  await page.waitForFunction(() => said.length);
  assert.deepEqual(await page.evaluate(() => said), ["accepted"]);
});

test("a call that waits ends when there is neither storage nor a core, and too much in memory; each event is reported", async () => {
  const page = await browser.context.newPage();
  await page.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("refused");
    };
  });
  await page.goto(`${collector.page}/?bare`);
  const { outcome, dropped } = await page.evaluate(async (endpoint) => {
    const { headwater } = await import("/headwater.mjs");
    const dropped = [];
    headwater.on("dropped", ({ messageId, reason }) => dropped.push([messageId, reason]));
    headwater.on("core_failed", () => {});
    headwater.load({ writeKey: "wk_test", endpoint, wasm: "/?no-core" });
    const calls = Array.from({ length: 10_000 }, () => headwater.track("Kept"));
    calls.push(headwater.track("One too many"));
    const waits = headwater.track("Waits", {}, { until: "acknowledged" });
    const ids = new Set((await Promise.all([...calls, waits])).map(({ messageId }) => messageId));
    return { outcome: (await waits).outcome, dropped: dropped.filter(([id, reason]) => ids.has(id) && reason === "queue_full").length };
  }, collector.endpoint);
  // What is given up is a record, of at most a hundred.
  assert.ok(outcome === "dropped" && dropped >= 2 && dropped <= 100, `${outcome}, ${dropped}`);
});

test("debug says which options are mistyped, and says nothing of good ones", async () => {
  const said = async (options) => {
    const page = await browser.context.newPage();
    const warned = [];
    page.on("console", (message) => message.type() === "warning" && warned.push(message.text()));
    await page.goto(`${collector.page}/?bare`);
    await page.evaluate(
      async ([endpoint, options]) => {
        const { headwater } = await import("/headwater.mjs");
        headwater.load({ writeKey: "wk_test", endpoint, ...options });
        await headwater.debug();
      },
      [collector.endpoint, options],
    );
    await page.close();
    return warned.map((text) => text.split(": ")[1]);
  };
  const mistyped = { cookiless: true, constructor: 1, allow: "sku", autocapture: { idleMs: "10", only: ["pages"] } };
  assert.deepEqual(await said(mistyped), ["cookiless constructor allow idleMs"]);
  const good = { context: {}, consent: "granted", globalPrivacyControl: false, cookieless: false, allow: ["a"], autocapture: { idleMs: 10 } };
  assert.deepEqual(await said(good), []);
});
