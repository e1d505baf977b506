/*
 * What the scenarios share: a stand-in collector, a browser of the engine at hand, pages that have the SDK, and calls that are numbered so
 * that a missing one is seen. Promises that whatever is waited for is bounded. Knows nothing of what a scenario is about.
 */
import assert from "node:assert/strict";
import { until } from "../browser.mjs";
import { gapless, startCollector } from "../collector.mjs";

/** What a scenario waits for, on a machine that is busy with three browsers' worth of processes. */
const PATIENCE_MS = 60_000;

/** A function and what it is given, as text to be evaluated in a page; the text of its answer. */
const code = (act, given) => `(async () => JSON.stringify([await (${act})(...${JSON.stringify(given)})]))()`;

/** A page in which functions run; they are sent as text and know only what they are given. */
const pageOf = (driven) => ({
  ...driven,
  run: async (act, ...given) => JSON.parse(await driven.run(code(act, given)))[0],
  /** The same for what takes the page away: nobody may be there to answer. */
  leave: (act, ...given) => driven.run(code(act, given)).catch(() => {}),
});

/** In a browser of the engine; `past` has the addresses that shops of this browser had. */
export const openShop = async (engine, browser, past = new Set()) => {
  let collector = await startCollector();
  // Storage is kept by address: where a shop has been, there may be something left of it.
  while (past.has(collector.page)) {
    collector.close();
    collector = await startCollector();
  }
  past.add(collector.page);
  const tabs = new Set();
  const shop = {
    collector,
    engine,
    browser,

    /** The address of a page; `early` runs in it before the SDK does. */
    address(early, also = "") {
      return `${collector.page}/?${also}${early ? `&early=${encodeURIComponent(`(${early})()`)}` : ""}`;
    },
    /** A page as it comes. */
    async visit(url) {
      const driven = await shop.browser.open(url);
      tabs.add(driven);
      const close = () => (tabs.delete(driven), driven.close());
      return pageOf({ ...driven, close });
    },
    /** A page whose SDK is there. */
    async open(early) {
      const page = await shop.visit(shop.address(early));
      await shop.ready(page);
      return page;
    },
    async ready(page) {
      await until(() => page.run(() => !!self.headwater?.track), "the SDK", PATIENCE_MS);
      // What it reports is asked for later: a page cannot be waited for and told something at once.
      await page.run(() => {
        self.told = {};
        for (const name of ["dropped", "stopped", "core_failed", "not_durable"])
          headwater.on(name, (report) => (told[name] ??= []).push(report));
      });
    },
    async reload(page) {
      await page.reload();
      await shop.ready(page);
    },
    /** Calls `track` `count` times; the names are numbered from `from`. Resolves when all are committed. */
    track: (page, count, from = 0) =>
      page.run(
        (count, from) =>
          Promise.all(
            Array.from({ length: count }, (_, index) => headwater.track(`Event ${from + index}`, { index: from + index })),
          ),
        count,
        from,
      ),
    /** The page's reports of this name, once there are any. */
    reports: (page, name) => until(() => page.run((name) => told[name], name), name, PATIENCE_MS),

    /** The names of what is stored, in the order in which it came. */
    names: () => [...collector.stored.values()].map((event) => event.event),
    requested: (count = 1) =>
      until(() => collector.requests.length >= count, `${count} requests`, PATIENCE_MS),
    stored: (count) =>
      until(() => collector.stored.size >= count, { toString: () => `${count} events, not ${collector.stored.size}` }, PATIENCE_MS),
    called: (name) => until(() => shop.names().includes(name), name, PATIENCE_MS),
    /** Fails unless these calls are stored and nothing else, each once, numbered without a gap; `ordered` as they were made. */
    complete(count, ordered = true) {
      const names = shop.names();
      assert.deepEqual(ordered ? names : names.toSorted(), ordered ? expected(count) : expected(count).toSorted());
      const { queues, numbers } = gapless(collector);
      assert.equal(queues, 1);
      // A tab that is closed before its core is up sends what it has by itself, without numbers.
      assert.ok(ordered ? numbers === count : numbers <= count, `${numbers} numbers`);
    },
    /** Leaves the browser as it was found. */
    async closeTabs() {
      for (const tab of tabs) await tab.close();
    },
  };
  return shop;
};

/** The names of `count` calls. */
export const expected = (count) => Array.from({ length: count }, (_, index) => `Event ${index}`);
