/*
 * Pages with a strict Content Security Policy: which core they load, and that nothing is asked of them but what the documentation
 * says.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { strict } from "./collector.mjs";
import { browser, collector } from "./page.mjs";

/** Opens a page under a policy, tracks an event; gives back which directives were violated. */
const visit = async (policy) => {
  if (policy) collector.headers = { "content-security-policy": policy };
  const page = await browser.context.newPage();
  await page.addInitScript(() => {
    violated = [];
    document.addEventListener("securitypolicyviolation", (event) =>
      violated.push(event.effectiveDirective + " " + event.blockedURI),
    );
  });
  await page.goto(collector.page);
  await page.waitForFunction(() => headwater.track);
  await page.evaluate(() => headwater.track("A"));
  await until(() => collector.stored.size === 1, "the event");
  return page.evaluate(() => violated);
};
const served = () => [...collector.served.keys()].toSorted();

test("an ordinary page loads the wasm alone", async () => {
  assert.deepEqual(await visit(), []);
  assert.deepEqual(served(), ["headwater.js", "headwater.wasm"]);
});

test("a page that refuses WebAssembly loads the JavaScript alone", async () => {
  assert.deepEqual(await visit(strict(collector.endpoint)), ["script-src wasm-eval"]);
  assert.deepEqual(served(), ["headwater.core.js", "headwater.js"]);
});

test("with the one word that the documentation names, a strict page loads the wasm", async () => {
  const policy = strict(collector.endpoint).replace("'self' 'nonce-n'", "'self' 'nonce-n' 'wasm-unsafe-eval'");
  assert.deepEqual(await visit(policy), []);
  assert.deepEqual(served(), ["headwater.js", "headwater.wasm"]);
});

test("Trusted Types enforced, with and without WebAssembly: nothing is violated by the script", async () => {
  const types = "require-trusted-types-for 'script'; trusted-types 'none'";
  assert.deepEqual(await visit(strict(collector.endpoint, types)), ["script-src wasm-eval"]);
  collector.stored.clear();
  const policy = strict(collector.endpoint, types).replace("'self' 'nonce-n'", "'self' 'nonce-n' 'wasm-unsafe-eval'");
  assert.deepEqual(await visit(policy), []);
});

test("a page that may not speak to the collector keeps its events and says so", async () => {
  collector.headers = { "content-security-policy": strict("") };
  const page = await browser.context.newPage();
  await page.goto(collector.page);
  await page.waitForFunction(() => headwater.track);
  const refused = page.evaluate(
    () => new Promise((done) => document.addEventListener("securitypolicyviolation", (event) =>
      event.effectiveDirective === "connect-src" && done(event.blockedURI))),
  );
  const { durable } = await page.evaluate(() => headwater.track("A"));
  assert.ok(durable);
  assert.ok((await refused).startsWith(collector.endpoint));
  collector.headers = {};
  await page.reload();
  await until(() => collector.stored.size === 1, "the event, at the next visit without that policy");
});
