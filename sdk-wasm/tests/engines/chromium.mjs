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
  keepsOnLeaving: true,
  async start({ profile, inPrivate } = {}) {
    const browser = await startBrowser(profile, inPrivate ? ["--incognito"] : []);
    return {
      profile: browser.profile,
      version: browser.context.browser()?.version(),
      async open(url) {
        const page = await browser.context.newPage();
        await page.goto(url);
        return pageOf(page);
      },
      kill: browser.kill,
      close: () => within(browser.close(), "Chromium: close"),
    };
  },
  stop() {},
};
