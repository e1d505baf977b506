/*
 * Which page is being looked at, and when it becomes another one. Promises one page view for each, none twice for the same address, none
 * for an address that is replaced at once (a redirect), and that nothing of the browser is changed where it tells of
 * navigations itself; elsewhere the history's two functions are wrapped, and put back. Knows nothing of what is done on a page.
 */
import type { Watch } from "./watch";
import type { AutocaptureOptions, EventOptions, Fields, Headwater } from "../types";

/** An application sets the title after the address; and a redirect is over by then. */
const SETTLES_MS = 50;

/** A page as the SDK describes it in `context.page`. */
const standing = (): Fields => ({
  url: location.href,
  path: location.pathname,
  search: location.search || undefined,
  referrer: document.referrer || undefined,
  title: document.title,
});

export const watchPages = (
  { on, ending }: Watch,
  { hash }: AutocaptureOptions,
  /** Says a page view, if those are wanted. */
  say: Headwater["page"] | undefined,
  /** The address of the last page view that anybody said. */
  seen: () => string,
  /** The page was left for another one in the same document. */
  turned: () => void,
) => {
  /** What makes an address another page, and the same without its query. */
  const known = (url: string) => (hash ? url : url.split("#", 1)[0]!);
  const place = (url: string) => known(url).replace(/\?[^#]*/, "");
  let here = standing();
  let pending: { at: number; from: string; again?: boolean } | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const settle = () => {
    if (!pending) return;
    clearTimeout(timer);
    const { at, from, again } = pending;
    pending = undefined;
    here = standing();
    // The application may have said it itself by now.
    if (say && (again || known(seen()) != known(location.href)))
      say(again ? {} : { referrer: known(from) }, { timestamp: at });
  };
  const turn = (again?: boolean) => {
    // A page that was replaced before it had settled was none.
    if (!pending) turned();
    pending = { at: Date.now(), from: pending?.from ?? String(here.url), again };
    here = standing();
    clearTimeout(timer);
    timer = setTimeout(settle, SETTLES_MS);
  };
  const moved = (replaced?: boolean) => {
    const [was, is] = [String(here.url), location.href];
    // What replaces an address and keeps its path notes something in it: a filter, a search as it is typed.
    const part = replaced ? place : known;
    if (part(was) != part(is)) turn();
    else if (is != was) here = standing();
  };

  const { navigation } = self as { navigation?: EventTarget & { currentEntry: unknown } };
  if (navigation?.currentEntry)
    on<Event & { navigationType: string }>(navigation, "currententrychange", ({ navigationType }) =>
      moved(navigationType == "replace"),
    );
  else {
    for (const name of ["pushState", "replaceState"] as const) {
      const original = history[name];
      const wrapped: typeof original = function (this: History, ...given) {
        original.apply(this, given);
        try {
          if (!over) moved(name == "replaceState");
        } catch {
          // Never into the page.
        }
      };
      history[name] = wrapped;
      ending(() => {
        // Whoever wrapped it after us calls ours, which does nothing any more.
        if (history[name] == wrapped) history[name] = original;
      });
    }
    on(self, "popstate hashchange", () => moved());
  }
  let over = false;
  ending(() => {
    over = true;
    clearTimeout(timer);
  });
  const first = () => {
    if (!seen()) return turn(true);
    // The application may have moved on while this file was on its way.
    here.url = seen();
    moved();
  };
  // A page that is rendered ahead is seen only when it is shown.
  if ((document as { prerendering?: boolean }).prerendering) on(document, "prerenderingchange", first);
  else first();
  on<PageTransitionEvent>(self, "pageshow", ({ persisted }) => persisted && turn(true));
  on(self, "pagehide", settle);
  on(document, "visibilitychange", () => document.hidden && settle());

  return {
    settle,
    /** What events are told of the page they belong to, where that is no longer the one that is shown. */
    context: (): EventOptions => ({ context: { page: here } }),
  };
};
