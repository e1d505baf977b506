/*
 * A page that is left the moment after its last call: everything is delivered on leaving or at the next visit, stored once, and of
 * what went over the wire at most one event in twenty was there already.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { duplicates, gapless } from "./collector.mjs";
import { browser, collector, expected, names, open } from "./page.mjs";

const called = (name) => until(() => names().includes(name), name);

/** Another page, whose event comes after all that is left of the first one. */
const comeBack = async () => {
  const page = await open();
  await page.evaluate(() => headwater.track("Back"));
  await called("Back");
};
const judge = (count) => {
  const all = names();
  assert.equal(new Set(all).size, all.length, "each once");
  assert.deepEqual(all.filter((name) => /^Event/.test(name)).toSorted(), expected(count).toSorted());
  gapless(collector);
};

const LEAVE = {
  "location.href": (page) => page.evaluate(() => void (location.href = "/?bare")),
  "a link": (page) => page.evaluate(() => document.querySelector("a").click()),
  "closing the tab": (page) => page.close(),
};

for (const [way, leave] of Object.entries(LEAVE))
  for (const count of [3, 50, 1000])
    test(`${count} events, then ${way}`, async () => {
      const page = await open();
      // The core is up, and its queue known.
      await page.evaluate(() => headwater.track("First"));
      await called("First");
      await page.evaluate((count) => {
        document.body.insertAdjacentHTML("beforeend", '<a href="/?bare">away</a>');
        for (let index = 0; index < count; index++) headwater.track(`Event ${index}`, { index });
      }, count);
      await leave(page);
      await comeBack();
      judge(count);
      const part = duplicates(collector);
      assert.ok(part <= 0.05, `${part * 100} % were sent twice`);
    });

test("calls and location.href in one go, as the page loads: no core was there", async () => {
  const page = await browser.context.newPage();
  collector.wasm = false;
  await page.goto(collector.page);
  await page.waitForFunction(() => headwater.track);
  await page.evaluate(() => {
    for (let index = 0; index < 50; index++) headwater.track(`Event ${index}`, { index });
    location.href = "/?bare";
  });
  await until(() => collector.requests.length === 1, "what the page sent by itself");
  collector.wasm = true;
  await comeBack();
  judge(50);
  assert.ok(duplicates(collector) <= 0.05);
  // Where the answer came before the page was gone there is nothing to ask.
  assert.equal(collector.questions[0]?.length ?? 50, 50);
});

test("a request under way as the page is left is not repeated either", async () => {
  const page = await open();
  await page.evaluate(() => headwater.track("Event 0", {}));
  await until(() => collector.requests.length === 1);
  await page.evaluate(() => {
    headwater.track("Event 1", {});
    location.href = "/?bare";
  });
  await comeBack();
  judge(2);
  assert.equal(duplicates(collector), 0);
});

test("what never arrived is sent after the grace, in order, before what came later", async () => {
  const page = await open();
  await page.evaluate(() => headwater.track("First"));
  await called("First");
  // Until the next page asks; a browser repeats a request whose connection broke by itself.
  collector.respond = () => ({ down: collector.questions.length === 0 });
  await page.evaluate(() => {
    for (let index = 0; index < 5; index++) headwater.track(`Event ${index}`, { index });
    location.href = "/?bare";
  });
  await until(() => collector.requests.length >= 2, "what was sent on leaving");
  await comeBack();
  judge(5);
  assert.equal(collector.questions.length, 2, "asked at once, and after the grace");
  assert.deepEqual(
    [...collector.stored.values()].map(({ event }) => event),
    ["First", "Event 0", "Event 1", "Event 2", "Event 3", "Event 4", "Back"],
  );
});

test("a collector that does not know the question is sent everything, and stores it once", async () => {
  collector.answersQuestions = false;
  const page = await open();
  await page.evaluate(() => headwater.track("First"));
  await called("First");
  await page.evaluate(() => {
    for (let index = 0; index < 5; index++) headwater.track(`Event ${index}`, { index });
    location.href = "/?bare";
  });
  await comeBack();
  judge(5);
});
