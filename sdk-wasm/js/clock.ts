/*
 * The page's two clocks, and a time as the wire writes it. Promises whole milliseconds;
 * knows nothing of events or of what is done with a time.
 */

/** Milliseconds since 1970 by the device's clock, which may jump. */
export const unix = Date.now;

/** Milliseconds of a clock that never goes back. */
export const monotonic = () => Math.floor(performance.now());

let second = -1;
let prefix = "";
let latest = -1;
let text = "";

/** `2026-11-22T00:17:58.123Z`. The part up to the second is kept: `toISOString` costs more than the rest of a call. */
export const iso = (ms: number) => {
  if (ms == latest) return text;
  latest = ms;
  const at = Math.floor(ms / 1000);
  if (at != second) {
    second = at;
    prefix = new Date(at * 1000).toISOString().slice(0, -4);
  }
  return (text = prefix + String(ms - at * 1000 + 1000).slice(1) + "Z");
};
