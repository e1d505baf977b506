/*
 * One suite for every engine: the scenarios, each in a shop with an address and so a storage of its own; those that need it in a browser of
 * their own. Promises that a browser in which something failed or hung is not used again. Knows no engine.
 *
 * An engine is `{ name, start({ profile, inPrivate, kept }), stop() }`; `start` gives a browser: `open(url)` a tab, `close()`, `kill()` (SIGKILL to all its
 * processes; the profile stays), `profile`, `version`. A tab can `run(code)` and await it, `go(url)`, `reload()`, `back()`, `close()`.
 */
import { after, test } from "node:test";
import { delivery } from "./delivery.mjs";
import { facts } from "./facts.mjs";
import { leaving } from "./leaving.mjs";
import { openShop } from "./shop.mjs";
import { storage } from "./storage.mjs";
import { visit } from "./visit.mjs";

const SCENARIOS = { ...delivery, ...leaving, ...storage, ...visit, ...facts };

/** For one scenario, everything in it included. */
const LIMIT_MS = 240_000;

export const conformance = (engine) => {
  /** What the scenarios before have left: a browser, and which addresses their shops had in it. */
  let idle;
  after(async () => {
    await idle?.browser.close();
    await engine.stop();
    // What still runs then, hangs: it must not keep the run.
    setTimeout(() => process.exit(1), 30_000).unref();
  });
  for (const [name, given] of Object.entries(SCENARIOS)) {
    const { act, ...how } = typeof given == "function" ? { act: given } : given;
    const alone = typeof given != "function";
    test(`${engine.name}: ${name}`, { timeout: LIMIT_MS }, async (t) => {
      const own = alone || !idle ? { browser: await engine.start(how), past: new Set() } : idle;
      if (!alone) idle = undefined;
      const shop = await openShop(engine, own.browser, own.past);
      try {
        await act(shop, t);
        if (alone) return;
        await shop.closeTabs();
        idle = own;
      } finally {
        shop.collector.close();
        if (idle !== own) await shop.browser.close();
      }
    });
  }
};
