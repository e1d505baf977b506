/*
 * How a message is drawn where the page does not draw it: a small card in a corner, above everything. Promises that it takes no focus, is
 * read out, can be closed by the keyboard, is light or dark with the page it is on, and that what a message says is text and
 * runs nothing. Looks are a page's to change: `headwater-message::part(card)`, `--headwater-accent` and the like. Knows nothing of where messages
 * come from.
 */
import { page } from "./event";
import type { Message } from "./types";

// It fades in, and moves nothing: nobody has to ask for less of it.
// By the page's own `color-scheme`, as its buttons and scrollbars: a page that asks for none is light, whatever the system prefers. What knows no
// `light-dark()` (before 2024) draws it light.
const LOOKS = `
:host{all:initial;color-scheme:inherit;position:fixed;inset-block-end:16px;inset-inline-end:16px;z-index:2147483000;max-inline-size:min(360px,calc(100vw - 32px));
--b:var(--headwater-background,#fff);--t:var(--headwater-text,#1c2127);--m:var(--headwater-muted,#5b6470);--a:var(--headwater-accent,#1f5fd6);--o:var(--headwater-on-accent,#fff)}
@supports(color:light-dark(red,red)){:host{--b:var(--headwater-background,light-dark(#fff,#1d2228));--t:var(--headwater-text,light-dark(#1c2127,#eef1f4));--m:var(--headwater-muted,light-dark(#5b6470,#a9b2bd));--a:var(--headwater-accent,light-dark(#1f5fd6,#8ab4ff));--o:var(--headwater-on-accent,light-dark(#fff,#0d1b33))}}
[part=card]{position:relative;box-sizing:border-box;padding:16px;padding-inline-end:48px;border-radius:var(--headwater-radius,12px);background:var(--b);color:var(--t);
box-shadow:0 0 0 1px rgb(127 127 127/.25),0 8px 28px rgb(0 0 0/.22);font:15px/1.45 var(--headwater-font,system-ui,sans-serif);overflow-wrap:anywhere;animation:in .18s}
@keyframes in{from{opacity:0}}
[part=title]{margin:0 0 4px;font-weight:600;font-size:16px}
[part=body]{margin:0;color:var(--m);white-space:pre-line;max-block-size:40vh;overflow:auto}
[part=button]{display:inline-block;box-sizing:border-box;min-block-size:40px;margin-block-start:12px;padding:9px 16px;border:0;border-radius:8px;background:var(--a);color:var(--o);font:inherit;font-weight:600;text-decoration:none;cursor:pointer}
[part=close]{position:absolute;inset-block-start:4px;inset-inline-end:4px;inline-size:40px;block-size:40px;border:0;border-radius:8px;background:none;color:var(--m);font:22px/1 system-ui,sans-serif;cursor:pointer}
:focus-visible{outline:2px solid var(--a);outline-offset:2px}`;

/** Draws it; `gone` is called when it is away. Gives back what takes it away. */
export const draw = (message: Message, gone: () => void) => {
  const host = page!.createElement("headwater-message");
  const root = host.attachShadow({ mode: "open" });
  const looks = new CSSStyleSheet();
  looks.replaceSync(LOOKS);
  // A sheet that is adopted needs no `unsafe-inline` of the page's policy.
  root.adoptedStyleSheets = [looks];
  const make = (tag: string, part: string, text?: string | null) => {
    const element = page!.createElement(tag);
    element.setAttribute("part", part);
    if (text) element.textContent = text;
    return element;
  };
  const away = () => {
    host.remove();
    gone();
  };
  const { title, body, button, url } = message;

  // Screen readers say what comes into a region that was there before.
  const region = make("div", "region");
  region.setAttribute("role", "status");
  const card = make("div", "card");
  card.setAttribute("role", "group");
  card.setAttribute("aria-label", title || body || "");
  if (title) card.append(make("p", "title", title));
  if (body) card.append(make("p", "body", body));
  if (button) {
    // An app's own address leads nowhere from a page.
    const leads = url && /^(https?:\/\/|\/(?![/\\]))/i.test(url);
    const press = make(leads ? "a" : "button", "button", button);
    if (leads) press.setAttribute("href", url);
    press.addEventListener("click", () => {
      message.clicked();
      away();
    });
    card.append(press);
  }
  const close = make("button", "close", "×");
  // The page's language says it, where the rule has the word.
  close.setAttribute("aria-label", message.data.close || "Close");
  const dismiss = () => {
    message.dismissed();
    away();
  };
  close.addEventListener("click", dismiss);
  card.append(close);
  card.addEventListener("keydown", (event) => {
    if (event.key == "Escape") dismiss();
  });
  root.append(region);
  page!.body.append(host);
  setTimeout(() => region.append(card));
  return away;
};
