/*
 * A real Chromium for the tests: one browser to a test, with a fresh profile. Promises to wait for conditions, never for time;
 * knows nothing of Headwater.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

/** The browser process of this profile: the one that no other made. */
const processOf = (profile) =>
  readdirSync("/proc").find((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, "utf8");
      return command.includes(`--user-data-dir=${profile}`) && !command.includes("--type=");
    } catch {
      return false; // No process, or gone by now.
    }
  });

/** A browser with a profile of its own (or a killed one's), closed and deleted by `close`. */
export const startBrowser = async (profile = mkdtempSync(join(tmpdir(), "headwater-test-")), also = []) => {
  if (!existsSync(executablePath))
    throw new Error(`no Chromium at ${executablePath}: apt-get install chromium, or set CHROMIUM`);
  const context = await chromium.launchPersistentContext(profile, {
    executablePath,
    headless: true,
    // People's browsers have it.
    ignoreDefaultArgs: ["--disable-back-forward-cache"],
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...also,
    ],
  });
  const close = async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  /** Ends the browser as a power cut does; its profile stays. */
  const kill = async () => {
    const closed = new Promise((done) => context.once("close", done));
    process.kill(Number(processOf(profile)), "SIGKILL");
    await closed;
  };
  return { context, close, kill, profile };
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

/** The tab is put behind another one, or before it. */
export const show = (page, visible) =>
  page.evaluate((visible) => {
    Object.defineProperty(document, "hidden", { value: !visible, configurable: true });
    Object.defineProperty(document, "visibilityState", { value: visible ? "visible" : "hidden", configurable: true });
    document.dispatchEvent(new Event("visibilitychange", { bubbles: true }));
  }, visible);
