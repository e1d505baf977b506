/*
 * Page views that nobody has to call: one for each page, whether the browser or the page's own code goes there.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { startSite } from "./autocapture-site.mjs";

let site;
beforeEach(async () => {
  site = await startSite();
});
afterEach(() => site.close());

const views = () => site.events("page").map(({ properties }) => properties.url.slice(site.url.length));
const go = (page, ...steps) =>
  page.evaluate(async (steps) => {
    for (const [how, url, title] of steps) {
      if (how === "back") history.back();
      else if (how === "hash") location.hash = url;
      else history[how + "State"](null, "", url);
      if (title) setTimeout(() => (document.title = title), 5);
      await new Promise((done) => setTimeout(done, 150));
    }
  }, steps);

test("the first page is said at once, before anything else is loaded, and once", async () => {
  site.head = site.tag("data-autocapture");
  site.pages["/headwater-autocapture.js"] = "export const autocapture = () => {}";
  const page = await site.open();
  const [view] = await site.wait("page");
  assert.deepEqual(view.properties, { url: `${site.url}/`, path: "/", title: "Shop /" });
  delete site.pages["/headwater-autocapture.js"];
  await page.evaluate(() => headwater.autocapture(true));
  await site.settled(page);
  assert.equal(views().length, 1);
});

test("a page view that the page has called itself is not said again: queued before, or called after", async () => {
  site.head = `<script>headwater = [["page", "Home"]]</script>${site.tag("data-autocapture='pages'")}`;
  const page = await site.open("", undefined);
  await page.evaluate(() => headwater.autocapture("pages"));
  await go(page, ["push", "/own"]);
  await page.evaluate(async () => {
    history.pushState(null, "", "/by-hand");
    headwater.page("By hand");
    await new Promise((done) => setTimeout(done, 150));
  });
  await site.settled(page);
  assert.deepEqual(views(), ["/", "/own", "/by-hand"]);
  assert.deepEqual(site.events("page").map(({ name }) => name), ["Home", undefined, "By hand"]);
});

for (const without of [false, true])
  test(`history changes are pages${without ? ", also where the browser does not tell of navigations" : ""}`, async () => {
    if (without)
      // As in a sandboxed frame, where it is there and says nothing.
      await site.browser.context.addInitScript(() =>
        Object.defineProperty(self, "navigation", { value: { currentEntry: null, addEventListener() {} } }),
      );
    const page = await site.open("", "pages");
    await go(
      page,
      ["push", "/a", "Page A"],
      ["push", "/a"],
      ["push", "/a#section"],
      ["hash", "#other"],
      ["replace", "/a?q=k"],
      ["replace", "/a?q=ket"],
      ["push", "/a?page=2"],
      ["replace", "/b"],
      ["back"],
    );
    await site.settled(page);
    assert.deepEqual(views(), ["/", "/a", "/a?page=2", "/b", "/a?q=ket"]);
    const [, a, second] = site.events("page");
    assert.deepEqual([a.properties.title, a.properties.referrer], ["Page A", `${site.url}/`]);
    assert.equal(second.properties.referrer, `${site.url}/a?q=ket`);
  });

test("fragments are pages where asked; a redirect is one page", async () => {
  const page = await site.open("", { hash: true, only: ["pages"] });
  await go(page, ["hash", "#/orders"], ["replace", "/#/orders?sort=new"], ["push", "/#/orders/7"]);
  await page.evaluate(() => {
    history.pushState(null, "", "/#/guard");
    history.replaceState(null, "", "/#/login");
  });
  await go(page, ["hash", "#/login"]);
  await site.settled(page);
  assert.deepEqual(views(), ["/", "/#/orders", "/#/orders/7", "/#/login"]);
  assert.equal(site.events("page").at(-1).properties.referrer, `${site.url}/#/orders/7`, "the page before the redirect");
});

test("a page is said before what happens on it, and when it is left at once", async () => {
  const page = await site.open("<button>B</button>", "pages clicks");
  await page.evaluate(() => {
    // The page is gone before any timer.
    window.setTimeout = () => 0;
    history.pushState(null, "", "/next");
    document.querySelector("button").click();
    history.pushState(null, "", "/last");
    location.href = "/elsewhere";
  });
  await site.wait("page", 3);
  const own = site.events().map(({ event, properties }) => event ?? new URL(properties.url).pathname);
  assert.deepEqual(own.slice(0, 4), ["/", "/next", "Button Clicked", "/last"]);
});

test("a page that comes back from the back/forward cache is a page view", async () => {
  const page = await site.open("one", "pages");
  await site.wait("page", 1);
  // The browser is driven without that cache: its two events are made here.
  await page.evaluate(() => {
    for (const kind of ["pagehide", "pageshow"]) dispatchEvent(new PageTransitionEvent(kind, { persisted: true }));
  });
  await site.wait("page", 2);
  assert.deepEqual(views(), ["/", "/"]);
});

test("a page that is rendered ahead is a page view once it is shown", async () => {
  await site.browser.context.addInitScript(() => {
    window.ahead = true;
    for (const name of ["prerendering", "hidden"])
      Object.defineProperty(Document.prototype, name, { get: () => window.ahead, configurable: true });
  });
  site.head = site.tag("data-autocapture=pages");
  const page = await site.open();
  await site.settled(page);
  assert.deepEqual(views(), []);
  await page.evaluate(() => {
    window.ahead = false;
    document.dispatchEvent(new Event("prerenderingchange"));
  });
  await site.wait("page");
  assert.deepEqual(views(), ["/"]);
});

test("an application that moves on while the file is on its way is followed", async () => {
  let arrive;
  const arrived = new Promise((done) => (arrive = done));
  await site.browser.context.route("**/headwater-autocapture.js*", async (route) => {
    await arrived;
    await route.continue();
  });
  site.head = site.tag("data-autocapture");
  const page = await site.open();
  await site.wait("page", 1);
  await page.evaluate(() => history.pushState(null, "", "/on"));
  arrive();
  await site.wait("page", 2);
  assert.deepEqual(views(), ["/", "/on"]);
});
