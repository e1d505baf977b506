/*
 * What becomes of events when the browser is killed, or its storage and locks are not what they should be: refused, deleted, full, gone
 * with a private window. Promises to wait for conditions, never for luck; knows no engine.
 */
import assert from "node:assert/strict";
import { down, gapless } from "../collector.mjs";
import { expected } from "./shop.mjs";

/** In a page: it is as without TLS, or in an old browser. */
const withoutLocks = () => Object.defineProperty(Navigator.prototype, "locks", { value: undefined });

export const storage = {
  "the browser is killed 200 ms after the last call: nothing is lost": {
    kept: true,
    async act(shop) {
      shop.collector.respond = down;
      const page = await shop.open();
      await page.run(async () => {
        for (let index = 0; index < 200; index++) headwater.track(`Event ${index}`, { index });
        await new Promise((done) => setTimeout(done, 200));
      });
      await shop.browser.kill();
      shop.collector.respond = undefined;
      shop.browser = await shop.engine.start({ profile: shop.browser.profile, kept: true });
      await shop.open();
      await shop.stored(200);
      shop.complete(200);
    },
  },

  "the browser is killed the moment that it says `durable`: nothing is lost": {
    kept: true,
    async act(shop) {
      shop.collector.respond = down;
      const page = await shop.open();
      const made = await shop.track(page, 50);
      await shop.browser.kill();
      assert.ok(made.every(({ durable }) => durable));
      shop.collector.respond = undefined;
      shop.browser = await shop.engine.start({ profile: shop.browser.profile, kept: true });
      await shop.open();
      await shop.stored(50);
      shop.complete(50);
    },
  },

  "a private window: the same promises for as long as it is open": {
    inPrivate: true,
    async act(shop) {
      shop.collector.respond = down;
      const page = await shop.open();
      // Firefox asks for privacy by itself there (Global Privacy Control): the person says yes.
      await page.run(() => void headwater.consent("granted"));
      const made = await shop.track(page, 20);
      assert.ok(made.every(({ durable }) => durable));
      await shop.requested();
      shop.collector.respond = undefined;
      await shop.reload(page);
      await shop.stored(20);
      shop.complete(20);
    },
  },

  "storage is refused: events are sent from memory, and say so": async (shop) => {
    const page = await shop.open(() => {
      IDBFactory.prototype.open = () => {
        throw new DOMException("refused", "SecurityError");
      };
    });
    const made = await shop.track(page, 5);
    assert.ok(made.every(({ durable }) => !durable));
    await shop.stored(5);
    assert.deepEqual(shop.names(), expected(5));
  },

  "storage is full: events are sent from memory, the loss of durability is reported, and ends": async (shop) => {
    const page = await shop.open(() => {
      // As the browser does it: the request fails, and its transaction with it.
      const { add } = IDBObjectStore.prototype;
      IDBObjectStore.prototype.add = function (...given) {
        const request = add.apply(this, given);
        if (self.full) this.transaction.abort();
        return request;
      };
    });
    await shop.track(page, 1);
    await shop.stored(1);
    await page.run(() => void (self.full = true));
    const made = await shop.track(page, 5, 1);
    assert.ok(made.every(({ durable }) => !durable));
    await shop.reports(page, "not_durable");
    await shop.stored(6);
    await page.run(() => void (self.full = false));
    const [{ durable }] = await shop.track(page, 1, 6);
    assert.ok(durable);
    await shop.stored(7);
    assert.deepEqual(shop.names(), expected(7));
    gapless(shop.collector);
  },

  "the database is deleted under the tab that leads: nobody's events are lost": async (shop) => {
    shop.collector.respond = down;
    const leader = await shop.open();
    await shop.track(leader, 5);
    await shop.requested();
    const other = await shop.open();
    await other.run(
      () =>
        new Promise((done, failed) => {
          const request = indexedDB.deleteDatabase("headwater:wk_test");
          request.onsuccess = () => done();
          request.onerror = () => failed(request.error);
        }),
    );
    const made = await shop.track(other, 5, 5);
    assert.ok(made.every(({ durable }) => durable));
    shop.collector.respond = undefined;
    await shop.stored(10);
    assert.deepEqual(shop.names().toSorted(), expected(10).toSorted());
  },

  "without Web Locks: a lease lets one tab lead, and another one after it": async (shop) => {
    const pages = [await shop.open(withoutLocks), await shop.open(withoutLocks), await shop.open(withoutLocks)];
    await Promise.all(pages.map((page, tab) => shop.track(page, 20, tab * 20)));
    await shop.stored(60);
    await pages[0].close();
    await shop.track(pages[1], 5, 60);
    await shop.stored(65);
    shop.complete(65, false);
  },

  "without Web Locks, unreachable, then a reload: nothing is lost": async (shop) => {
    shop.collector.respond = down;
    const page = await shop.open(withoutLocks);
    await shop.track(page, 50);
    await shop.requested();
    shop.collector.respond = undefined;
    await shop.reload(page);
    await shop.stored(50);
    shop.complete(50);
  },
};
