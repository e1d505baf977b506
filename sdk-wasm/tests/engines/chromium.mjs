/*
 * Chromium, driven as the other tests drive it. Promises what every engine here does (`conformance.mjs` says what); knows nothing of
 * Headwater.
 */
import { startBrowser } from "../browser.mjs";
import { within } from "./process.mjs";

const pageOf = (page) => {
  const limited = (promise, what) => within(promise, `Chromium: ${what}`);
  return {
    run: (code) => limited(page.evaluate(code), code),
    go: (url) => limited(page.goto(url), url),
    reload: () => limited(page.reload(), "reload"),
    back: () => limited(page.goBack({ waitUntil: "commit" }), "back"),
    close: () => limited(page.close(), "close"),
  };
};

export const chromium = {
  name: "Chromium",
  /** Whether an IndexedDB transaction that begins as a page is left is committed. */
  keepsOnLeaving: true,
  async start({ profile, inPrivate } = {}) {
    const browser = await startBrowser(profile);
    const chrome = browser.context.browser();
    // `--incognito` would not do: the profile's own window is opened first, and driven.
    const context = inPrivate ? await chrome.newContext() : browser.context;
    return {
      profile: browser.profile,
      version: chrome.version(),
      async open(url) {
        const page = await context.newPage();
        await page.goto(url);
        return pageOf(page);
      },
      kill: browser.kill,
      close: () => within(browser.close(), "Chromium: close"),
    };
  },
  stop() {},
};
