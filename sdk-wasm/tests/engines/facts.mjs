/*
 * What the engine at hand is like, as far as the SDK depends on it: what it has is asked of a page, what it does is tried. Prints what it
 * finds (the README's table of engines is made of that); fails where something is missing without which events would be lost.
 */
import assert from "node:assert/strict";
import { until } from "../browser.mjs";
import { down, strict } from "../collector.mjs";

/** The largest body that a request may have and outlive its page. */
const keepaliveBudget = (page, endpoint) =>
  page.run(async (url) => {
    const once = (size) =>
      fetch(url, { method: "POST", keepalive: true, headers: { "content-type": "text/plain" }, body: '{"batch":[]}'.padEnd(size) }).then(
        (answer) => answer.text().then(() => true),
        () => false,
      );
    // Firefox gives an answered request's part of the budget back a little later.
    const fits = async (size) => {
      for (let tries = 0; tries < 4; tries++) {
        if (await once(size)) return true;
        await new Promise((done) => setTimeout(done, 150));
      }
      return false;
    };
    let [least, most] = [0, 1_000_000];
    if (await fits(most)) return "none";
    while (most - least > 1) {
      const middle = (least + most) >> 1;
      if (await fits(middle)) least = middle;
      else most = middle;
    }
    return least;
  }, endpoint);

/** Whether a page that was left is the same one when the person comes back. */
const comesBack = async (shop, page, bare) => {
  await page.run(() => void (self.mark = true));
  await page.go(shop.address(undefined, bare ? "bare&other" : "other"));
  await page.back();
  return until(() => page.run(() => document.readyState == "complete" && [!!self.mark]).catch(() => false), "the page before").then(([same]) => same);
};

/** How often a second request is refused that the first one, answered by then, leaves room for. */
const refusedAfter = (page, endpoint) =>
  page.run(async (url) => {
    const send = () =>
      fetch(url, { method: "POST", keepalive: true, headers: { "content-type": "text/plain" }, body: '{"batch":[]}'.padEnd(40_000) }).then(
        (answer) => answer.text().then(() => 0),
        () => 1,
      );
    let refused = 0;
    for (let round = 0; round < 20; round++) {
      await send();
      refused += await send();
      await new Promise((done) => setTimeout(done, 100));
    }
    return refused;
  }, endpoint);

/** Which of what a page writes as it is left is there at the next visit. */
const keptOnLeaving = async (shop) => {
  const page = await shop.visit(shop.address(undefined, "bare"));
  await page.leave(async () => {
    const db = await new Promise((done) => {
      const request = indexedDB.open("kept");
      request.onupgradeneeded = () => request.result.createObjectStore("kept");
      request.onsuccess = () => done(request.result);
    });
    const put = (key) => {
      const tx = db.transaction("kept", "readwrite");
      tx.objectStore("kept").put(1, key);
      tx.commit();
    };
    addEventListener("pagehide", () => {
      put("IndexedDB, in pagehide");
      localStorage.kept = "localStorage, in pagehide";
    });
    put("IndexedDB, just before");
    location.href = "/?bare";
  });
  const next = await shop.visit(shop.address(undefined, "bare"));
  const kept = () =>
    next.run(
      () =>
        new Promise((done) => {
          indexedDB.open("kept").onsuccess = ({ target: { result } }) => {
            const keys = result.transaction("kept").objectStore("kept").getAllKeys();
            keys.onsuccess = () => (result.close(), done([...keys.result, localStorage.kept]));
          };
        }),
    );
  await until(async () => (await kept()).at(-1), "the other page's end", 60_000);
  const all = await kept();
  await next.close();
  await page.close();
  return all;
};

/** The page's own word on whether it may make a WebAssembly instance; the smallest there is. */
export const mayHaveWasm = () => {
  try {
    return !!new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)));
  } catch {
    return false;
  }
};

export const facts = {
  "what this engine has, and does": async (shop, t) => {
    const { collector } = shop;
    const says = (what, found) => t.diagnostic(`${what}: ${JSON.stringify(found)}`);
    const page = await shop.open();
    says("version", [shop.browser.version, await page.run(() => navigator.userAgent)]);
    const has = await page.run(() => ({
      "secure on loopback": isSecureContext,
      "Web Locks": !!navigator.locks,
      BroadcastChannel: !!self.BroadcastChannel,
      "explicit commit": !!IDBTransaction.prototype.commit,
      "keepalive": "keepalive" in Request.prototype,
      "navigation": !!self.navigation,
    }));
    says("has", has);
    says("keepalive budget", await keepaliveBudget(page, `${collector.endpoint}/v1/batch`));
    says("refused though the one before was answered, of 20", await refusedAfter(page, `${collector.endpoint}/v1/batch`));
    const other = await shop.open();
    says("a tab behind another is hidden", await page.run(() => document.hidden));
    await other.close();
    const bare = await shop.visit(shop.address(undefined, "bare"));
    says("back/forward cache, without the SDK", await comesBack(shop, bare, true));
    await bare.close();
    says("back/forward cache, with the SDK", await comesBack(shop, page, true));
    await page.close();
    const kept = await keptOnLeaving(shop);
    says("kept on leaving", kept);
    collector.headers = { "content-security-policy": strict(collector.endpoint) };
    const policed = await shop.visit(shop.address(undefined, "bare"));
    says("WebAssembly with script-src 'self'", await policed.run(mayHaveWasm));
    collector.headers = { "content-security-policy": "require-trusted-types-for 'script'; trusted-types 'none'" };
    await policed.reload();
    const enforced = () => {
      try {
        document.createElement("script").src = "x";
      } catch {
        return true;
      }
    };
    says("Trusted Types are enforced", !!(await policed.run(enforced)));
    // Without these events would be lost, or sent twice.
    assert.ok(has["explicit commit"] && has.BroadcastChannel && has.keepalive);
    assert.ok(kept.includes("IndexedDB, just before"));
    assert.ok(kept.includes("IndexedDB, in pagehide") || !shop.engine.keepsOnLeaving);
  },
};
