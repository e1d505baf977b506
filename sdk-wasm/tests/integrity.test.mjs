/*
 * Subresource Integrity: a script tag that pins the script pins the core as well, whatever server the files are on. Real browser;
 * the tag is one of the page's own, from another origin.
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { browser, collector, stored } from "./page.mjs";

const dist = join(import.meta.dirname, "../dist");
const pins = JSON.parse(readFileSync(join(dist, "integrity.json"), "utf8"));

/** A page with the tag as the documentation has it, and a call queued before it. */
const visit = async (also = "") => {
  collector.files["/pinned.html"] = `<!doctype html><title>Shop</title><script>headwater = [["track", "A"]]; failed = false;</script>
    <script async src="${collector.endpoint}/headwater.js" integrity="${pins["headwater.js"]}" crossorigin="anonymous"
      data-write-key="wk_test" ${also} onerror="failed = true"></script>`;
  const page = await browser.context.newPage();
  page.failures = [];
  page.on("console", (message) => page.failures.push(message.text()));
  await page.goto(`${collector.page}/pinned.html`);
  return page;
};
/** The same module in other bytes: a custom section without a name, which every engine passes over. */
const altered = () => Buffer.concat([readFileSync(join(dist, "headwater.wasm")), Buffer.from([0, 1, 0])]);

test("integrity.json has the hash of every file that a page can load", () => {
  const loaded = readdirSync(dist).filter((name) => /\.(m?js|wasm)$/.test(name));
  assert.deepEqual(Object.keys(pins), loaded.toSorted());
  assert.equal(loaded.length, 8);
  for (const name of loaded) {
    const hash = createHash("sha384").update(readFileSync(join(dist, name))).digest("base64");
    assert.equal(pins[name], `sha384-${hash}`);
  }
});

test("a pinned tag of another origin loads the script and its core", async () => {
  const page = await visit();
  await stored(1);
  assert.deepEqual(await page.evaluate(() => [failed, typeof headwater.track]), [false, "function"]);
});

test("a script that is one byte longer is refused by the browser, and the page's queue is left as it is", async () => {
  collector.files["/headwater.js"] = `${readFileSync(join(dist, "headwater.js"), "utf8")} `;
  const page = await visit();
  await page.waitForFunction(() => failed);
  assert.deepEqual(await page.evaluate(() => headwater), [["track", "A"]]);
});

test("a core of other bytes is never run, wherever it is; the right one is, once it is there", async () => {
  for (const path of ["/headwater.wasm", "/elsewhere/core.wasm"]) {
    collector.files[path] = altered();
    assert.ok(WebAssembly.validate(collector.files[path]));
    const page = await visit(path === "/headwater.wasm" ? "" : `data-wasm="${collector.endpoint}${path}"`);
    const refused = (text) => text.includes("headwater:") && text.includes("core_failed");
    await until(() => page.failures.some(refused), "the report");
    assert.ok(page.failures.some((text) => /integrity/.test(text)), page.failures.join("\n"));
    assert.equal(collector.requests.length, 0);
    collector.files[path] = readFileSync(join(dist, "headwater.wasm"));
    await stored(1);
    collector.stored.clear();
    collector.requests.length = 0;
    await page.close();
  }
});
