/*
 * Segment's and RudderStack's Node clients, unmodified, against the real collector. Promises that hundreds of events of every
 * type are in its log once, with the fields they were sent with.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Analytics } from "@segment/analytics-node";
import RudderAnalytics from "@rudderstack/rudder-sdk-node";
import { KEY, assertStored, properties, startCollector } from "./collector.mjs";

const COUNT = 500;

/** What every client's API has in common, called for each type of event. */
const sendOthers = (analytics) => {
  analytics.identify({ userId: "u-1", traits: { email: "a@b.example", plan: { name: "pro" } } });
  analytics.page({ userId: "u-1", name: "Home", category: "Shop", properties: { path: "/" } });
  analytics.screen({ anonymousId: "a-1", name: "Start", properties: { dark: true } });
  analytics.group({ userId: "u-1", groupId: "g-1", traits: { seats: 12 } });
  analytics.alias({ userId: "u-1", previousId: "a-1" });
};

const assertOthers = (stored) => {
  const one = (type) => {
    const found = stored.filter((event) => event.type === type);
    assert.equal(found.length, 1, type);
    return found[0];
  };
  assert.deepEqual(one("identify").traits, { email: "a@b.example", plan: { name: "pro" } });
  assert.equal(one("page").name, "Home");
  assert.equal(one("page").properties.path, "/");
  assert.equal(one("screen").anonymousId, "a-1");
  assert.equal(one("screen").properties.dark, true);
  assert.equal(one("group").groupId, "g-1");
  assert.deepEqual(one("group").traits, { seats: 12 });
  assert.equal(one("alias").previousId, "a-1");
};

test("@segment/analytics-node", async (t) => {
  const collector = await startCollector();
  t.after(collector.stop);
  const analytics = new Analytics({ writeKey: KEY, host: collector.url });
  analytics.on("error", (error) => assert.fail(`${error.code}: ${error.reason}`));
  for (let n = 0; n < COUNT; n++)
    analytics.track({ userId: `u-${n % 9}`, event: `Clicked ${n % 7}`, properties: properties(n) });
  sendOthers(analytics);
  await analytics.closeAndFlush();

  const stored = await collector.events();
  assertStored(stored, COUNT, "@segment/analytics-node");
  assertOthers(stored);
  assert.equal(stored.length, COUNT + 5);
});

test("@rudderstack/rudder-sdk-node, which compresses and says that it is a form", async (t) => {
  const collector = await startCollector();
  t.after(collector.stop);
  const failures = [];
  const analytics = new RudderAnalytics(KEY, {
    dataPlaneUrl: collector.url,
    errorHandler: (error) => failures.push(error),
    logLevel: "error",
  });
  const ids = [];
  for (let n = 0; n < COUNT; n++) {
    ids.push(`m-${n}`);
    analytics.track({
      messageId: ids[n],
      userId: `u-${n % 9}`,
      event: `Clicked ${n % 7}`,
      properties: properties(n),
    });
  }
  sendOthers(analytics);
  // Its flush sends one batch of 20, and the timer the next ten seconds later.
  const flushing = setInterval(() => analytics.flush(), 20);
  t.after(() => clearInterval(flushing));

  const stored = await collector.eventsOnceThereAre(COUNT + 5);
  assert.deepEqual(failures, []);
  assertStored(stored, COUNT, "analytics-node");
  assertOthers(stored);
  assert.deepEqual(new Set(stored.map((event) => event.messageId).filter((id) => /^m-/.test(id))), new Set(ids));
  assert.equal(stored.length, COUNT + 5);
});
