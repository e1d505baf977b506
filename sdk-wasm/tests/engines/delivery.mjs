/*
 * What must not be lost, whatever the collector does: each scenario's calls must all be stored, each once, in order, with numbers that
 * have no gaps. Promises to wait for conditions, never for luck; knows no engine.
 */
import assert from "node:assert/strict";
import { until } from "../browser.mjs";
import { down, gapless } from "../collector.mjs";
import { expected } from "./shop.mjs";

/** An answer to the first request, another one to those after it. */
const first = (answer, then = {}) => (_, count) => (count ? then : answer);

export const delivery = {
  "unreachable, 200 events, then a reload with the collector back: all arrive, and nobody nudges": async (shop) => {
    shop.collector.respond = down;
    const page = await shop.open();
    await shop.track(page, 200);
    await shop.requested();
    shop.collector.respond = undefined;
    await shop.reload(page);
    await shop.stored(200);
    shop.complete(200);
  },

  "an outage with the tab open ends by itself, nobody nudges": async (shop) => {
    shop.collector.respond = (_, count) => (count < 4 ? { down: true } : {});
    const page = await shop.open();
    await shop.track(page, 200);
    await shop.stored(200);
    shop.complete(200);
  },

  "three tabs write while the collector is unreachable, are closed, and one is opened": async (shop) => {
    shop.collector.respond = down;
    const pages = [await shop.open(), await shop.open(), await shop.open()];
    await Promise.all(pages.map((page, tab) => shop.track(page, 66, tab * 66)));
    await shop.requested();
    for (const page of pages) await page.close();
    shop.collector.respond = undefined;
    await shop.open();
    await shop.stored(198);
    shop.complete(198, false);
  },

  "three tabs at once: one queue, and another tab takes over from the one that leads": async (shop) => {
    const pages = [await shop.open(), await shop.open(), await shop.open()];
    await Promise.all(pages.map((page, tab) => shop.track(page, 66, tab * 66)));
    await shop.stored(198);
    await pages[0].close();
    await shop.track(pages[1], 10, 198);
    await shop.stored(208);
    shop.complete(208, false);
  },

  "429 with Retry-After: nothing is sent before its time, whoever asks": async (shop) => {
    shop.collector.respond = first({ status: 429, headers: { "retry-after": "3" } });
    const page = await shop.open();
    await shop.track(page, 20);
    await shop.requested();
    await shop.track(page, 20, 20);
    await page.run(() => headwater.flush());
    await shop.stored(40);
    shop.complete(40);
    const [refused, next] = shop.collector.requests;
    assert.ok(next.at - refused.at >= 2_990, `${next.at - refused.at} ms`);
  },

  "503s, then a reload: everything arrives, in order": async (shop) => {
    shop.collector.respond = () => ({ status: 503 });
    const page = await shop.open();
    await shop.track(page, 30);
    await shop.requested();
    shop.collector.respond = undefined;
    await shop.reload(page);
    await shop.stored(30);
    shop.complete(30);
  },

  "1,000 events in one loop": async (shop) => {
    const page = await shop.open();
    await shop.track(page, 1000);
    await shop.stored(1000);
    shop.complete(1000);
    assert.ok(shop.collector.requests.length <= 8, `${shop.collector.requests.length} requests`);
  },

  "an answer that never comes: the events go again at the next visit": async (shop) => {
    shop.collector.respond = first({ never: true });
    const page = await shop.open();
    await shop.track(page, 5);
    await shop.requested();
    await shop.reload(page);
    await shop.stored(5);
    shop.complete(5);
  },

  "calls before, during and after loading arrive once, in order, numbered from 1": async (shop) => {
    const { collector } = shop;
    collector.wasm = false;
    const page = await shop.open(() => {
      self.called = Date.now() - 60_000;
      headwater.push(["track", ["Event 0"], called], ["track", "Event 1"]);
    });
    await shop.track(page, 10, 2);
    collector.wasm = true;
    await shop.called("Event 11");
    await shop.track(page, 10, 12);
    await shop.stored(22);
    shop.complete(22);
    const [{ timestamp }] = collector.stored.values();
    assert.equal(timestamp, await page.run(() => new Date(called).toISOString()), "a queued call keeps its time");
    assert.equal(collector.preflights, 0);
    assert.ok(collector.requests.every(({ url }) => url === "/v1/batch?receipt=1"));
  },

  "the core is missing, then truncated, then there: it is said, and nothing is lost": async (shop) => {
    const { collector } = shop;
    collector.wasm = false;
    const page = await shop.open();
    const made = await shop.track(page, 10);
    assert.ok(made.every(({ durable }) => durable));
    await shop.reports(page, "core_failed");
    collector.truncate = collector.wasm = true;
    await until(async () => (await shop.reports(page, "core_failed")).length > 1, "another failure", 60_000);
    collector.truncate = false;
    await shop.stored(10);
    shop.complete(10);
  },

  "a poison event is refused alone, and reported": async (shop) => {
    shop.collector.respond = () => ({ refuse: (event) => event.event === "Event 7" && "no" });
    const page = await shop.open();
    const made = await shop.track(page, 20);
    await shop.stored(19);
    assert.deepEqual(await shop.reports(page, "dropped"), [{ messageId: made[7].messageId, reason: "refused" }]);
    await shop.track(page, 1, 20);
    await shop.stored(20);
    assert.deepEqual(shop.names(), expected(21).toSpliced(7, 1));
    assert.equal(gapless(shop.collector).numbers, 21);
  },

  "a batch refused whole is bisected: only the poison event is dropped": async (shop) => {
    shop.collector.respond = (batch) => (batch.some(({ event }) => event === "Event 13") ? { status: 400 } : {});
    const page = await shop.open();
    const made = await shop.track(page, 40);
    await shop.stored(39);
    assert.deepEqual(await shop.reports(page, "dropped"), [{ messageId: made[13].messageId, reason: "refused" }]);
    await shop.track(page, 1, 40);
    await shop.stored(40);
    assert.deepEqual(shop.names(), expected(41).toSpliced(13, 1));
    assert.equal(gapless(shop.collector).numbers, 41);
  },

  "401 stops, keeps the queue over a reload, and says so": async (shop) => {
    const { collector } = shop;
    collector.respond = () => ({ status: 401 });
    const page = await shop.open();
    await shop.track(page, 5);
    assert.deepEqual(await shop.reports(page, "stopped"), [{ status: 401 }]);
    const before = collector.requests.length;
    await shop.track(page, 5, 5);
    assert.equal(collector.requests.length, before, "silence");
    collector.respond = undefined;
    await shop.reload(page);
    await shop.stored(10);
    shop.complete(10);
  },
};
