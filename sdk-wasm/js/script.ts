/*
 * The classic script `headwater.js`: the global `headwater`, the calls that were queued before it was there, and `load` from the
 * tag's attributes (`data-write-key`, and every option that is a word: `data-endpoint`, `data-autocapture`). Promises that a queued call
 * keeps its time, where the queue noted it; knows nothing of events.
 *
 * A queue is an array of calls: ["track", "Clicked", {…}], or ["track", ["Clicked", {…}], Date.now()].
 */
import type { Place } from "./client";
import { create } from "./index";
import { page } from "./event";
import type { Headwater, LoadOptions } from "./types";

type Queued = [verb: keyof Headwater, ...given: unknown[]];

/** None in a worker, one without an address where the script stands in the page itself. */
const tag = page?.currentScript as HTMLScriptElement | undefined;
const shared = self as unknown as { headwater?: Queued[] | Headwater };
const queued = shared.headwater ?? [];

/** Where the files are: beside the script, or at the collector if nobody knows where the script is from. */
let base = tag?.src ? new URL(".", tag.src).href.slice(0, -1) : "";
const place: Place = ({ endpoint = base, wasm }) => {
  endpoint = endpoint.replace(/\/+$/, "");
  base ||= endpoint;
  return [endpoint, wasm ?? base + "/headwater.wasm?v=" + TAG];
};
const make = () => create(place, (name) => import(base + "/headwater-" + name + ".js?v=" + TAG));

const start = (calls: Queued[]) => {
  const { headwater, at } = make();
  /** Makes these calls, at their time if they noted it. */
  const push = (...calls: Queued[]) => {
    for (let [verb, ...given] of calls) {
      let time: unknown;
      if (Array.isArray(given[0])) [given, time] = given as [unknown[], unknown];
      at(time as number | undefined, () => (headwater[verb] as (...given: unknown[]) => unknown)?.(...given));
    }
  };
  shared.headwater = Object.assign(headwater, { push, another: () => make().headwater });
  const given = tag?.dataset as unknown as LoadOptions | undefined;
  // Attributes without a value count by being there.
  if (given?.writeKey)
    headwater.load({ ...given, cookieless: given.cookieless != null, credentials: given.credentials != null });
  push(...calls);
};

// Where the script is on the page twice, the first one goes on.
if (Array.isArray(queued)) start(queued);
