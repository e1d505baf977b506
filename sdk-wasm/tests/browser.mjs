/*
 * A real Chromium for the tests: one browser to a test, with a fresh profile. Promises to wait for conditions, never for time;
 * knows nothing of Headwater.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** A browser with a profile of its own, closed and deleted by `close`. */
export const startBrowser = async () => {
  if (!existsSync(executablePath))
    throw new Error(`no Chromium at ${executablePath}: apt-get install chromium, or set CHROMIUM`);
  const profile = mkdtempSync(join(tmpdir(), "headwater-test-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  return { context, close };
};

/** Waits until `condition` holds, and gives back what it says. */
export const until = async (condition, what, patience = 20_000) => {
  const end = Date.now() + patience;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${patience} ms for ${what ?? condition}`);
    await new Promise((done) => setTimeout(done, 10));
  }
};

/** Crashes a page's renderer. */
export const crash = async (page) => {
  const session = await page.context().newCDPSession(page);
  const crashed = new Promise((done) => page.once("crash", done));
  session.send("Page.crash").catch(() => {});
  await crashed;
};
