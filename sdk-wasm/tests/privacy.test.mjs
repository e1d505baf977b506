/*
 * What is kept and sent of whom: consent by category, Global Privacy Control, cookieless pages, allowed properties, and the identity that
 * subdomains share. Looks at the wire and at what the browser keeps.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "./browser.mjs";
import { browser, collector, names, open, replaceBrowser, stored } from "./page.mjs";
import { gapless } from "./collector.mjs";

/** Opens a page that loads the SDK by a call, with these options. */
const load = async (options, page) => {
  page ??= await browser.context.newPage();
  await page.goto(`${collector.page}/?bare`);
  await page.evaluate(
    async ([options, endpoint]) => {
      const { headwater } = await import("/headwater.mjs");
      window.headwater = headwater;
      headwater.load({ writeKey: "wk_test", endpoint, ...options });
      await headwater.ready();
    },
    [options, collector.endpoint],
  );
  return page;
};

/** Everything that the browser keeps for the page's origin, as text. */
const kept = (page) =>
  page.evaluate(async () => {
    const found = [document.cookie && decodeURIComponent(document.cookie), JSON.stringify(localStorage)];
    for (const { name } of await indexedDB.databases()) {
      const db = await new Promise((done) => (indexedDB.open(name).onsuccess = (event) => done(event.target.result)));
      for (const store of db.objectStoreNames) {
        const all = db.transaction(store).objectStore(store).getAll();
        await new Promise((done) => (all.onsuccess = done));
        found.push(...all.result.map((value) => JSON.stringify(value)));
      }
      db.close();
    }
    return found.join("\n");
  });

/** Calls `track` with a category for each name. */
const track = (page, calls) =>
  page.evaluate(
    (calls) => Promise.all(calls.map(([name, category]) => headwater.track(name, {}, { category }))),
    calls,
  );

test("categories: what is granted goes at once, what is pending goes after a yes, also of another visit", async () => {
  const page = await load({ consent: { marketing: "pending" } });
  await track(page, [["A"], ["Ad seen", "marketing"], ["B"]]);
  await stored(2);
  await page.reload();
  await load({ consent: { marketing: "pending" } }, page);
  await track(page, [["C"]]);
  await stored(3);
  assert.deepEqual(names(), ["A", "B", "C"]);
  await page.evaluate(() => headwater.consent({ marketing: "granted" }));
  await stored(4);
  assert.deepEqual(names(), ["A", "B", "C", "Ad seen"]);
  assert.deepEqual(gapless(collector), { queues: 1, numbers: 4 });
});

test("categories: a no deletes what was kept of that category alone, and nothing more of it is taken", async () => {
  const page = await load({ consent: "pending" });
  await track(page, [["A"], ["Ad seen", "marketing"]]);
  assert.match(await kept(page), /Ad seen/);
  await page.evaluate(() => headwater.consent({ analytics: "granted", marketing: "denied" }));
  const [refused] = await track(page, [["Ad clicked", "marketing"], ["B"]]);
  assert.equal(refused.durable, false);
  await stored(2);
  await until(async () => !/Ad /.test(await kept(page)), "the deletion");
  assert.deepEqual(names(), ["A", "B"]);
});

test("categories: another tab's answer counts in this one, and what is waiting there is sent or deleted", async () => {
  const leader = await load({ consent: "pending" });
  const other = await load({ consent: "pending" });
  await track(leader, [["A"], ["Ad seen", "marketing"]]);
  await track(other, [["B"], ["Ad clicked", "marketing"]]);
  await other.evaluate(() => headwater.consent({ analytics: "granted", marketing: "denied" }));
  await stored(2);
  await until(async () => (await track(leader, [["Ad", "marketing"]]))[0].durable === false, "the answer in the other tab");
  assert.deepEqual(names().toSorted(), ["A", "B"]);
  await assert.rejects(track(leader, [["X", "advertising"]]), /no category: advertising/);
});

test("what waits for an answer is released by the person, not by another page's options", async () => {
  const leader = await load({});
  await track(leader, [["A"]]);
  await stored(1);
  const careful = await load({ consent: "pending" });
  await track(careful, [["Waits"]]);
  await track(leader, [["B"]]);
  await stored(2);
  // Neither does the next one to lead let it go, nor does one that refuses by default delete what was granted.
  await careful.close();
  await leader.goto("about:blank");
  await load({ consent: "denied" }, leader);
  await load({}, leader);
  await track(leader, [["C"]]);
  await stored(3);
  assert.deepEqual(names(), ["A", "B", "C"]);
  await leader.evaluate(() => headwater.consent("granted"));
  await stored(4);
  assert.deepEqual(names(), ["A", "B", "C", "Waits"]);
  assert.deepEqual(gapless(collector), { queues: 1, numbers: 4 });
});

test("a no deletes what waits also while no core can be had, and a later yes brings nothing back", async () => {
  const page = await load({ consent: "pending", wasm: "/?no-core" });
  await track(page, [["Held"]]);
  await page.evaluate(() => headwater.consent("denied"));
  await until(async () => !/Held/.test(await kept(page)), "the deletion");
  await page.evaluate(() => headwater.consent("granted"));
  await page.goto("about:blank");
  await load({}, page);
  await track(page, [["A"]]);
  await stored(1);
  assert.deepEqual(names(), ["A"]);
});

test("nothing leaves before there is consent: not by flush, not by leaving, not by a second visit", async () => {
  const page = await load({ consent: "pending" });
  await track(page, [["A"], ["B", "necessary"]]);
  await page.evaluate(() => headwater.flush());
  await page.goto("about:blank");
  await load({ consent: "pending" }, page);
  await page.evaluate(() => headwater.flush());
  await track(page, [["C"]]);
  // The first thing that may go is the proof that nothing went before it.
  await page.evaluate(() => headwater.consent({ necessary: "granted" }));
  await stored(1);
  assert.deepEqual(names(), ["B"]);
  assert.equal(collector.requests.length, 1);
});

test("a page that is left before a core is there sends what may go, and nothing else", async () => {
  // Without its core a page knows the answers all the same.
  const page = await load({ consent: { marketing: "pending" }, wasm: "/?no-core" });
  await track(page, [["Ad", "marketing"]]);
  await track(page, [["A"]]);
  await page.goto("about:blank");
  await stored(1);
  await load({ consent: { marketing: "pending" } }, page);
  await track(page, [["B"]]);
  await stored(2);
  await page.evaluate(() => headwater.consent("granted"));
  await stored(3);
  assert.deepEqual(names(), ["A", "B", "Ad"]);
});

test("a browser that asks for privacy is heeded: nothing is sent or kept until the person says yes here", async () => {
  const page = await browser.context.newPage();
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "globalPrivacyControl", { value: true }));
  await load({}, page);
  const [before] = await track(page, [["Never"]]);
  assert.equal(before.durable, false);
  const { anonymousId } = await page.evaluate(() => headwater.user());
  assert.ok(!(await kept(page)).includes(anonymousId), "no id is kept either");
  await page.evaluate(() => headwater.consent("granted"));
  await track(page, [["A"]]);
  await stored(1);
  assert.deepEqual(names(), ["A"]);
  // Nor are ids of an earlier visit kept, which did not ask for it.
  await page.evaluate(() => headwater.identify("somebody@example.com"));
  await until(async () => /somebody@example.com/.test(await kept(page)), "the id");
  await page.evaluate(() => new Promise((done) => {
    const kept = JSON.parse(localStorage["headwater:wk_test"]);
    delete kept.consent;
    localStorage.clear();
    document.cookie = "headwater%3Awk_test=;path=/;max-age=0";
    indexedDB.open("headwater:wk_test").onsuccess = ({ target: { result: db } }) => {
      db.transaction("state", "readwrite").objectStore("state").put(kept, "identity").onsuccess = () => done(db.close());
    };
  }));
  await load({}, page);
  await until(async () => !/somebody@example.com/.test(await kept(page)), "its deletion");
  // Of marketing alone, or not at all, where the page says so.
  await page.evaluate(() => localStorage.clear());
  await browser.context.clearCookies();
  const other = { writeKey: "wk_other", globalPrivacyControl: ["marketing"] };
  await load(other, page);
  const [ad, analytics] = await track(page, [["Ad", "marketing"], ["B"]]);
  assert.deepEqual([ad.durable, analytics.durable], [false, true]);
});

test("cookieless: nothing is kept on the device, events arrive, another page is somebody else", async () => {
  const page = await load({ cookieless: true });
  const warnings = [];
  page.on("console", (message) => warnings.push(message.text()));
  await track(page, [["A"]]);
  await stored(1);
  assert.deepEqual([await kept(page), await browser.context.cookies()], ["\n{}", []]);
  await track(page, [["B"]]);
  await page.goto("about:blank");
  await stored(2);
  await load({ cookieless: true }, page);
  await track(page, [["C"]]);
  await stored(3);
  const [a, b, c] = [...collector.stored.values()];
  assert.equal(a.anonymousId, b.anonymousId);
  assert.notEqual(a.anonymousId, c.anonymousId);
  assert.deepEqual(warnings, []);
});

test("a word that is mistyped is no yes: nothing is loaded, nothing changes, and the console says it", async () => {
  const page = await browser.context.newPage();
  const errors = [];
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  await page.goto(`${collector.page}/?bare`);
  await page.evaluate(async (endpoint) => {
    const { another } = await import("/headwater.mjs");
    for (const consent of ["maybe", { markting: "pending" }, { marketing: "no" }]) {
      const client = another();
      client.load({ writeKey: "wk_test", endpoint, consent });
      client.track("Never");
    }
    another().load({ endpoint });
    const client = another();
    client.load({ writeKey: "wk_test", endpoint, consent: "pending" });
    client.consent("yes");
    client.consent({ markting: "granted" });
    await client.track("Nor this");
    client.consent({ necessary: "granted" });
    await client.track("A", {}, { category: "necessary" });
  }, collector.endpoint);
  await stored(1);
  assert.deepEqual(names(), ["A"]);
  assert.equal(errors.filter((text) => /no consent/.test(text)).length, 5);
  assert.equal(errors.filter((text) => /writeKey/.test(text)).length, 1);
});

test("only allowed properties and traits are sent", async () => {
  const page = await load({ allow: ["sku", "plan"] });
  await page.evaluate(async () => {
    headwater.track("Viewed", { sku: "k", email: "a@b" });
    headwater.identify("u", { plan: "pro", phone: "123" });
    await headwater.page({ sku: "p", secret: 1 });
  });
  await stored(3);
  const [viewed, identified, seen] = [...collector.stored.values()];
  assert.deepEqual([viewed.properties, identified.traits], [{ sku: "k" }, { plan: "pro" }]);
  assert.equal(seen.properties.sku, "p");
  assert.ok(seen.properties.url && !("secret" in seen.properties), "what the page itself says stays");
});

test("after a no, the answer alone is kept", async () => {
  const page = await open();
  await page.evaluate(() => headwater.identify("somebody"));
  const { anonymousId } = await page.evaluate(() => headwater.user());
  await page.evaluate(() => headwater.consent("denied"));
  await until(async () => !new RegExp(`somebody|${anonymousId}`).test(await kept(page)), "the deletion");
  const renewed = await page.evaluate(() => headwater.user());
  assert.ok(renewed.anonymousId !== anonymousId && !(await kept(page)).includes(renewed.anonymousId));
  await page.reload();
  await page.waitForFunction(() => headwater.track);
  const [refused] = await track(page, [["Never"]]);
  assert.equal(refused.durable, false, "it is remembered");
});

test("subdomains share the identity and the answers, when asked", async () => {
  await browser.close();
  await replaceBrowser(undefined, ["--host-resolver-rules=MAP *.shop.test 127.0.0.1"]);
  const { port } = new URL(collector.page);
  const visit = async (host, cookieDomain) => {
    const page = await browser.context.newPage();
    await page.goto(`http://${host}:${port}/?bare`);
    await page.evaluate(
      async ([endpoint, cookieDomain]) => {
        const { headwater } = await import("/headwater.mjs");
        window.headwater = headwater;
        headwater.load({ writeKey: "wk_test", endpoint, cookieDomain });
        await headwater.ready();
      },
      [collector.endpoint, cookieDomain],
    );
    return page;
  };
  const www = await visit("www.shop.test", "shop.test");
  await www.evaluate(async () => {
    await headwater.identify("u-1");
    headwater.consent({ marketing: "denied" });
  });
  const app = await visit("app.shop.test", "shop.test");
  const who = (page) => page.evaluate(() => headwater.user());
  assert.deepEqual(await who(app), await who(www));
  assert.equal((await track(app, [["Ad", "marketing"]]))[0].durable, false);
  // What waits here is deleted by a no that was said there.
  collector.respond = () => ({ down: true });
  await track(www, [["Waits"]]);
  await app.evaluate(() => headwater.consent("denied"));
  await www.evaluate(() => dispatchEvent(new Event("focus")));
  await until(async () => !/Waits/.test(await kept(www)), "the deletion");
  await app.evaluate(() => headwater.consent("granted"));
  collector.respond = undefined;
  // Somebody signs out there, and comes back here.
  await app.evaluate(() => headwater.reset());
  await www.evaluate(() => dispatchEvent(new Event("focus")));
  assert.deepEqual(await who(www), await who(app));
  assert.equal((await who(www)).userId, undefined);
  const alone = await visit("alone.shop.test");
  assert.notEqual((await who(alone)).anonymousId, (await who(www)).anonymousId);
});

test("an id that no cookie can hold is kept all the same, and no older one comes back", async () => {
  const page = await load({});
  await page.evaluate(() => headwater.identify("short"));
  await page.evaluate(() => headwater.identify("é".repeat(2000)));
  await load({}, page);
  assert.equal((await page.evaluate(() => headwater.user())).userId.length, 2000);
});

test("the identity comes back from any one of the three places where it is kept", async () => {
  const page = await load({});
  await page.evaluate(() => headwater.identify("u-2"));
  const who = await page.evaluate(() => headwater.user());
  const without = {
    "cookie and localStorage": async () => {
      await browser.context.clearCookies();
      await page.evaluate(() => localStorage.clear());
    },
    cookie: () => browser.context.clearCookies(),
    localStorage: () => page.evaluate(() => localStorage.clear()),
  };
  for (const [what, clear] of Object.entries(without)) {
    await clear();
    await load({}, page);
    assert.deepEqual(await page.evaluate(() => headwater.user()), who, `without ${what}`);
  }
  for (const damage of ["%", "{", "%7B%22anonymousId%22%3A7%7D"]) {
    await page.evaluate((damage) => (document.cookie = `headwater%3Awk_test=${damage};path=/`), damage);
    await load({}, page);
    assert.deepEqual(await page.evaluate(() => headwater.user()), who, `a cookie of ${damage}`);
  }
});

/** What a damaged or careless place says in the words of an identity, put into one of the three places; the others are empty. */
const leave = async (page, place, text) => {
  await browser.context.clearCookies();
  await page.evaluate(
    ([place, text]) =>
      new Promise((done) => {
        localStorage.clear();
        if (place === "cookie") document.cookie = `headwater%3Awk_test=${encodeURIComponent(text)};path=/`;
        if (place === "localStorage") localStorage["headwater:wk_test"] = text;
        indexedDB.open("headwater:wk_test").onsuccess = ({ target: { result: db } }) => {
          const store = db.transaction("state", "readwrite").objectStore("state");
          const request = place === "IndexedDB" ? store.put(JSON.parse(text), "identity") : store.delete("identity");
          request.onsuccess = () => done(db.close());
        };
      }),
    [place, text],
  );
};

for (const place of ["cookie", "localStorage", "IndexedDB"])
  test(`an answer that lies damaged in ${place} is no yes`, async () => {
    const page = await load({});
    const at = Date.now();
    const may = async (consent) => {
      await leave(page, place, JSON.stringify({ anonymousId: "a", consent, at }));
      await load({}, page);
      const made = await track(page, [["A"], ["B", "marketing"]]);
      return made.map(({ durable }) => durable);
    };
    for (const damaged of ["maybe", "granted", 7, true, null, ["granted"], { analytics: 1, marketing: "Granted" }])
      assert.deepEqual(await may(damaged), [false, false], JSON.stringify(damaged));
    assert.deepEqual(await may({ analytics: "maybe" }), [false, true]);
    assert.deepEqual(await may({ marketing: null }), [true, false]);
    assert.deepEqual(await may({ analytics: "granted", advertising: "maybe" }), [true, true], "what is no category");
    // An answer for one category does not make the others yes.
    assert.deepEqual(await may("maybe"), [false, false]);
    await page.evaluate(() => headwater.consent({ marketing: "granted" }));
    assert.deepEqual((await track(page, [["A"], ["B", "marketing"]])).map(({ durable }) => durable), [false, true]);
  });

for (const at of [Date.now() + 365 * 86_400_000, 1e300])
  test(`an identity of a clock that was wrong (${at}) holds until the next change, and no longer`, async () => {
    const page = await load({});
    const user = (of = page) => of.evaluate(() => headwater.user());
    const wrong = { anonymousId: "wrong", userId: "later", consent: { marketing: "denied" }, at };
    await leave(page, "cookie", JSON.stringify(wrong));
    await load({}, page);
    assert.deepEqual(await user(), { anonymousId: "wrong", userId: "later" }, "nothing else is known");
    assert.equal((await track(page, [["Ad", "marketing"]]))[0].durable, false);
    await page.evaluate(() => headwater.identify("now"));
    // Another subdomain, or another tab, has one that nobody here has seen.
    wrong.at += 1e6;
    for (const place of ["localStorage", "cookie"]) {
      await page.evaluate(
        ([place, text]) =>
          place === "cookie"
            ? (document.cookie = `headwater%3Awk_test=${encodeURIComponent(text)};path=/`)
            : (localStorage["headwater:wk_test"] = text),
        [place, JSON.stringify(wrong)],
      );
      await page.evaluate(() => dispatchEvent(new Event("focus")));
      assert.equal((await user()).userId, "now", `${place}, as somebody comes back`);
      await load({}, page);
      assert.equal((await user()).userId, "now", `${place}, at the next visit`);
    }
    await page.evaluate((wrong) => new BroadcastChannel("headwater:wk_test").postMessage([-1, wrong]), wrong);
    const other = await load({});
    await other.evaluate(() => headwater.identify("newest"));
    await until(async () => (await user()).userId === "newest", "the other tab's");
  });

test("a clock that is put right while the page is open does not bar what is said then", async () => {
  const page = await browser.context.newPage();
  await page.addInitScript(() => {
    const now = Date.now;
    Date.now = () => now() + (self.ahead ?? 0);
  });
  await load({}, page);
  const who = () => page.evaluate(() => headwater.user().userId);
  await page.evaluate(() => {
    self.ahead = 365 * 86_400_000;
    headwater.identify("ahead");
    self.ahead = 0;
  });
  // By somebody who has not heard of that.
  await page.evaluate(() => new BroadcastChannel("headwater:wk_test").postMessage([-1, { userId: "right", at: Date.now() }]));
  await until(async () => (await who()) === "right", "what was said since", 5000);
  await page.evaluate(() => headwater.identify("last"));
  await load({}, page);
  assert.equal(await who(), "last");
});

test("an identity without a time is none", async () => {
  const page = await load({});
  await page.evaluate(() => headwater.identify("u"));
  for (const at of ["9999999999999", null, true, {}]) {
    for (const place of ["localStorage", "cookie"]) {
      const text = JSON.stringify({ anonymousId: "other", userId: "other", at });
      await page.evaluate(
        ([place, text]) =>
          place === "cookie"
            ? (document.cookie = `headwater%3Awk_test=${encodeURIComponent(text)};path=/`)
            : (localStorage["headwater:wk_test"] = text),
        [place, text],
      );
      await load({}, page);
      assert.equal((await page.evaluate(() => headwater.user())).userId, "u", `${place}: ${JSON.stringify(at)}`);
    }
  }
});
