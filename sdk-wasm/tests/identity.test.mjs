/*
 * Who an event belongs to, in a real browser: ids, signing in and out, sessions, consent.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { browser, collector, open } from "./page.mjs";

const events = async (count) => {
  await until(() => collector.stored.size >= count, `${count} events`);
  return [...collector.stored.values()];
};

test("identify, alias and reset change who the next event belongs to", async () => {
  const page = await open();
  await page.evaluate(async () => {
    headwater.track("A");
    headwater.identify("u-1", { plan: "pro" });
    headwater.track("B");
    headwater.group("acme", { seats: 12 });
    headwater.alias("u-2");
    headwater.page("Docs", "Pricing", { own: true });
    headwater.reset();
    await headwater.track("C");
  });
  const [a, identify, b, group, alias, pricing, c] = await events(7);
  assert.equal(a.userId, undefined);
  assert.deepEqual([identify.userId, identify.traits], ["u-1", { plan: "pro" }]);
  assert.deepEqual([b.userId, b.anonymousId], ["u-1", a.anonymousId]);
  assert.deepEqual([group.groupId, group.traits], ["acme", { seats: 12 }]);
  assert.deepEqual([alias.userId, alias.previousId], ["u-2", "u-1"]);
  assert.deepEqual([pricing.category, pricing.name, pricing.properties.own], ["Docs", "Pricing", true]);
  assert.equal(pricing.properties.title, "Shop");
  assert.equal(c.userId, undefined);
  assert.notEqual(c.anonymousId, a.anonymousId);
  assert.notEqual(c.context.sessionId, a.context.sessionId);
  assert.equal(c.context.sessionStart, true);
});

test("the short forms of the verbs mean what they mean at Segment", async () => {
  const page = await open();
  await page.evaluate(async () => {
    headwater.identify({ plan: "pro" });
    headwater.page({ own: true });
    await headwater.track("A");
  });
  const [identify, pricing, a] = await events(3);
  assert.deepEqual([identify.userId, identify.traits], [undefined, { plan: "pro" }]);
  assert.deepEqual([pricing.name, pricing.properties.own], [undefined, true]);
  assert.equal(a.userId, undefined);
});

test("a call that is no event is refused, shown in the console, and throws nothing into the page", async () => {
  const page = await open();
  const shown = [];
  const thrown = [];
  page.on("console", (message) => message.type() === "error" && shown.push(message.text()));
  page.on("pageerror", (error) => thrown.push(error.message));
  const refused = await page.evaluate(async () => {
    const circular = {};
    circular.itself = circular;
    headwater.track("Circular", circular); // nobody waits for it
    const calls = [() => headwater.track(), () => headwater.track({}), () => headwater.track(""), () => headwater.group(),
      () => headwater.group({ seats: 1 }), () => headwater.identify(""), () => headwater.track("Big", { n: 1n })];
    const outcomes = await Promise.allSettled(calls.map((call) => call()));
    await headwater.track("Good");
    return outcomes.filter(({ status }) => status === "rejected").length;
  });
  assert.equal(refused, 7);
  const [good] = await events(1);
  assert.deepEqual([good.event, good.userId, collector.stored.size], ["Good", undefined, 1]);
  await until(() => shown.length === 8, "eight errors in the console");
  assert.deepEqual(thrown, []);
});

test("the identity and the session are the same in every tab and after a reload", async () => {
  const first = await open();
  await first.evaluate(() => headwater.identify("u-1"));
  const second = await open();
  await second.evaluate(() => headwater.track("B"));
  await first.reload();
  await first.waitForFunction(() => headwater.track);
  await first.evaluate(() => headwater.track("C"));
  const [a, b, c] = await events(3);
  for (const event of [b, c]) {
    assert.equal(event.userId, "u-1");
    assert.equal(event.anonymousId, a.anonymousId);
    assert.equal(event.context.sessionId, a.context.sessionId);
    assert.equal(event.context.sessionStart, undefined);
  }
});

test("the anonymous id is restored when only localStorage was cleared", async () => {
  const page = await open();
  await page.evaluate(() => headwater.track("A"));
  await page.evaluate(() => localStorage.clear());
  await page.reload();
  await page.waitForFunction(() => headwater.track);
  const [a] = await events(1);
  await until(() => page.evaluate((id) => JSON.stringify(localStorage).includes(id), a.anonymousId));
});

test("another campaign begins a session, with what the address says of it", async () => {
  const page = await open();
  await page.evaluate(() => headwater.track("A"));
  await page.goto(`${collector.page}/?utm_source=mail&utm_campaign=spring`);
  await page.waitForFunction(() => headwater.track);
  await page.evaluate(async () => {
    headwater.track("B");
    await headwater.track("C");
  });
  const [a, b, c] = await events(3);
  assert.notEqual(b.context.sessionId, a.context.sessionId);
  assert.equal(c.context.sessionId, b.context.sessionId);
  assert.deepEqual(b.context.campaign, { source: "mail", name: "spring" });
});

test("consent: pending keeps, granted sends, denied deletes", async () => {
  const page = await open();
  await page.evaluate(async () => {
    headwater.consent("pending");
    await headwater.track("A");
    await headwater.flush();
    headwater.consent("granted");
    await headwater.track("B");
  });
  const [a, b] = await events(2);
  assert.deepEqual([a.event, b.event], ["A", "B"]);
  const refused = await page.evaluate(async () => {
    headwater.consent("pending");
    await headwater.track("Never");
    headwater.consent("denied");
    return headwater.track("Nor this");
  });
  assert.equal(refused.durable, false);
  await page.evaluate(async () => {
    headwater.consent("granted");
    await headwater.track("C");
  });
  const [, , c] = await events(3);
  assert.equal(c.event, "C");
  assert.notEqual(c.anonymousId, a.anonymousId);
  assert.notEqual(c.context.headwater.queue, a.context.headwater.queue);
});

for (const heard of [true, false])
  test(`who signed out on the next page is signed out on the one before it, ${heard ? "told of it" : "as it was in the back/forward cache"}`, async () => {
    const page = await browser.context.newPage();
    // A page in that cache that is sent a message is made anew by Chromium, and left untold by others.
    await page.addInitScript((heard) => {
      if (!heard && location.search === "?next") delete self.BroadcastChannel;
    }, heard);
    await page.goto(collector.page);
    await page.waitForFunction(() => headwater.track);
    await page.evaluate(async () => {
      self.frozen = true;
      headwater.identify("u-1");
      await headwater.track("A");
    });
    const [, a] = await events(2);
    await page.goto(`${collector.page}/?next`);
    await page.waitForFunction(() => headwater.track);
    await page.evaluate(async () => {
      headwater.reset();
      await headwater.track("B");
    });
    const [, , b] = await events(3);
    assert.notEqual(b.anonymousId, a.anonymousId);
    await page.goBack({ waitUntil: "commit" });
    await page.waitForFunction(() => headwater.track);
    assert.equal(await page.evaluate(() => !!self.frozen), !heard);
    await until(async () => {
      await page.evaluate(() => headwater.track("C"));
      return [...collector.stored.values()].some((event) => event.event === "C" && event.anonymousId === b.anonymousId);
    }, "the person of the next page");
  });
