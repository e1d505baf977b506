/*
 * What the SDK costs a page, in a real browser: microseconds for each `track()` in a loop of 1,000 on a fresh page, milliseconds from call to
 * commit, main thread, and the bytes (gzip -9) of everything transferred until the first acknowledgement. Prints a table, and the
 * same as one line of JSON. `node bench/track.mjs [PAGES]`
 */
import { gzipSync } from "node:zlib";
import { startBrowser, until } from "../tests/browser.mjs";
import { startCollector } from "../tests/collector.mjs";

const PAGES = Number(process.argv[2] ?? 7);
const quantile = (numbers, part) =>
  numbers.toSorted((a, b) => a - b)[Math.min(numbers.length - 1, Math.floor(part * numbers.length))];

/** A fresh browser and a page in which the SDK is up and idle. */
const fresh = async () => {
  const [collector, browser] = await Promise.all([startCollector(), startBrowser()]);
  const page = await browser.context.newPage();
  await page.addInitScript(() => {
    tasks = [];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({
      type: "longtask",
      buffered: true,
    });
  });
  // Called before the script is there, as the snippet lets a page do.
  const first = `headwater.push(["ready", () => headwater.track("First", {}, { until: "acknowledged" }).then(() => { first = performance.now() })])`;
  await page.goto(`${collector.page}/?early=${encodeURIComponent(first)}`);
  await page.waitForFunction(() => globalThis.first);
  const ready = await page.evaluate(
    () => first - performance.getEntriesByType("resource").find(({ name }) => name.endsWith("/headwater.js")).responseEnd,
  );
  await until(() => collector.stored.size === 1, "the first acknowledgement");
  const bytes = Object.fromEntries(
    [...collector.served].map(([file, body]) => [file, gzipSync(body, { level: 9 }).length]),
  );
  const close = async () => {
    await browser.close();
    collector.close();
  };
  return { collector, page, bytes, ready, close };
};

const mainThread = async (page) => {
  const session = (page.session ??= await page.context().newCDPSession(page));
  await session.send("Performance.enable");
  const { metrics } = await session.send("Performance.getMetrics");
  const value = (wanted) => metrics.find(({ name }) => name === wanted).value;
  return { ms: value("TaskDuration") * 1000, layouts: value("LayoutCount") };
};

const perCall = [];
const burst = [];
const thread = [];
const ready = [];
const longest = [];
let layouts = 0;
let bytes = {};
for (let count = 0; count < PAGES; count++) {
  const { collector, page, close, ...seen } = await fresh();
  bytes = seen.bytes;
  ready.push(seen.ready);
  const before = await mainThread(page);
  const { us, waits } = await page.evaluate(async () => {
    const properties = { sku: "kettle-01", price: 49.5, currency: "EUR", list: "kitchen", position: 3 };
    const calls = new Array(1000);
    const start = performance.now();
    for (let index = 0; index < 1000; index++) calls[index] = headwater.track("Product Viewed", properties);
    const us = performance.now() - start;
    const waits = await Promise.all(calls.map((call) => call.then(() => performance.now() - start)));
    return { us, waits };
  });
  await until(() => collector.stored.size === 1001, "all events");
  perCall.push(us);
  burst.push(Math.max(...waits));
  const after = await mainThread(page);
  thread.push(after.ms - before.ms);
  layouts += after.layouts - before.layouts;
  longest.push(...(await page.evaluate(() => tasks)), 0);
  await close();
}

// Call to commit as a person causes it: one click at a time.
const { page, close } = await fresh();
const waits = await page.evaluate(async () => {
  const waits = [];
  for (let index = 0; index < 300; index++) {
    const start = performance.now();
    await headwater.track("Clicked", { index });
    waits.push(performance.now() - start);
    await new Promise((done) => setTimeout(done, 5));
  }
  return waits;
});
await close();

const round = (number) => Math.round(number * 10) / 10;
const figures = {
  gzip_bytes_until_first_acknowledgement: Object.values(bytes).reduce((sum, size) => sum + size, 0),
  gzip_bytes_of_each: bytes,
  us_per_track_median: round(quantile(perCall, 0.5)),
  us_per_track_range: [round(Math.min(...perCall)), round(Math.max(...perCall))],
  script_to_first_acknowledgement_ms_median: round(quantile(ready, 0.5)),
  longest_task_ms: round(Math.max(...longest)),
  layouts: layouts,
  burst_of_1000_committed_ms_median: round(quantile(burst, 0.5)),
  main_thread_ms_per_1000_median: round(quantile(thread, 0.5)),
  call_to_commit_ms_p50: round(quantile(waits, 0.5)),
  call_to_commit_ms_p99: round(quantile(waits, 0.99)),
  pages: PAGES,
};
for (const [name, value] of Object.entries(figures)) console.log(name.padEnd(42), typeof value === "object" ? JSON.stringify(value) : value);
console.log(JSON.stringify(figures));
