/*
 * Several clients in one page, with the script and with the module: each write key is a device of its own. Real browser.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { down, gapless } from "./collector.mjs";
import { browser, collector } from "./page.mjs";

const WAYS = {
  script: () => {
    collector.files["/two.html"] = `<!doctype html><title>Shop</title><script src="/headwater.js"></script>
      <script>self.a = headwater; self.b = headwater.another();</script>`;
  },
  module: () => {
    collector.files["/two.html"] = `<!doctype html><title>Shop</title><script type="module">
      import { headwater, another } from "/headwater.mjs";
      self.a = headwater; self.b = another();</script>`;
  },
};
const load = () =>
  `for (const [client, writeKey] of [[a, "wk_a"], [b, "wk_b"]])
     client.load({ writeKey, endpoint: "${collector.endpoint}", context: { for: writeKey } });`;

/** What was stored for this key, in its order. */
const of = (key) =>
  collector.requests
    .filter(({ body, answer }) => JSON.parse(body).writeKey === key && !answer.down)
    .flatMap(({ batch }) => batch);
const arrived = (key, name) => until(() => of(key).find(({ event }) => event === name), `${name} for ${key}`);

for (const [way, write] of Object.entries(WAYS)) {
  const visit = async () => {
    write();
    const page = await browser.context.newPage();
    await page.goto(`${collector.page}/two.html`);
    await page.waitForFunction(() => self.b);
    return page;
  };

  test(`two write keys with the ${way}: neither events nor ids nor contexts mix`, async () => {
    const page = await visit();
    // Called before either is loaded: each keeps its own.
    await page.evaluate(() => void (a.track("A0"), b.track("B0"), b.identify("u-b")));
    await page.evaluate(load());
    await page.evaluate(async () => {
      for (const at of [1, 2, 3]) await Promise.all([a.track(`A${at}`), b.track(`B${at}`)]);
      await Promise.all([a.flush(), b.flush()]);
    });
    await Promise.all([arrived("wk_a", "A3"), arrived("wk_b", "B3")]);
    const [forA, forB] = [of("wk_a"), of("wk_b")];
    assert.deepEqual(forA.map(({ event }) => event), ["A0", "A1", "A2", "A3"]);
    assert.deepEqual(forB.map(({ event, type }) => event ?? type), ["B0", "identify", "B1", "B2", "B3"]);
    assert.deepEqual([...new Set(forA.map(({ userId, context }) => `${userId} ${context.for}`))], ["undefined wk_a"]);
    assert.deepEqual(new Set(forB.slice(1).map(({ userId, context }) => `${userId} ${context.for}`)), new Set(["u-b wk_b"]));
    assert.notEqual(forA[0].anonymousId, forB[0].anonymousId);
    assert.deepEqual(gapless(collector), { queues: 2, numbers: 9 });
  });

  test(`two write keys with the ${way}: a no to one is none to the other, and both queues outlive the page`, async () => {
    const page = await visit();
    await page.evaluate(load());
    collector.respond = down;
    await page.evaluate(() => Promise.all([a.track("A1"), b.track("B1")]));
    await page.evaluate(() => a.consent("denied"));
    await until(async () => !(await page.evaluate(() => a.track("Never"))).durable, "the refusal");
    assert.ok((await page.evaluate(() => b.track("B2"))).durable);
    await page.reload();
    await page.waitForFunction(() => self.b);
    collector.respond = undefined;
    await page.evaluate(load());
    await arrived("wk_b", "B2");
    await page.evaluate(() => a.consent("granted"));
    await until(async () => {
      await page.evaluate(() => a.track("A2"));
      return of("wk_a").some(({ event }) => event === "A2");
    }, "the other one's event");
    assert.deepEqual(of("wk_b").map(({ event }) => event), ["B1", "B2"]);
    assert.deepEqual([...new Set(of("wk_a").map(({ event }) => event))], ["A2"]);
  });
}
