/*
 * How the parts of autocapture listen and speak. Promises that one `stop` ends every listener, that nothing thrown here reaches the
 * page, and that no handler delays a scroll or comes too late: all are passive, and capture, so that they run before the
 * page's own, and before the SDK sends what it has as the page is left. Knows nothing of what is listened for.
 */
import type { EventOptions, Fields, Headwater } from "../types";

/** What a part is given. */
export interface Watch {
  /** Calls `act` at each of these events, until autocapture stops. */
  on<Kind extends Event>(target: EventTarget, kinds: string, act: (event: Kind) => void): void;
  /** Makes an event. */
  send(event: string, properties: Fields, options?: EventOptions): void;
  /** The same, at most `MAX_EVENTS` times in `WINDOW_MS`: for what a loop of the page's own can do as well, like clicking. */
  sendOften(event: string, properties: Fields): void;
  /** Called once, when autocapture stops. */
  ending(end: () => void): void;
}

/** A person who taps as fast as they can makes 60 events in ten seconds. */
const MAX_EVENTS = 100;
const WINDOW_MS = 10000;

/** `before` runs before anything is sent: what is still to be said comes first. */
export const createWatch = (client: Pick<Headwater, "track">, before: () => void) => {
  const ended = new AbortController();
  const { signal } = ended;
  let since = 0;
  let sent = 0;

  const watch: Watch = {
    on: (target, kinds, act) => {
      const guarded = (event: Event) => {
        try {
          // Where `signal` is not known to addEventListener, listeners stay, and do nothing.
          if (!signal.aborted) act(event as never);
        } catch {
          // A hostile or strange document: this one is not captured.
        }
      };
      for (const kind of kinds.split(" "))
        target.addEventListener(kind, guarded, { capture: true, passive: true, signal });
    },
    send(event, properties, options) {
      before();
      client.track(event, properties, options);
    },
    sendOften(event, properties) {
      const now = performance.now();
      if (now - since > WINDOW_MS) {
        since = now;
        sent = 0;
      }
      if (sent++ < MAX_EVENTS) watch.send(event, properties);
    },
    ending: (end) => signal.addEventListener("abort", end),
  };
  return { watch, stop: () => ended.abort() };
};
