/*
 * One suite for every engine: the scenarios, each in a browser of its own with a fresh profile. Promises that a browser that hangs
 * fails its scenario and no other. Knows no engine.
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
  after(async () => {
    await engine.stop();
    // What still runs then, hangs: it must not keep the run.
    setTimeout(() => process.exit(1), 30_000).unref();
  });
  for (const [name, given] of Object.entries(SCENARIOS)) {
    const { act, ...how } = typeof given == "function" ? { act: given } : given;
    test(`${engine.name}: ${name}`, { timeout: LIMIT_MS }, async (t) => {
      const shop = await openShop(engine, how);
      t.after(() => shop.close());
      await act(shop, t);
    });
  }
};
