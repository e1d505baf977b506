/*
 * What the tests of the SDK in a page share: a collector and a browser for each test, pages that have the SDK, and calls that are
 * numbered so that a missing one is seen. Promises that both end with their test. Knows nothing of what a test is about.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach } from "node:test";
import { startBrowser, until } from "./browser.mjs";
import { gapless, startCollector } from "./collector.mjs";

export let collector;
export let browser;
beforeEach(async () => {
  [collector, browser] = await Promise.all([startCollector(), startBrowser()]);
});
afterEach(async () => {
  await browser.close();
  await collector.close();
});

/** Another browser in the place of one that has ended. */
export const replaceBrowser = async (profile, also) => {
  browser = await startBrowser(profile, also);
};

/** A page whose SDK is there. */
export const open = async (query = "", context = browser.context) => {
  const page = await context.newPage();
  await page.goto(`${collector.page}/${query}`);
  await page.waitForFunction(() => headwater.track);
  return page;
};

/** Calls `track` `count` times; the names are numbered from `from`. Resolves when all are committed. */
export const track = (page, count, from = 0) =>
  page.evaluate(
    ([count, from]) =>
      Promise.all(
        Array.from({ length: count }, (_, index) =>
          headwater.track(`Event ${from + index}`, { index: from + index }),
        ),
      ),
    [count, from],
  );

/** The names of what is stored, in the order in which it came. */
export const names = () => [...collector.stored.values()].map((event) => event.event);
/** The names of `count` calls. */
export const expected = (count) => Array.from({ length: count }, (_, index) => `Event ${index}`);
export const stored = (count, patience) =>
  until(() => collector.stored.size >= count, `${count} events, not ${collector.stored.size}`, patience);
/** Fails unless these calls are stored and nothing else, numbered without a gap. */
export const complete = (count) => {
  assert.deepEqual(names().toSorted(), expected(count).toSorted());
  assert.deepEqual(gapless(collector), { queues: 1, numbers: count });
};
