/*
 * What a page has besides delivery: a policy that it comes with, who the person is, consent, sessions, and what is captured by itself.
 * Promises to wait for conditions, never for luck; knows no engine, but asks the page what it may.
 */
import assert from "node:assert/strict";
import { until } from "../browser.mjs";
import { strict } from "../collector.mjs";
import { mayHaveWasm } from "./facts.mjs";

const TRUSTED_TYPES = "require-trusted-types-for 'script'; trusted-types 'none'";

/** Opens a page under a policy, tracks an event; gives back whether it may have WebAssembly, and what was violated. */
const underPolicy = async (shop, policy) => {
  const { collector } = shop;
  collector.headers = { "content-security-policy": policy };
  const page = await shop.visit(
    shop.address(() => {
      self.violated = [];
      document.addEventListener("securitypolicyviolation", ({ effectiveDirective, blockedURI }) =>
        violated.push(`${effectiveDirective} ${blockedURI}`),
      );
    }),
  );
  await shop.ready(page);
  await shop.track(page, 3);
  await shop.stored(3);
  shop.complete(3);
  // The browser's own question for an icon is none of ours.
  const violated = (await page.run(() => violated)).filter((what) => !/^img-src/.test(what));
  const core = [...collector.served.keys()].filter((file) => file !== "headwater.js");
  const wasm = await page.run(mayHaveWasm);
  return { violated, core, wasm };
};

const events = async ({ collector, stored }, count) => {
  await stored(count);
  return [...collector.stored.values()];
};

export const visit = {
  "script-src 'self', and Trusted Types: the page loads the core that its engine allows, and that alone": async (shop) => {
    const { violated, core, wasm } = await underPolicy(shop, strict(shop.collector.endpoint, TRUSTED_TYPES));
    assert.deepEqual(core, [wasm ? "headwater.wasm" : "headwater.core.js"]);
    assert.ok(violated.every((what) => what === "script-src wasm-eval"), violated.join());
  },

  "with 'wasm-unsafe-eval' and Trusted Types: the wasm, and nothing is violated": async (shop) => {
    const policy = strict(shop.collector.endpoint, TRUSTED_TYPES).replace("'nonce-n'", "'nonce-n' 'wasm-unsafe-eval'");
    const { violated, core } = await underPolicy(shop, policy);
    assert.deepEqual(violated, []);
    assert.deepEqual(core, ["headwater.wasm"]);
  },

  "the identity and the session are the same in every tab and after a reload": async (shop) => {
    const one = await shop.open();
    await one.run(() => void headwater.identify("u-1"));
    await shop.stored(1);
    const two = await shop.open();
    await two.run(() => void headwater.track("B"));
    await shop.called("B");
    await shop.reload(one);
    await one.run(() => void headwater.track("C"));
    const [a, b, c] = await events(shop, 3);
    assert.ok(a.context.sessionId && a.context.sessionStart);
    for (const event of [b, c]) {
      assert.equal(event.userId, "u-1");
      assert.equal(event.anonymousId, a.anonymousId);
      assert.equal(event.context.sessionId, a.context.sessionId);
      assert.equal(event.context.sessionStart, undefined);
    }
  },

  "another campaign begins a session; `reset` begins a person": async (shop) => {
    const page = await shop.open();
    await page.run(() => headwater.track("A"));
    await page.go(shop.address(undefined, "utm_source=mail&utm_campaign=spring"));
    await shop.ready(page);
    await page.run(async () => {
      headwater.track("B");
      headwater.reset();
      await headwater.track("C");
    });
    const [a, b, c] = await events(shop, 3);
    assert.notEqual(b.context.sessionId, a.context.sessionId);
    assert.equal(b.anonymousId, a.anonymousId);
    assert.notEqual(c.context.sessionId, b.context.sessionId);
    assert.notEqual(c.anonymousId, b.anonymousId);
    assert.deepEqual(b.context.campaign, { source: "mail", name: "spring" });
  },

  "consent: pending keeps, over a reload; granted sends; denied deletes": async (shop) => {
    const page = await shop.open();
    await page.run(async () => {
      headwater.consent("pending");
      await headwater.track("A");
      await headwater.flush();
    });
    await shop.reload(page);
    await page.run(() => headwater.flush());
    assert.equal(shop.collector.requests.length, 0, "nothing before the answer");
    await page.run(async () => {
      headwater.consent("granted");
      await headwater.track("B");
    });
    const [a, b] = await events(shop, 2);
    assert.deepEqual([a.event, b.event], ["A", "B"]);
    const refused = await page.run(async () => {
      headwater.consent("pending");
      await headwater.track("Never");
      headwater.consent("denied");
      return headwater.track("Nor this");
    });
    assert.equal(refused.durable, false);
    await shop.reload(page);
    await page.run(async () => {
      headwater.consent("granted");
      await headwater.track("C");
    });
    const [, , c] = await events(shop, 3);
    assert.equal(c.event, "C");
    assert.notEqual(c.anonymousId, a.anonymousId);
    assert.notEqual(c.context.headwater.queue, a.context.headwater.queue);
  },

  "autocapture: page views, by the browser and by the page, and a click": async (shop) => {
    const page = await shop.open();
    await page.run(() => headwater.autocapture("pages clicks"));
    await until(() => page.run(() => performance.getEntriesByType("resource").some(({ name }) => /autocapture/.test(name))));
    await page.run(() => {
      document.body.insertAdjacentHTML("beforeend", "<button id=buy>Buy</button>");
      document.querySelector("button").click();
      history.pushState(null, "", "/next");
    });
    const [view, click, next] = await events(shop, 3);
    assert.deepEqual([view.type, view.properties.path, view.properties.title], ["page", "/", "Shop"]);
    assert.equal(click.event, "Button Clicked");
    assert.deepEqual([click.properties.text, click.properties.id], ["Buy", "buy"]);
    assert.deepEqual([next.type, next.properties.path], ["page", "/next"]);
  },
};
