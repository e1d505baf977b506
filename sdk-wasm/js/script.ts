/*
 * The classic script `headwater.js`: the global `headwater`, the calls that were queued before it was there, and `load` from the
 * tag's attributes (`data-write-key`, `data-endpoint`, `data-autocapture`). Promises that a queued call keeps its time, where the queue noted
 * it; knows nothing of events.
 *
 * A queue is an array of calls: ["track", "Clicked", {…}], or ["track", ["Clicked", {…}], Date.now()].
 */
import { create } from "./index";
import type { Headwater, LoadOptions } from "./types";

type Queued = [verb: keyof Headwater, ...given: unknown[]];

const tag = document.currentScript as HTMLScriptElement;
const page = self as unknown as { headwater?: Queued[] | Headwater };
const queued = page.headwater;

const start = (calls: Queued[]) => {
  const base = new URL(".", tag.src).href.slice(0, -1);
  const { headwater, at } = create(base, {
    autocapture: () => import(base + "/headwater-autocapture.js?v=" + AUTOCAPTURE),
    debug: () => import(base + "/headwater-debug.js?v=" + VERSION),
  });
  /** Makes these calls, at their time if they noted it. */
  const push = (...calls: Queued[]) => {
    for (const [verb, first, time, ...rest] of calls) {
      const listed = Array.isArray(first);
      const given = listed ? first : [first, time, ...rest];
      at(listed ? (time as number) : undefined, () =>
        (headwater[verb] as (...given: unknown[]) => unknown)?.(...given),
      );
    }
  };
  page.headwater = Object.assign(headwater, { push });
  const { writeKey, cookieless, credentials, ...given } = tag.dataset as unknown as LoadOptions;
  if (writeKey) headwater.load({ ...given, writeKey, cookieless: cookieless != null, credentials: credentials != null });
  push(...calls);
};

// Where the script is on the page twice, the first one goes on.
if (!queued || Array.isArray(queued)) start(queued ?? []);
