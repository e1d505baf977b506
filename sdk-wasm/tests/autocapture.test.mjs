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
      { text: "Elsewhere", selector: "html > body > main > p:nth-of-type(1) > a", href: "https://other.example/a/b", host: "other.example" }],
    ["File Downloaded",
      { text: "Manual", selector: "html > body > main > p:nth-of-type(2) > a:nth-of-type(1)", href: `${origin}/files/manual.pdf`, file: "manual.pdf" }],
    ["File Downloaded",
      { text: "Photo", selector: "html > body > main > p:nth-of-type(2) > a:nth-of-type(2)", href: `${origin}/x/photo`, file: "photo" }],
    ["Link Clicked", { text: "Write", selector: "html > body > main > a:nth-of-type(2)", href: "mailto:" }],
    ["Button Clicked", { text: "Add to cart", selector: "html > body > main > section > button:nth-of-type(1)" }],
    ["Button Clicked", { text: "×", selector: "html > body > main > section > button:nth-of-type(2)" }],
    ["Button Clicked", { text: "Send it", selector: "html > body > main > input" }],
    ["Button Clicked", { text: "Tab me", selector: "html > body > main > div" }],
  ]);
});
