/*
 * Autocapture against the real collector: a visit without a line of code in the page, and the log that it leaves.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { startHeadwater } from "./headwater.mjs";
import { startSite } from "./autocapture-site.mjs";

test("a visit without a line of code: its pages, clicks and twelve minutes on a product are in the log, each once", async () => {
  const [site, headwater] = await Promise.all([startSite(), startHeadwater()]);
  try {
    site.collector.endpoint = headwater.url;
    site.pages["/"] = `<a href="/kettle">Kettle</a>`;
    site.pages["/kettle"] = `<main data-hw-view="product:kettle-01" style="height:300px"><button data-hw-event="Product Added" data-hw-sku="kettle-01">Add</button></main>
      <form id="newsletter" action="/thanks"><input type="email" name="email"><button>Join</button></form>`;
    site.head = `<script async src="/headwater.js" data-write-key="wk_test" data-endpoint="${headwater.url}" data-autocapture></script>`;
    const page = await site.browser.context.newPage();
    await page.clock.install({ time: Date.now() });
    await page.goto(site.url);
    // Autocapture said to begin anew is there when that is done.
    await site.ready(page, true);
    await page.click("a");
    await page.waitForURL("**/kettle");
    await site.ready(page, true);
    for (let minute = 0; minute < 12; minute++)
      for (let part = 0; part < 2; part++) {
        await page.mouse.move(100 + minute, 100 + part);
        await page.clock.runFor(30_000);
      }
    await page.click("text=Add");
    await page.fill("input", "somebody@example.com");
    await page.click("text=Join");
    await page.waitForURL("**/thanks*");
    await site.ready(page, true);
    // The last page is left by the browser's end; what it said is sent by then, or at the next visit.
    await page.goto("about:blank");
    const next = await site.browser.context.newPage();
    await next.goto(`${site.url}/next`);
    await site.ready(next);
    await next.evaluate(() => headwater.track("Last").then(() => headwater.flush()));
    const events = await until(async () => {
      const log = await headwater.log();
      return log.some(({ event }) => event === "Last") && log;
    }, "the last event in the log");
    assert.equal(new Set(events.map(({ messageId }) => messageId)).size, events.length);
    const named = (name) => events.filter((event) => (event.event ?? event.type) === name);
    assert.deepEqual(named("page").map(({ properties }) => properties.path), ["/", "/kettle", "/thanks", "/next"]);
    assert.deepEqual(named("Link Clicked").map(({ properties }) => properties.text), ["Kettle"]);
    assert.deepEqual(named("Product Added").map(({ properties }) => properties.sku), ["kettle-01"]);
    assert.deepEqual(named("Form Submitted").map(({ properties }) => properties.form_id), ["newsletter"]);
    const engaged = named("View Engaged")
      .filter(({ properties }) => properties.view === "product:kettle-01")
      .reduce((sum, { properties }) => sum + properties.engaged_ms, 0);
    // The page's clock runs on while the test clicks.
    assert.ok(engaged >= 720_000 && engaged < 760_000, `${engaged} ms`);
    assert.ok(!JSON.stringify(events).includes("somebody@example.com"));
  } finally {
    await site.close();
    await headwater.stop();
  }
});
