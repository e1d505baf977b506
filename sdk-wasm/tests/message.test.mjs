/*
 * Messages on a page, from a rule of the real collector to the card in Chromium: who is told, once, and what the person did. Promises to
 * wait for conditions; what must not happen is looked for after something that comes later has.
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { show, until } from "./browser.mjs";
import { startHeadwater } from "./headwater.mjs";
import { startSite } from "./autocapture-site.mjs";

const RULES = `
[rules.payment]
on = "Payment Failed"
then = [{ in_app = "card", template = "payment.txt", expires = "1h" }]
[rules.tip]
on = "Tip"
then = [{ in_app = "strip", template = "tip.txt", expires = "1h" }]
`;
const PAYMENT = `+++
title = "Your payment did not go through"
button = "Pay again"
url = "/pay?order={{ event.properties.order }}"
[data]
order = "{{ event.properties.order }}"
+++
<b>Nothing</b> is lost: your cart is kept.
`;

let site, headwater, folder;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "headwater-rules-"));
  for (const [name, text] of Object.entries({ "rules.toml": RULES, "payment.txt": PAYMENT, "tip.txt": "There is more{% if event.properties.text %}: {{ event.properties.text }}{% else %}.{% endif %}\n" }))
    writeFileSync(join(folder, name), text);
  const server = `rules = ${JSON.stringify(folder)}\n[sources.shop]\nwrite_key = "wk_shop"\ntrust = "server"`;
  [site, headwater] = await Promise.all([startSite(), startHeadwater(server)]);
  site.head = `<meta name="viewport" content="width=device-width"><script async src="/headwater.js" data-write-key="wk_test" data-endpoint="${headwater.url}"></script>`;
});
afterEach(async () => {
  await site.close();
  await headwater.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** A page that listens; `heard` gathers what it is told, and `taken` says whether it draws it itself. */
const open = async (taken = false, path = "/", context = site.browser.context) => {
  const page = await context.newPage();
  await page.goto(site.url + path);
  await page.waitForFunction(() => window.headwater?.track);
  await page.evaluate((taken) => {
    window.heard = [];
    window.stop = headwater.on("message", (message) => {
      heard.push(message);
      return taken;
    });
  }, taken);
  return page;
};
const signIn = (page, user) => page.evaluate((user) => headwater.identify(user).then(() => headwater.flush()), user);
let sent = 0;
const say = async (event, userId, properties = {}) => {
  const body = { writeKey: "wk_shop", event, userId, properties, messageId: `m${sent++}` };
  const answer = await fetch(`${headwater.url}/v1/track`, { method: "POST", body: JSON.stringify(body) });
  assert.equal(answer.status, 200);
};
const logged = async (name) => (await headwater.log()).filter(({ event }) => event === name);
const card = (page) => page.locator("headwater-message [part=card]");
/** Messages that the page was told, by their order's number. */
const heard = (page) => page.evaluate(() => window.heard.map(({ data, body }) => data.order ?? body));

test("a message is drawn as a card, is read out, is text, leads where it says, and is said once", async () => {
  const page = await open();
  await signIn(page, "u-1");
  await say("Payment Failed", "u-1", { order: "o-1" });
  await card(page).waitFor();
  assert.equal(await card(page).locator("[part=title]").textContent(), "Your payment did not go through");
  assert.equal(await card(page).locator("[part=body]").textContent(), "<b>Nothing</b> is lost: your cart is kept.");
  const tree = await page.locator("body").ariaSnapshot();
  assert.match(tree, /- status:\s+- group "Your payment did not go through"/);
  assert.match(tree, /- link "Pay again":\s+- \/url: \/pay\?order=o-1/);
  assert.match(tree, /- button "Close"/);
  assert.equal(await page.evaluate(() => document.activeElement === document.body), true, "it takes no focus");
  const [shown] = await until(async () => {
    const found = await logged("Message Shown");
    return found.length && found;
  }, "the message to be shown");
  assert.deepEqual(
    [shown.properties.rule, shown.properties.placement, shown.properties.message_id],
    ["payment", "card", await page.evaluate(() => heard[0].id)],
  );
  // Neither a reload nor another page is told of it again; what comes next they are.
  await page.reload();
  await page.waitForFunction(() => window.headwater?.track);
  await page.evaluate(() => ((window.heard = []), headwater.on("message", (message) => void heard.push(message))));
  await say("Payment Failed", "u-1", { order: "o-2" });
  await card(page).waitFor();
  assert.deepEqual(await heard(page), ["o-2"]);
  await card(page).locator("[part=close]").focus();
  await page.keyboard.press("Escape");
  assert.equal(await card(page).count(), 0);
  await say("Payment Failed", "u-1", { order: "o-3" });
  await card(page).locator("[part=button]").click();
  await page.waitForURL("**/pay?order=o-3");
  await page.waitForFunction(() => window.headwater?.track);
  await until(async () => (await logged("Message Clicked")).length, "the click");
  assert.deepEqual((await logged("Message Dismissed")).length, 1);
  assert.equal((await logged("Message Shown")).length, 3);
});

test("of two pages one is told, and the other when that is hidden; what nobody has drawn is told again", async () => {
  const streams = [];
  site.browser.context.on("request", (request) => request.url().endsWith("/v1/messages") && streams.push(request.frame().page()));
  const first = await open();
  await signIn(first, "u-1");
  await until(() => streams.length, "the stream");
  const second = await open();
  await say("Tip", "u-1");
  await first.waitForFunction(() => heard.length == 1);
  assert.ok(!streams.includes(second), "one stream for the browser");
  assert.equal(await card(first).count(), 0, "a page's own placement is not drawn");
  await show(first, false);
  // Nobody has drawn it: it is told again, and the page that is looked at says that it has.
  await second.waitForFunction(() => heard.length == 1);
  await second.evaluate(() => heard[0].shown());
  await say("Tip", "u-1");
  await second.waitForFunction(() => heard.length == 2);
  assert.equal(await first.evaluate(() => heard.length), 1);
  await until(async () => (await logged("Message Shown")).length == 1, "one shown");
});

test("a page that draws for itself says so, cards wait for each other, and a listener's mistake loses none", async () => {
  const page = await open(true);
  await signIn(page, "u-1");
  await say("Payment Failed", "u-1", { order: "o-1" });
  await until(async () => (await logged("Message Shown")).length == 1, "the message to be shown");
  assert.equal(await card(page).count(), 0);
  await page.evaluate(() => {
    window.mistakes = [];
    addEventListener("error", (event) => (mistakes.push(event.message), event.preventDefault()));
    window.stop();
    headwater.on("message", () => {
      throw new Error("the page's own mistake");
    });
  });
  await say("Payment Failed", "u-1", { order: "o-2" });
  await card(page).locator(`a[href$="o-2"]`).waitFor();
  await page.evaluate(() => headwater.on("message", (message) => void heard.push(message)));
  await say("Payment Failed", "u-1", { order: "o-3" });
  await page.waitForFunction(() => heard.length === 2);
  assert.equal(await card(page).count(), 1, "the second waits for the first");
  await card(page).locator("[part=close]").click();
  await card(page).locator(`a[href$="o-3"]`).waitFor();
  assert.match((await page.evaluate(() => mistakes))[0], /own mistake/);
  assert.deepEqual(await heard(page), ["o-1", "o-3"], "whoever was stopped hears nothing");
});

test("separators that end a line elsewhere, and markup, are parts of a text", async () => {
  const page = await open();
  await signIn(page, "u-1");
  const order = "a\u2028b\u2029c<script>";
  await say("Payment Failed", "u-1", { order: encodeURIComponent(order) });
  await say("Tip", "u-1", { text: order });
  await page.waitForFunction(() => heard.length === 2);
  assert.ok((await page.evaluate(() => heard.map(({ body }) => body))).includes("There is more: a\u2028b\u2029c<script>"));
});

test("who signs out is told nothing of who was there before, and the device's token is another", async () => {
  const asked = [];
  site.browser.context.on("request", (request) => request.url().endsWith("/v1/messages") && asked.push(JSON.parse(request.postData())));
  const page = await open();
  await signIn(page, "u-1");
  await until(() => asked.length, "the stream");
  const before = asked.at(-1);
  await page.evaluate(() => headwater.reset());
  await until(() => asked.some(({ anonymousId }) => anonymousId !== before.anonymousId), "another stream");
  const after = asked.at(-1);
  assert.notEqual(after.token, before.token);
  assert.match(after.token, /^[\w-]{24}$/);
  await say("Payment Failed", "u-1", { order: "of-u-1" });
  await signIn(page, "u-2");
  await say("Payment Failed", "u-2", { order: "of-u-2" });
  await card(page).waitFor({ timeout: 40_000 });
  assert.deepEqual(await heard(page), ["of-u-2"]);
  // The token stays: another page of this browser brings the same.
  const known = asked.at(-1).token;
  const count = asked.length;
  await page.close();
  await open();
  await until(() => asked.length > count, "the next page's stream");
  assert.equal(asked.at(-1).token, known);
});

test("without consent nothing is asked for; what was kept goes with the anonymous id, and not before", async () => {
  const asked = [];
  site.browser.context.on("request", (request) => request.url().endsWith("/v1/messages") && asked.push(request));
  const page = await open();
  const ended = new Promise((done) => page.on("requestfailed", (request) => request === asked[0] && done()));
  await until(() => asked.length, "the stream");
  const kept = () => page.evaluate(() => document.cookie.includes("%3Adevice="));
  assert.equal(await kept(), true);
  await page.evaluate(() => headwater.consent({ functional: "denied" }));
  await ended;
  await page.evaluate(() => headwater.consent({ functional: "granted" }));
  await until(() => asked.length > 1, "the stream, now that there is consent");
  assert.equal((await asked[1].response()).status(), 200, "with the token that the collector knows");
  await page.evaluate(() => headwater.consent("denied"));
  await until(async () => !(await kept()), "the token to be forgotten");
});

test("a card is drawn under a strict policy, on a small screen, and in the dark", async () => {
  site.headers = {
    "content-security-policy": `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ${headwater.url}; require-trusted-types-for 'script'`,
  };
  site.head += `<meta name="color-scheme" content="light dark">`;
  const page = await open();
  const problems = [];
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.setViewportSize({ width: 320, height: 480 });
  await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  await signIn(page, "u-1");
  await say("Payment Failed", "u-1", { order: "o-1" });
  await card(page).waitFor();
  const looks = await card(page).evaluate((card) => ({
    box: card.getBoundingClientRect().toJSON(),
    background: getComputedStyle(card).backgroundColor,
    sizes: [...card.querySelectorAll("a,button")].map((one) => one.getBoundingClientRect().height),
  }));
  assert.ok(looks.box.left >= 16 && looks.box.right <= 304 && looks.box.bottom <= 464, JSON.stringify(looks.box));
  assert.equal(looks.background, "rgb(29, 34, 40)");
  assert.ok(looks.sizes.every((size) => size >= 40), `fingers need room: ${looks.sizes}`);
  assert.deepEqual(problems, []);
});

test("the card is light or dark with the page that it is on, not with the system", async () => {
  const page = await open();
  await signIn(page, "u-1");
  await say("Payment Failed", "u-1", { order: "o-1" });
  await card(page).waitFor();
  const background = () => card(page).evaluate((card) => getComputedStyle(card).backgroundColor);
  const [light, dark] = ["rgb(255, 255, 255)", "rgb(29, 34, 40)"];
  const declare = (where, value) => page.evaluate(([where, value]) => {
    document.documentElement.style.colorScheme = "";
    document.head.querySelector("[name=color-scheme]")?.remove();
    if (where == "style") document.documentElement.style.colorScheme = value;
    if (where == "meta") document.head.append(Object.assign(document.createElement("meta"), { name: "color-scheme", content: value }));
  }, [where, value]);
  for (const [system, where, value, expected] of [
    ["dark", "", "", light],
    ["light", "", "", light],
    ["dark", "style", "light dark", dark],
    ["light", "style", "light dark", light],
    ["light", "style", "dark", dark],
    ["dark", "style", "only light", light],
    ["dark", "meta", "light dark", dark],
    ["light", "meta", "dark", dark],
  ]) {
    await page.emulateMedia({ colorScheme: system });
    await declare(where, value);
    assert.equal(await background(), expected, `a system that is ${system}, a page that says ${where} ${value}`);
  }
  await declare("", "");
  await page.addStyleTag({ content: "headwater-message { color-scheme: dark }" });
  assert.equal(await background(), dark, "the page can say it of the card alone");
  await page.addStyleTag({ content: "headwater-message { --headwater-background: #def }" });
  assert.equal(await background(), "rgb(221, 238, 255)");
});
