/*
 * Engaged time, by a clock that the test sets: what was really looked at must be the sum of the events, however the visit went and
 * however it ended.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { crash, show, until } from "./browser.mjs";
import { startSite } from "./autocapture-site.mjs";

let site;
beforeEach(async () => {
  site = await startSite();
});
afterEach(() => site.close());

const PRODUCT = `<article data-hw-view="product:123" data-hw-sku="K-1" style="height:300px">Kettle</article>
  <div style="height:3000px"></div><aside data-hw-view="reviews" style="height:200px">Reviews</aside>`;

/** A page whose clock stands still until it is told, with autocapture on. */
const open = async (body = PRODUCT, options = "engagement scroll") => {
  site.pages["/"] = body;
  site.head = site.tag();
  const page = await site.browser.context.newPage();
  await page.clock.install({ time: 1_800_000_000_000 });
  await page.clock.pauseAt(1_800_000_001_000);
  await page.goto(site.url);
  await site.ready(page, options);
  await seen(page);
  return page;
};
/** Whatever is to be seen has been: two frames of the browser's own. */
const seen = (page) =>
  page.evaluate(() => {
    const observed = () =>
      new Promise((done) => {
        const observer = new IntersectionObserver(() => done(observer.disconnect()));
        observer.observe(document.documentElement);
      });
    return observed().then(observed);
  });
/** Somebody is there for so long: a sign of life every 20 s. */
const look = async (page, seconds) => {
  for (let left = seconds; left > 0; left -= 20) {
    await page.mouse.move(10 + (left % 100), 10);
    await page.clock.runFor(Math.min(20, left) * 1000);
  }
};
const sum = (name, view) =>
  site
    .events(name)
    .filter(({ properties }) => properties.view === view)
    .reduce((whole, { properties }) => whole + properties.engaged_ms, 0);
/** Everything said is at the collector. The clock is the whole browser's: on a second page, too, nothing goes out by itself. */
const sent = async (page) => {
  const marks = site.events("Mark").length;
  // Its promise is not waited for: a commit soon after another one is put off by a timer, and the clock stands still.
  await page.evaluate(() => void headwater.track("Mark"));
  await until(async () => {
    await page.evaluate(() => void headwater.flush());
    await page.clock.runFor(100);
    return site.events("Mark").length > marks;
  }, "the mark");
};

test("twelve minutes on a product, hidden and shown, then the tab is killed: they add up", async () => {
  const page = await open();
  await look(page, 260);
  await show(page, false);
  await page.clock.runFor(600_000);
  await show(page, true);
  await look(page, 200);
  await show(page, false);
  await page.clock.fastForward(3_600_000);
  await show(page, true);
  await look(page, 260);
  // 720 s by now; another 25 s are lost with the tab, since what is untold is less than an interval.
  await look(page, 25);
  await crash(page);
  const next = await site.browser.context.newPage();
  await next.goto(site.url);
  await site.ready(next);
  // The crashed page is the browser's still, and its clock cannot be moved.
  await next.evaluate(() => void headwater.track("Mark"));
  await until(async () => {
    await next.evaluate(() => void headwater.flush());
    return site.events("Mark").length > 0;
  }, "the mark");
  const [product, whole] = [sum("View Engaged", "product:123"), sum("Page Engaged")];
  assert.equal(whole, product);
  assert.ok(product >= 715_000 && product <= 745_000, `${product} ms`);
  const parts = site.events("View Engaged");
  assert.deepEqual(parts[0].properties, { sku: "K-1", view: "product:123", engaged_ms: 10_000, total_ms: 10_000 });
  assert.equal(parts.at(-1).properties.total_ms, product, "the last total is the sum");
  assert.ok(parts.every(({ properties }) => properties.engaged_ms <= 30_000), "no part is longer than an interval");
  assert.ok(parts.length <= 6 + 720 / 30 + 3, `${parts.length} events`);
  assert.equal(sum("View Engaged", "reviews"), 0);
});

test("a page that is left tells all of it, to the millisecond", async () => {
  const page = await open();
  // Less than a second is left to tell.
  await look(page, 30);
  await page.clock.runFor(456);
  await page.goto("about:blank");
  const next = await site.browser.context.newPage();
  await next.goto(site.url);
  await site.ready(next);
  await sent(next);
  assert.deepEqual([sum("Page Engaged"), sum("View Engaged", "product:123")], [30_456, 30_456]);
});

test("who gives no sign of life for a minute has gone, and comes back with the next", async () => {
  const page = await open();
  await look(page, 20);
  await page.clock.runFor(900_000);
  await sent(page);
  // 20 s, of which the sign of life was at the beginning: a minute from there.
  assert.equal(sum("Page Engaged"), 60_000);
  await page.keyboard.press("Shift");
  await page.clock.runFor(10_000);
  await page.clock.runFor(900_000);
  await sent(page);
  assert.equal(sum("Page Engaged"), 120_000);
  // A laptop that slept wakes late: what lay between does not count.
  await page.mouse.move(50, 50);
  await page.evaluate(() => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + 7_200_000;
  });
  await page.mouse.move(60, 60);
  await page.clock.runFor(10_000);
  await show(page, false);
  await sent(page);
  assert.equal(sum("Page Engaged"), 190_000);
  // What a script does is no sign of life.
  await show(page, true);
  await page.clock.runFor(59_000);
  await page.evaluate(() => dispatchEvent(new MouseEvent("pointermove")));
  await page.clock.runFor(90_000);
  await sent(page);
  assert.equal(sum("Page Engaged"), 250_000);
});

test("nothing runs while nobody looks", async () => {
  const page = await open(PRODUCT, "engagement");
  await show(page, false);
  await page.evaluate(() => {
    window.timers = 0;
    const { setTimeout } = window;
    window.setTimeout = (...given) => {
      // The SDK may have something to send.
      if (new Error().stack.includes("headwater-autocapture")) timers++;
      return setTimeout(...given);
    };
    window.events = [];
    const { track } = headwater;
    headwater.track = (...given) => {
      events.push(given[0]);
      return track(...given);
    };
  });
  await page.clock.runFor(600_000);
  assert.deepEqual(await page.evaluate(() => [timers, events]), [0, []]);
  // Nor while the page is in view and nobody there.
  await show(page, true);
  await page.clock.runFor(61_000);
  await page.evaluate(() => {
    timers = 0;
    events = [];
  });
  await page.clock.runFor(600_000);
  assert.deepEqual(await page.evaluate(() => [timers, events]), [0, []]);
});

test("an element counts while half of it, or half a window of it, is in view; a name once", async () => {
  const page = await open(
    `<p data-hw-view="twice" style="height:100px">a</p><p data-hw-view="twice" style="height:100px">b</p>
     <div style="height:2000px"></div><p data-hw-view="tall" style="height:6000px">tall</p>
     <div data-hw-ignore><p data-hw-view="ignored">x</p></div>`,
  );
  await look(page, 5);
  await page.evaluate(() => scrollTo(0, 4000));
  await seen(page);
  await look(page, 7);
  await page.evaluate(() => scrollTo(0, 999_999));
  await seen(page);
  await page.clock.runFor(1000);
  await show(page, false);
  await sent(page);
  assert.deepEqual([sum("View Engaged", "twice"), sum("View Engaged", "tall"), sum("View Engaged", "ignored")], [5000, 8000, 0]);
});

test("an application: elements that come, go and change their name, and pages that follow each other", async () => {
  const page = await open(`<div id="app"><section data-hw-view="product:1" style="height:200px">1</section></div>`, "engagement pages");
  await look(page, 4);
  await page.evaluate(() => history.pushState(null, "", "/product/2"));
  await page.evaluate(() => document.querySelector("section").setAttribute("data-hw-view", "product:2"));
  await page.clock.runFor(250);
  await seen(page);
  await look(page, 3);
  await page.evaluate(() => {
    document.querySelector("#app").innerHTML = `<section data-hw-view="product:3" style="height:200px">3</section>`;
  });
  await page.clock.runFor(250);
  await seen(page);
  await look(page, 2);
  await page.evaluate(() => document.querySelector("section").remove());
  await seen(page);
  await look(page, 10);
  await show(page, false);
  await sent(page);
  const [one, two, three] = ["product:1", "product:2", "product:3"].map((view) => sum("View Engaged", view));
  // What is new is found within 200 ms.
  assert.ok(one >= 4000 && one <= 4300 && two >= 2950 && two <= 3300 && three >= 2000 && three <= 2300, `${one} ${two} ${three}`);
  const pages = site.events("Page Engaged");
  assert.deepEqual(pages[0].properties, { engaged_ms: 4000, total_ms: 4000 });
  assert.equal(pages[0].context.page.path, "/", "the event is the left page's");
  assert.equal(pages[1].context.page.path, "/product/2");
  assert.equal(sum("Page Engaged"), 4000 + 15_500);
});

test("the deepest scroll goes with the time", async () => {
  const page = await open();
  await look(page, 10);
  await page.evaluate(() => scrollTo(0, innerHeight));
  await seen(page);
  await page.clock.runFor(500);
  await look(page, 10);
  await sent(page);
  const depths = site.events("Page Engaged").map(({ properties }) => properties.scroll_depth);
  assert.equal(depths[0], undefined);
  assert.ok(depths[1] > 30 && depths[1] < 60, `${depths[1]}`);
});
