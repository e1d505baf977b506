/*
 * Autocapture in a real browser: what each of its events is called and says, and how it is loaded and ended.
 */
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { until } from "./browser.mjs";
import { startSite } from "./autocapture-site.mjs";

let site;
beforeEach(async () => {
  site = await startSite();
});
afterEach(() => site.close());

/** Names and properties of what was captured, without the tests' own marks. */
const said = () =>
  site
    .events()
    .filter((event) => !event.event?.startsWith("Mark "))
    .map((event) => [event.event ?? event.type, event.properties]);

/** What was scrolled has been read: that is 250 ms later, in a frame. */
const rested = (page) =>
  page.evaluate(
    () => new Promise((done) => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 300)),
  );

test("links, downloads, other sites and buttons have names and properties of their own", async () => {
  const page = await site.open(
    `<main><a id="plain" href="/kettles?ref=secret#top">All <b>kettles</b></a>
     <p><a href="https://other.example/a/b?token=secret">Elsewhere</a></p>
     <p><a href="/files/manual.pdf?x=1">Manual</a><a download href="/x/photo">Photo</a></p>
     <a href="mailto:jo@example.com">Write</a>
     <section><button type="button"><svg></svg> Add to cart </button><button aria-label="Close" name="x">×</button></section>
     <input type="submit" value="Send it"><div role="button" tabindex="0">Tab me</div><p id="nothing">Text</p></main>`,
    "clicks",
  );
  await page.evaluate(() => document.addEventListener("click", (event) => event.preventDefault()));
  for (const target of ["#plain b", "text=Elsewhere", "text=Manual", "text=Photo", "text=Write", "text=Add to", "[name=x]"])
    await page.click(target);
  await page.click("#nothing");
  await page.click("input");
  await page.focus("[role=button]");
  await page.click("text=Tab me");
  await site.settled(page);
  const origin = site.url;
  assert.deepEqual(said(), [
    ["Link Clicked", { text: "All kettles", id: "plain", selector: "a#plain", href: `${origin}/kettles` }],
    ["Outbound Link Clicked",
      { text: "Elsewhere", selector: "html > body > main > p > a", href: "https://other.example/a/b", host: "other.example" }],
    ["File Downloaded",
      { text: "Manual", selector: "html > body > main > p:nth-of-type(2) > a", href: `${origin}/files/manual.pdf`, file: "manual.pdf" }],
    ["File Downloaded",
      { text: "Photo", selector: "html > body > main > p:nth-of-type(2) > a:nth-of-type(2)", href: `${origin}/x/photo`, file: "photo" }],
    ["Link Clicked", { text: "Write", selector: "html > body > main > a:nth-of-type(2)", href: "mailto:" }],
    ["Button Clicked", { text: "Add to cart", selector: "html > body > main > section > button" }],
    ["Button Clicked", { text: "×", selector: "html > body > main > section > button:nth-of-type(2)" }],
    ["Button Clicked", { text: "Send it", selector: "html > body > main > input" }],
    ["Button Clicked", { text: "Tab me", selector: "html > body > main > div" }],
  ]);
});

test("what the author named is called that, with its own properties, once for a click", async () => {
  const page = await site.open(
    `<div data-hw-event="Card Opened" data-hw-product-id="4006381333931" data-hw-props='{"price":19.9,"tags":["a"]}' data-hw-view="x">
       <button>Open</button><i id="blank">blank</i></div>
     <form data-hw-event="Newsletter Joined"><button type="button">In a form</button></form>`,
    "clicks",
  );
  await page.click("text=Open");
  await page.click("#blank");
  await page.click("text=In a form");
  await site.settled(page);
  const own = { price: 19.9, tags: ["a"], product_id: "4006381333931" };
  assert.deepEqual(said(), [
    ["Card Opened", { text: "Open", selector: "html > body > div > button", ...own }],
    ["Card Opened", own],
    ["Button Clicked", { text: "In a form", selector: "html > body > form > button" }],
  ]);
});

test("the middle button opens a link, the others do not; a stopped click counts; shadow trees are seen", async () => {
  const page = await site.open(`<a href="/a">A</a><button>B</button><x-y></x-y>`, "clicks");
  await page.evaluate(() => {
    const root = document.querySelector("x-y").attachShadow({ mode: "open" });
    root.innerHTML = "<button id=inner>Inner</button>";
    document.querySelector("button").addEventListener("click", (event) => event.stopImmediatePropagation());
  });
  await page.click("a", { button: "middle" });
  await page.click("a", { button: "right" });
  await page.click("body > button", { button: "middle" });
  await page.click("body > button");
  await page.click("#inner");
  await site.settled(page);
  assert.deepEqual(said().map(([name, { text }]) => [name, text]), [
    ["Link Clicked", "A"],
    ["Button Clicked", "B"],
    ["Button Clicked", "Inner"],
  ]);
});

test("forms say which they are and where they go; fields named like the form's own are not read", async () => {
  const page = await site.open(
    `<form id="checkout" name="pay" action="/orders?token=secret" method="post"><input name="id" value="field-value"><input name="action" value="field-value"><button>Pay</button></form>
     <form data-hw-event="Newsletter Joined" data-hw-list="weekly" action="https://lists.example/join?x=1"><button>Join</button></form>
     <form data-hw-ignore><button>Hidden</button></form>
     <form data-hw-mask id="masked-id" data-hw-event="Private Sent"><button>Masked</button></form>`,
    "forms",
  );
  await page.evaluate(() => document.addEventListener("submit", (event) => event.preventDefault()));
  for (const name of ["Pay", "Join", "Hidden", "Masked"]) await page.click(`text=${name}`);
  await site.settled(page);
  assert.deepEqual(said(), [
    ["Form Submitted", { form_id: "checkout", form_name: "pay", action: "/orders", method: "post" }],
    ["Newsletter Joined", { action: "https://lists.example/join", method: "get", list: "weekly" }],
    ["Private Sent", { masked: true }],
  ]);
  assert.ok(!/field-value|masked-id|secret/.test(site.wire()));
});

test("a password, a card and what is marked are never sent, whatever a person does with them", async () => {
  const SECRETS = ["hunter2-password", "4111 1111 1111 1111", "4111111111111111", "jo@example.com", "in-ignored", "in-masked",
    "typed-text", "123-45-6789", "+49 (170) 1234567", "shown-password", "chosen-value"];
  const page = await site.open(
    `<form id="f" action="/pay"><input type="password" id="pw"><input id="card" autocomplete="section-a cc-number">
       <input id="free"><textarea id="area"></textarea><select id="s"><option>one<option>chosen-value</select>
       <input id="shown" type="text" autocomplete="current-password" data-hw-event="Password Field" data-hw-x="shown-password">
       <button>Pay with 4111 1111 1111 1111</button></form>
     <a href="/users/jo@example.com/4111111111111111" id="jo@example.com">Jo jo@example.com 123-45-6789</a>
     <button id="phone">Call +49 (170) 1234567</button>
     <div data-hw-ignore data-hw-view="in-ignored"><button id="i" data-hw-event="in-ignored">in-ignored</button><a href="/in-ignored">x</a></div>
     <div data-hw-mask><a href="/in-masked" id="m">in-masked</a><button data-hw-event="Masked Clicked" data-hw-kind="ok" id="in-masked">in-masked</button></div>
     <button id="mixed">Show <span data-hw-mask>in-masked</span><textarea>in-masked</textarea> it</button>
     <button id="icon" value="chosen-value"></button><input role="button" id="role" value="chosen-value">
     <div contenteditable><button id="edit">typed-text</button></div>
     <div class="mine"><button id="own">in-ignored</button></div>
     <div data-hw-view="product:1" style="height:50px">v</div>`,
    { ignore: ".mine" },
  );
  await page.evaluate(() => {
    document.addEventListener("submit", (event) => event.preventDefault());
    document.addEventListener("click", (event) => event.target.closest("a") && event.preventDefault());
  });
  await page.fill("#pw", "hunter2-password");
  await page.click("#card");
  await page.keyboard.type("4111 1111 1111 1111");
  await page.fill("#free", "typed-text");
  await page.fill("#area", "typed-text 4111111111111111");
  await page.selectOption("#s", { index: 1 });
  await page.fill("#shown", "hunter2-password");
  for (const target of ["#pw", "#shown", "#f button", "[href^='/users']", "#phone", "#i", "#m", "[data-hw-kind]", "#mixed", "#icon", "#role", "#edit", "#own"])
    await page.click(target);
  await page.evaluate(() => {
    setTimeout(() => {
      throw new Error("card 4111 1111 1111 1111 of jo@example.com at https://shop.example/x?token=secret");
    });
  });
  await site.wait("Error Occurred");
  await page.evaluate(() => headwater.autocapture(false));
  await site.settled(page);
  const wire = site.wire();
  for (const secret of [...SECRETS, "secret"]) assert.ok(!wire.includes(secret), `${secret} was sent`);
  assert.deepEqual(said().filter(([name]) => /Clicked|Submitted|Field/.test(name)), [
    ["Button Clicked", { text: "Pay with ***", selector: "form#f > button" }],
    ["Form Submitted", { form_id: "f", action: "/pay", method: "get" }],
    ["Link Clicked", { text: "Jo *** ***", id: "***", selector: "a#***", href: `${site.url}/users/***/***` }],
    ["Button Clicked", { text: "Call +***", id: "phone", selector: "button#phone" }],
    ["Link Clicked", { masked: true }],
    ["Masked Clicked", { masked: true, kind: "ok" }],
    ["Button Clicked", { text: "Show it", id: "mixed", selector: "button#mixed" }],
    ["Button Clicked", { id: "icon", selector: "button#icon" }],
    ["Button Clicked", { id: "role", selector: "input#role" }],
    ["Button Clicked", { masked: true }],
  ]);
});

test("the file reads no value of any field, and nothing that costs a layout but the scroll position", async () => {
  const page = await site.open(`<input id="i" value="x"><button>B</button><a href="/x">A</a><div style="height:9000px">tall</div>`);
  await page.evaluate(() => {
    window.reads = {};
    const count = (proto, names) => {
      for (const name of names) {
        const { get, value, ...rest } = Object.getOwnPropertyDescriptor(proto, name);
        const note = () => (reads[name] = (reads[name] ?? 0) + 1);
        Object.defineProperty(proto, name, {
          ...rest,
          ...(get ? { get() { return note(), get.call(this); } } : { value(...given) { return note(), value.apply(this, given); } }),
        });
      }
    };
    count(HTMLInputElement.prototype, ["value", "valueAsNumber", "defaultValue"]);
    count(HTMLElement.prototype, ["innerText", "offsetTop", "offsetHeight", "offsetWidth"]);
    count(Element.prototype, ["getBoundingClientRect", "getClientRects", "scrollTop", "scrollHeight", "clientHeight", "clientWidth", "innerHTML"]);
    count(window, ["getComputedStyle", "scrollY"]);
    window.onclick = (event) => event.preventDefault();
  });
  await page.evaluate(() => headwater.autocapture(true));
  await page.evaluate(async () => {
    for (let turn = 0; turn < 60; turn++) {
      document.querySelectorAll("button,a").forEach((element) => element.click());
      scrollBy(0, 40);
      document.body.append("more");
      await new Promise(requestAnimationFrame);
    }
  });
  await site.wait("Page Scrolled");
  const reads = await page.evaluate(() => reads);
  const { scrollTop, scrollHeight, clientHeight, clientWidth, ...others } = reads;
  assert.deepEqual(others, {});
  assert.ok(scrollTop >= 1 && scrollTop <= 20, `${scrollTop} reads in 60 frames`);
  assert.ok(scrollHeight <= scrollTop && clientHeight <= 2 * scrollTop && clientWidth <= scrollTop);
});

test("errors and rejections are said once each, ten a page at most, without queries", async () => {
  const page = await site.open(`<img src="/no-picture?x">`, "errors pages");
  await page.evaluate(() => {
    const fail = (message) => setTimeout(() => { throw new RangeError(message); });
    const often = () => fail("Too far at https://shop.example/a?secret#secret and /c?d=secret");
    often();
    often();
    Promise.reject(new TypeError("refused"));
    Promise.reject("plain");
    fail("ResizeObserver loop completed with undelivered notifications.");
  });
  const errors = await site.wait("Error Occurred", 3);
  const [thrown, rejected, plain] = errors.map(({ properties }) => properties).sort((one, other) => (one.kind < other.kind ? -1 : 1));
  assert.deepEqual(
    [thrown.kind, thrown.type, thrown.message],
    ["error", "RangeError", "Too far at https://shop.example/a and /c"],
  );
  assert.match(thrown.stack, /^RangeError: Too far at https:\/\/shop.example\/a and \/c\n\s+at .+:\d+:\d+/);
  assert.ok(thrown.line > 0 && thrown.column > 0);
  assert.deepEqual([rejected.kind, rejected.type, rejected.message], ["rejection", "TypeError", "refused"]);
  assert.deepEqual([plain.message, plain.stack], ["plain", undefined]);
  await page.evaluate(() => {
    for (let index = 0; index < 30; index++) Promise.reject(new Error(`n ${index} ` + "x".repeat(5000)));
  });
  await site.settled(page);
  assert.equal(site.events("Error Occurred").length, 10);
  assert.ok(site.events("Error Occurred").every(({ properties }) => properties.message.length <= 300 && !(properties.stack?.length > 2000)));
  // Another page, another ten.
  await page.evaluate(() => {
    history.pushState(null, "", "/other");
    Promise.reject("plain");
  });
  await site.wait("Error Occurred", 11);
  assert.ok(!site.wire().includes("secret"));
});

test("scrolling is said in quarters, the deepest alone where several are passed, each once a page", async () => {
  const page = await site.open(`<div style="height:${720 * 9}px">tall</div>`, "scroll");
  const down = async (windows) => {
    await page.evaluate((windows) => scrollTo(0, innerHeight * windows), windows);
    await rested(page);
  };
  for (const windows of [0.5, 1.3, 0, 99, 1, 99]) await down(windows);
  await page.evaluate(() => history.pushState(null, "", "/next"));
  for (const windows of [0, 4, 3]) await down(windows);
  await site.settled(page);
  assert.deepEqual(said(), [
    ["Page Scrolled", { depth: 25 }],
    ["Page Scrolled", { depth: 100 }],
    ["Page Scrolled", { depth: 50 }],
  ]);
});

test("what scrolls inside a page counts if it is as large as the page", async () => {
  const box = (id, size) => `<div id="${id}" style="overflow:auto;${size}"><div style="height:5000px">tall</div></div>`;
  const page = await site.open(box("app", "height:80vh") + box("low", "height:10vh") + box("narrow", "height:80vh;width:20vw"), "scroll");
  const down = (id, to = 9999) =>
    page.evaluate(([id, to]) => document.getElementById(id).scrollTo(0, to), [id, to]);
  for (const part of ["low", "narrow"]) {
    await down(part);
    await rested(page);
  }
  await down("app", 2500);
  await site.wait("Page Scrolled");
  await site.settled(page);
  assert.deepEqual(said(), [["Page Scrolled", { depth: 50 }]]);
});

test("a hundred clicks in ten seconds are said, and not one more, whoever makes them", async () => {
  const page = await site.open("<button>B</button>", "clicks errors");
  await page.evaluate(() => {
    for (let click = 0; click < 500; click++) document.querySelector("button").click();
    Promise.reject("still said");
  });
  await site.wait("Error Occurred");
  await site.settled(page);
  assert.equal(site.events("Button Clicked").length, 100);
});

test("a page whose policy allows its own scripts alone, and trusted types, is captured", async () => {
  site.headers = {
    "content-security-policy":
      `script-src 'self' 'wasm-unsafe-eval'; require-trusted-types-for 'script'; trusted-types 'none'; connect-src 'self' ${site.collector.endpoint}`,
  };
  site.head = site.tag(`data-autocapture="clicks"`);
  const page = await site.open("<button>B</button>");
  await until(async () => {
    await page.click("button");
    return site.events("Button Clicked").length;
  }, "a click that is captured");
  assert.deepEqual(said()[0], ["Button Clicked", { text: "B", selector: "html > body > button" }]);
  assert.equal(site.loads.filter((url) => url.includes("autocapture")).length, 1);
});

test("nothing is loaded unless asked; false ends it, and what was wrapped is as it was", async () => {
  const page = await site.open("<button>B</button>");
  await page.click("button");
  await site.settled(page);
  assert.deepEqual(site.loads.filter((url) => url.includes("autocapture")), []);
  // Where the browser does not tell of navigations.
  await page.evaluate(() => {
    Object.defineProperty(self, "navigation", { value: undefined });
    window.originals = [history.pushState, history.replaceState];
    window.listening = 0;
    window.disconnected = 0;
    for (const { prototype } of [IntersectionObserver, MutationObserver]) {
      const { disconnect } = prototype;
      prototype.disconnect = function () {
        disconnected++;
        return disconnect.call(this);
      };
    }
    const { addEventListener } = EventTarget.prototype;
    EventTarget.prototype.addEventListener = function (kind, act, options) {
      if (options?.signal) {
        listening++;
        options.signal.addEventListener("abort", () => listening--);
      }
      return addEventListener.call(this, kind, act, options);
    };
  });
  await page.evaluate(() => headwater.autocapture(true));
  assert.deepEqual(
    await page.evaluate(() => [history.pushState === originals[0], history.replaceState === originals[1], listening > 10]),
    [false, false, true],
  );
  await page.click("button");
  await site.wait("Button Clicked", 1);
  await page.evaluate(() => headwater.autocapture(false));
  assert.deepEqual(
    await page.evaluate(() => [history.pushState === originals[0], history.replaceState === originals[1], listening, disconnected]),
    [true, true, 0, 2],
  );
  const before = site.events("page").length;
  await page.click("button");
  await page.evaluate(() => {
    history.pushState(null, "", "/later");
    Promise.reject("after");
  });
  await site.settled(page);
  assert.equal(site.events("Button Clicked").length, 1);
  assert.equal(site.events("page").length, before);
  assert.equal(site.events("Error Occurred").length, 0);
});

test("as a module: the same file, beside the module, by its name", async () => {
  site.head = " ";
  const page = await site.browser.context.newPage();
  site.pages["/"] = `<button>B</button>`;
  await page.goto(site.url);
  await page.evaluate(async (endpoint) => {
    const { headwater } = await import("/headwater.mjs");
    headwater.load({ writeKey: "wk_test", endpoint });
    await headwater.autocapture({ only: ["clicks"] });
  }, site.collector.endpoint);
  await page.click("button");
  await site.wait("Button Clicked");
  assert.ok(site.loads.includes("/headwater-autocapture.js"));
});

test("what keeps it from running is said in the console, and not thrown into the page", async () => {
  const page = await site.open("<button>B</button>");
  const shown = [];
  const thrown = [];
  page.on("console", (message) => message.type() === "error" && shown.push(message.text()));
  page.on("pageerror", (error) => thrown.push(error.message));
  await page.evaluate(() => headwater.autocapture({ ignore: "[[" }));
  await until(() => shown.some((text) => /headwater:.*not a valid selector/s.test(text)), "the selector in the console");
  await site.browser.context.route("**/headwater-autocapture.js*", (route) => route.abort());
  await page.reload();
  await site.ready(page, true);
  await until(() => shown.some((text) => /headwater:.*dynamically imported/s.test(text)), "the file in the console");
  await site.wait("page", 2);
  assert.deepEqual(thrown, []);
});
