/*
 * A page that is left the moment after its last call, and one that comes back: everything is delivered on leaving or at the next visit,
 * stored once, and of what went over the wire at most one event in twenty was there already. Knows no engine.
 */
import assert from "node:assert/strict";
import { until } from "../browser.mjs";
import { down, duplicates, gapless } from "../collector.mjs";
import { expected } from "./shop.mjs";

/** Another page, whose event comes after all that is left of the first one. */
const comeBack = async (shop) => {
  const page = await shop.open();
  await page.run(() => void headwater.track("Back"));
  await shop.called("Back");
};

const judgeStored = ({ names, collector }, count) => {
  const all = names();
  assert.equal(new Set(all).size, all.length, "each once");
  assert.deepEqual(all.filter((name) => /^Event/.test(name)).toSorted(), expected(count).toSorted());
  gapless(collector);
};
const judge = (shop, count) => {
  judgeStored(shop, count);
  // What goes out as the page is left can be noted nowhere: it goes again, and is recognised.
  if (!shop.engine.keepsOnLeaving) return;
  const part = duplicates(shop.collector);
  assert.ok(part <= 0.05, `${part * 100} % were sent twice`);
};

const calls = (count) => {
  for (let index = 0; index < count; index++) headwater.track(`Event ${index}`, { index });
};

/** The calls, and away in the same breath; closing is for the driver to do. */
const WAYS = {
  "location.href": (page, count) =>
    page.leave((count) => {
      for (let index = 0; index < count; index++) headwater.track(`Event ${index}`, { index });
      location.href = "/?bare";
    }, count),
  "a link": (page, count) =>
    page.leave((count) => {
      document.body.insertAdjacentHTML("beforeend", '<a href="/?bare">away</a>');
      for (let index = 0; index < count; index++) headwater.track(`Event ${index}`, { index });
      document.querySelector("a").click();
    }, count),
  "closing the tab": async (page, count) => {
    await page.run(calls, count);
    await page.close();
  },
};

const left = {};
for (const [way, leave] of Object.entries(WAYS))
  for (const count of [3, 50, 1000])
    left[`${count} events, then ${way}`] = async (shop) => {
      const page = await shop.open();
      // The core is up, and its queue known.
      await page.run(() => headwater.track("First"));
      await shop.called("First");
      await leave(page, count);
      await comeBack(shop);
      judge(shop, count);
    };

export const leaving = {
  ...left,

  "calls and location.href as the page loads, before there is a core": async (shop) => {
    const { collector } = shop;
    collector.wasm = false;
    const page = await shop.open();
    await WAYS["location.href"](page, 50);
    await until(() => collector.requests.length === 1, "what the page sent by itself", 60_000);
    collector.wasm = true;
    await comeBack(shop);
    judge(shop, 50);
  },

  "a request under way as the page is left is not repeated": async (shop) => {
    const page = await shop.open();
    await page.run(() => void headwater.track("Event 0"));
    await shop.requested();
    await page.leave(() => {
      headwater.track("Event 1");
      location.href = "/?bare";
    });
    await comeBack(shop);
    judge(shop, 2);
  },

  "unreachable, calls as the page is left: all of it at the next visit": async (shop) => {
    const { collector, engine } = shop;
    const page = await shop.open(() =>
      addEventListener("pagehide", () => {
        for (let index = 10; index < 20; index++) headwater.track(`Event ${index}`, { index });
      }),
    );
    await page.run(() => headwater.track("First"));
    await shop.called("First");
    collector.respond = down;
    await WAYS["location.href"](page, 10);
    await shop.requested(2);
    await page.close();
    collector.respond = undefined;
    await comeBack(shop);
    // Where nothing can be written any more, only what was called before is.
    if (engine.keepsOnLeaving) judgeStored(shop, 20);
    else assert.deepEqual(expected(10).filter((name) => !shop.names().includes(name)), []);
  },

  "back and forward: the page goes on, out of the back/forward cache or anew": async (shop, t) => {
    const page = await shop.open();
    await shop.track(page, 2);
    await shop.stored(2);
    await page.run(() => void (self.mark = true));
    await page.go(shop.address(undefined, "bare"));
    await page.back();
    const there = () => page.run(() => document.readyState == "complete" && !!self.headwater?.track).catch(() => false);
    await until(there, "the page before", 60_000);
    t.diagnostic(`the same page: ${await page.run(() => !!self.mark)}`);
    await shop.track(page, 3, 2);
    await shop.stored(5);
    shop.complete(5);
  },

  "without Web Locks the page comes out of the back/forward cache, and goes on": async (shop) => {
    const page = await shop.open(() => Object.defineProperty(Navigator.prototype, "locks", { value: undefined }));
    await shop.track(page, 2);
    await shop.stored(2);
    const there = () => page.run(() => document.readyState == "complete" && !!self.headwater?.track).catch(() => false);
    const goAndComeBack = async () => {
      await page.run(() => void (self.mark = true));
      await page.go(shop.address(undefined, "bare"));
      await page.back();
      await until(there, "the page before", 60_000);
      return page.run(() => !!self.mark);
    };
    // Firefox keeps no page with a request or a transaction under way, so not each time.
    await until(goAndComeBack, "the same page", 60_000);
    await shop.track(page, 3, 2);
    await shop.stored(5);
    shop.complete(5);
  },
};
