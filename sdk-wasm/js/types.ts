/*
 * What a page can say to Headwater, and what it hears back: the public types, published as `headwater.d.ts`.
 * Promises that nothing else is public; holds no code.
 */

/** Any JSON object. What has no JSON form (functions, `undefined`) is left out as `JSON.stringify` does. */
export type Fields = Record<string, unknown>;

/** How a page loads Headwater. */
export interface LoadOptions {
  /** The source's public key. */
  writeKey: string;
  /** Origin of the collector, with an optional path prefix. Default: where the script came from. */
  endpoint?: string;
  /**
   * Address of `headwater.wasm`. Default: beside the script, or at the endpoint where nobody knows where the script is from (in a
   * classic worker, or inline). `headwater.core.js` is expected beside it.
   */
  wasm?: string;
  /** Fields that every event's `context` gets. */
  context?: Fields;
  /** Events without code: see `Headwater.autocapture`. Default: none, and nothing more is loaded. */
  autocapture?: boolean | string | AutocaptureOptions;
}

/** What autocapture watches: page views, clicks, submitted forms, scroll depth, engaged time, errors. */
export type AutocapturePart = "pages" | "clicks" | "forms" | "scroll" | "engagement" | "errors";

/** How autocapture watches. */
export interface AutocaptureOptions {
  /** These parts alone. Default: all. */
  only?: AutocapturePart[];
  /** Whether another fragment (`#/orders`) is another page. Default: no. */
  hash?: boolean;
  /** Whether the text of links and buttons is read. Default: yes. */
  text?: boolean;
  /** A CSS selector: elements that are left out like those with `data-hw-ignore`, with what is in them. */
  ignore?: string;
  /** Time without a sign of life after which nobody looks any more, milliseconds. Default: 60,000. */
  idleMs?: number;
}

/** What one call may add to its event. */
export interface EventOptions {
  /** Fields for this event's `context`; they replace those of the same name. */
  context?: Fields;
  /** For servers that route by destination. */
  integrations?: Fields;
  /** When it happened, if not now. */
  timestamp?: Date | string | number;
}

/** What became of a call. */
export interface Committed {
  /** The event's id: a UUID of version 7. */
  messageId: string;
  /** Whether the event is in the browser's storage. If not, it is in memory, and is sent from there. */
  durable: boolean;
}

/** Whether events may be kept and sent. */
export type Consent = "pending" | "granted" | "denied";

/** Why an event was given up. */
export type DropReason =
  | "queue_full"
  | "too_old"
  | "too_large"
  | "refused"
  | "unnumbered"
  | "storage_lost";

/** What `on` can be asked for, and what its listener is given. */
export interface Reports {
  /** An event was given up, and why. */
  dropped: { messageId?: string; reason: DropReason };
  /** The collector does not take this key (401, 403): nothing is sent until `flush()`. */
  stopped: { status: number };
  /** A transaction failed: its events live in memory alone. */
  not_durable: Record<string, never>;
  /** What was saved could not be read: a new queue has begun. */
  state_lost: Record<string, never>;
  /** The core could not be loaded, or stopped: events are kept, and it is tried again. */
  core_failed: { error: unknown };
}

/**
 * The client. Every verb returns at once; its promise resolves when the event is committed to storage, and is rejected (and
 * the error shown in the console) if there is no event: a name or an id is missing, or the fields have no JSON form.
 */
export interface Headwater {
  load(options: LoadOptions): void;
  track(event: string, properties?: Fields, options?: EventOptions): Promise<Committed>;
  identify(userId?: string | null, traits?: Fields, options?: EventOptions): Promise<Committed>;
  identify(traits: Fields, options?: EventOptions): Promise<Committed>;
  page(name?: string, properties?: Fields, options?: EventOptions): Promise<Committed>;
  page(properties: Fields, options?: EventOptions): Promise<Committed>;
  page(
    category: string,
    name: string,
    properties?: Fields,
    options?: EventOptions,
  ): Promise<Committed>;
  screen(name?: string, properties?: Fields, options?: EventOptions): Promise<Committed>;
  screen(properties: Fields, options?: EventOptions): Promise<Committed>;
  screen(
    category: string,
    name: string,
    properties?: Fields,
    options?: EventOptions,
  ): Promise<Committed>;
  group(groupId: string, traits?: Fields, options?: EventOptions): Promise<Committed>;
  /** From now on the person is `userId`, who was `previousId` (default: the user id so far, else the anonymous id). */
  alias(userId: string, previousId?: string, options?: EventOptions): Promise<Committed>;
  /** The person signed out: a new anonymous id, no user id, a new session with the next event. */
  reset(): void;
  /** Sends what there is now. Resolves when every call so far is committed. */
  flush(): Promise<void>;
  /** The person's answer. `"denied"` deletes what is kept; the answer is remembered. */
  consent(answer: Consent): void;
  /**
   * Events without code. Loads `headwater-autocapture.js` when it is first asked for; `false` ends it, anything else begins anew:
   * `true` for all, a list of words (`"pages clicks"`) for these parts. Resolves when it runs, or
   * the console says why not. The table of its events is in the README.
   */
  autocapture(what: boolean | string | AutocaptureOptions): Promise<void>;
  /** Calls `listener` at each such report; returns what stops it. */
  on<Name extends keyof Reports>(name: Name, listener: (report: Reports[Name]) => void): () => void;
}
