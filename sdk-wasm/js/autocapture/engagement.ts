/*
 * How long somebody really looked: at the page, and at each element that its author marked with `data-hw-view`. Promises that the
 * `engaged_ms` of a page's events add up to the whole, that no more than one interval of it is lost if the tab is killed, and
 * that nothing runs while nobody looks. Knows nothing of pages: it is told when one becomes another.
 *
 * Time counts while the page is visible and in use: it has the focus, and there was a sign of life within `idleMs`. It is
 * measured between changes of that state, by the clock that never jumps; there is one timer, for the next thing that is due.
 */
import type { Masking } from "./masking";
import type { Watch } from "./watch";
import type { AutocaptureOptions, EventOptions, Fields } from "../types";

/** Long enough to read a screen of text, short against a lunch break. */
const IDLE_MS = 60000;
/** Most visits end in their first minute: they are told more exactly. */
const EARLY_MS = 10000;
const LATER_MS = 30000;
const EARLY_UNTIL_MS = 60000;
/** What is not yet a second is told with what follows it. */
const LEAST_MS = 1000;
const MAX_VIEWS = 100;
/** Of a long list of products in view, the ones with most to tell; the others are next. */
const MAX_TOLD = 20;
/** Half of an element, or of the window, must be seen. Steps of 2 %, since an element may be many windows tall. */
const THRESHOLDS = Array.from({ length: 51 }, (_, step) => step / 50);
/** New elements are looked for at most this often, and so many are taken at once: a few milliseconds on a slow phone. */
const SCAN_MS = 200;
const MAX_FRESH = 300;
const MARK = "data-hw-view";

/** A sum: what was told, and what is still to be told. */
interface Sum {
  told: number;
  untold: number;
  fields: Fields;
}
const nothing = (fields: Fields = {}): Sum => ({ told: 0, untold: 0, fields });

export const watchEngagement = (
  { on, send, ending }: Watch,
  masking: Masking,
  { idleMs = IDLE_MS }: AutocaptureOptions,
  depth: () => number,
  /** What events are told that belong to the page before. */
  context: () => EventOptions,
) => {
  const now = () => performance.now();
  let running = false;
  /** Up to when time is in the sums, while running. */
  let counted = 0;
  /** The last sign of life. */
  let alive = 0;
  let page = nothing();
  let views = new Map<string, Sum>();
  /** The elements in view, and their names. */
  const inView = new Map<Element, string>();
  let timer: ReturnType<typeof setTimeout> | undefined;

  /** Puts the time up to now into the sums; says whether it still runs. */
  const count = () => {
    if (running) {
      // A laptop that slept wakes its timers late: what lies behind the last sign of life does not count.
      const until = Math.min(now(), alive + idleMs);
      const passed = Math.max(0, until - counted);
      counted = until;
      page.untold += passed;
      for (const name of new Set(inView.values())) {
        const view = views.get(name);
        if (view) view.untold += passed;
      }
      running = now() < alive + idleMs;
    }
    return running;
  };
  const tell = (least = 1, most = MAX_VIEWS, options?: EventOptions) => {
    const say = (event: string, sum: Sum, fields: Fields) => {
      const engaged_ms = Math.floor(sum.untold);
      if (engaged_ms < least) return;
      sum.untold -= engaged_ms;
      sum.told += engaged_ms;
      send(event, { ...fields, engaged_ms, total_ms: sum.told }, options);
    };
    say("Page Engaged", page, { scroll_depth: depth() || undefined });
    [...views]
      .sort(([, one], [, other]) => other.untold - one.untold)
      .slice(0, most)
      .forEach(([view, sum]) => say("View Engaged", sum, { ...sum.fields, view }));
  };
  const interval = () => (page.told < EARLY_UNTIL_MS ? EARLY_MS : LATER_MS);
  const due = () => {
    const on = count();
    if (!on || page.untold >= interval()) tell(LEAST_MS, MAX_TOLD);
    if (on) arm();
  };
  const arm = () => {
    clearTimeout(timer);
    const wait = Math.min(interval() - page.untold, alive + idleMs - counted);
    timer = setTimeout(due, Math.max(1, Math.ceil(wait)));
  };
  const start = () => {
    // First: a look may have ended long before this sign of life, and its timer not have said so.
    const on = count();
    alive = now();
    if (on || document.hidden) return;
    running = true;
    counted = alive;
    arm();
  };
  const pause = (least = LEAST_MS) => {
    count();
    running = false;
    clearTimeout(timer);
    tell(least);
  };

  const observer = new IntersectionObserver(
    (entries) => {
      count();
      for (const { target, isIntersecting, intersectionRatio, intersectionRect, rootBounds } of entries) {
        const name = nameOf(target);
        // An element that was removed tells of it as well, and intersects nothing.
        if (name && isIntersecting && (intersectionRatio >= 0.5 || intersectionRect.height >= (rootBounds?.height ?? innerHeight) / 2))
          enter(target, name);
        else inView.delete(target);
      }
    },
    { threshold: THRESHOLDS },
  );
  const nameOf = (element: Element) => element.getAttribute(MARK)?.slice(0, 100);
  const enter = (element: Element, name: string) => {
    inView.set(element, name);
    if (!views.has(name) && views.size < MAX_VIEWS) views.set(name, nothing(masking.fieldsOf(element)));
  };
  const watched = new WeakMap<Element, string>();
  let scanning: ReturnType<typeof setTimeout> | undefined;
  const scan = () => {
    scanning = undefined;
    let fresh = 0;
    for (const element of document.querySelectorAll(`[${MARK}]`)) {
      const name = nameOf(element)!;
      if (watched.get(element) == name || masking.isIgnored(element)) continue;
      if (++fresh > MAX_FRESH) {
        scanning = setTimeout(scan, SCAN_MS);
        break;
      }
      watched.set(element, name);
      // Observed anew, an element tells where it is: also one that an application gave another name.
      observer.unobserve(element);
      observer.observe(element);
    }
  };
  const changes = new MutationObserver(() => (scanning ??= setTimeout(scan, SCAN_MS)));
  scan();
  changes.observe(document, { subtree: true, childList: true, attributeFilter: [MARK] });

  on(self, "pointermove pointerdown keydown wheel", ({ isTrusted }) => {
    if (!isTrusted) return;
    // What may come a hundred times a second notes the time, and nothing else.
    if (running && now() < alive + idleMs) alive = now();
    else start();
  });
  on(self, "focus", ({ target }) => target == self && start());
  on(self, "blur", ({ target }) => target == self && !document.hasFocus() && pause());
  on(document, "visibilitychange", () => (document.hidden ? pause() : start()));
  on(self, "pagehide", () => pause(1));
  ending(() => {
    pause(1);
    clearTimeout(scanning);
    observer.disconnect();
    changes.disconnect();
  });
  if (document.hasFocus()) start();

  return {
    /** The page is another one from now on: what is untold belongs to the last. */
    turn() {
      count();
      tell(1, MAX_VIEWS, context());
      page = nothing();
      views = new Map();
      // What stays in view is looked at on the new page as well.
      inView.forEach((name, element) => enter(element, name));
      if (running) arm();
    },
  };
};
