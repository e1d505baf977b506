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
  /** What may be kept and sent until the person answers: for all events, or by category. Default: `"granted"`. */
  consent?: Consent | Consents;
  /**
   * The categories that are denied, until the person says otherwise here, in a browser that asks for privacy (Global Privacy
   * Control); `false` for none. Default: all.
   */
  globalPrivacyControl?: Category[] | false;
  /** Keep nothing on the device: the anonymous id and the queue live as long as the page. Default: no. */
  cookieless?: boolean;
  /** The domain whose subdomains share the identity (`"shop.example"`). Default: the page's host alone. */
  cookieDomain?: string;
  /** Whether requests bring the collector's own cookie (its `[cookie]`) to another origin than the page's. Default: no. */
  credentials?: boolean;
  /** The properties and traits that may be sent, by name; all others are left out. Default: all may. */
  allow?: string[];
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
  /** What it is collected for: its consent counts. Default: `"analytics"`. */
  category?: Category;
  /** What the promise waits for: `"stored"` on the device (the default), or the collector's answer. */
  until?: "stored" | "acknowledged";
}

/** What became of a call. */
export interface Committed {
  /** The event's id: a UUID of version 7. */
  messageId: string;
  /**
   * Whether the event is in the browser's storage. If not, it is in memory, and is sent from there; or it may not be kept at all:
   * its category is denied, `before` dropped it, or this is a server.
   */
  durable: boolean;
  /** What the collector made of it, where the call waited `until` it was acknowledged. */
  outcome?: "accepted" | "duplicate" | "quarantined" | "refused" | "dropped";
}

/** Whether events may be kept and sent. */
export type Consent = "pending" | "granted" | "denied";

/** What events are collected for: each has its own answer about consent. */
export type Category = "analytics" | "marketing" | "functional" | "necessary";

/** Answers by category. */
export type Consents = Partial<Record<Category, Consent>>;

/** Who the person is, as far as this browser knows. */
export interface User {
  anonymousId: string;
  userId?: string;
}

/** An event as `before` gets it: Segment's fields. */
export interface Event extends Fields {
  readonly type: string;
  readonly messageId: string;
  context: Record<string, any>;
}

/** Why an event was given up. */
export type DropReason =
  | "queue_full"
  | "too_old"
  | "too_large"
  | "refused"
  | "unnumbered"
  | "denied"
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

/** What a rule says to the person on this page. Texts are plain: set them as `textContent`. */
export interface Message {
  readonly id: string;
  /** The rule that says it. */
  readonly rule: string;
  /** Where in the page it belongs. What is for `card` the SDK draws, unless a listener says that it has. */
  readonly placement: string;
  readonly title: string | null;
  readonly body: string | null;
  /** What is to be pressed, and where it leads: a path, or an address with its scheme. */
  readonly button: string | null;
  readonly url: string | null;
  /** What the rule says beside, by name. */
  readonly data: Record<string, string>;
  /** When it is of no use any more: ISO 8601. */
  readonly expiresAt: string;
  /** The person has seen it: it is told to no page and no device again. Sends `Message Shown`, once. */
  shown(): void;
  /** The person followed it. Sends `Message Clicked`, once. */
  clicked(): void;
  /** The person closed it. Sends `Message Dismissed`, once. */
  dismissed(): void;
}

/**
 * Hears of a message. `true`, now or later: it is shown, the SDK draws nothing. Otherwise the SDK draws what is for `card`; what is for
 * another placement stays unseen until `message.shown()` is called, and is told again at the next visit.
 */
export type MessageListener = (message: Message) => unknown;

/**
 * The client. Every verb returns at once; its promise resolves when the event is committed to storage, and is rejected (and
 * the error shown in the console) if there is no event: a name or an id is missing, or the fields have no JSON form.
 */
export interface Headwater {
  load(options: LoadOptions): void;
  track(event: string, properties?: object, options?: EventOptions): Promise<Committed>;
  identify(userId?: string | null, traits?: object, options?: EventOptions): Promise<Committed>;
  identify(traits: object, options?: EventOptions): Promise<Committed>;
  page(name?: string, properties?: object, options?: EventOptions): Promise<Committed>;
  page(properties: object, options?: EventOptions): Promise<Committed>;
  page(
    category: string,
    name: string,
    properties?: object,
    options?: EventOptions,
  ): Promise<Committed>;
  screen(name?: string, properties?: object, options?: EventOptions): Promise<Committed>;
  screen(properties: object, options?: EventOptions): Promise<Committed>;
  screen(
    category: string,
    name: string,
    properties?: object,
    options?: EventOptions,
  ): Promise<Committed>;
  group(groupId: string, traits?: object, options?: EventOptions): Promise<Committed>;
  /** From now on the person is `userId`, who was `previousId` (default: the user id so far, else the anonymous id). */
  alias(userId: string, previousId?: string, options?: EventOptions): Promise<Committed>;
  /** The person signed out: a new anonymous id, no user id, a new session with the next event. */
  reset(): void;
  /** Sends what there is now. Resolves when every call so far is committed. */
  flush(): Promise<void>;
  /** The person's answer, for all events or by category. `"denied"` deletes what is kept; the answers are remembered. */
  consent(answer: Consent | Consents): void;
  /** Who the person is; nothing before `load`. */
  user(): User | undefined;
  /** Another anonymous id, from now on: one that your server gave, say. */
  setAnonymousId(anonymousId: string): void;
  /** Resolves, and calls `act`, when the client is loaded and the identity of earlier visits is there. */
  ready(act?: () => void): Promise<void>;
  /**
   * Shows each event to `look` before it is kept, in the order of these calls. What it returns is kept in its place, `null` drops the event,
   * and so does an error. `type` and `messageId` stay; `look` cannot be asynchronous.
   */
  before(look: (event: Event) => Event | null | void): void;
  /** Prints what waits, what the collector said last, what was dropped, what the person agreed to, and which options are mistyped. */
  debug(): Promise<void>;
  /**
   * Events without code. Loads `headwater-autocapture.js` when it is first asked for; `false` ends it, anything else begins anew:
   * `true` for all, a list of words (`"pages clicks"`) for these parts. Resolves when it runs, or
   * the console says why not. The table of its events is in the README.
   */
  autocapture(what: boolean | string | AutocaptureOptions): Promise<void>;
  /** Calls `listener` at each such report, whichever tab it comes from; returns what stops it. */
  on<Name extends keyof Reports>(name: Name, listener: (report: Reports[Name]) => void): () => void;
  /**
   * Hears of messages that rules have for this person, while the page is looked at, whichever page of this browser that is: each is told to one.
   * Loads `headwater-message.js` when it is first asked for. Needs consent for `functional`.
   */
  on(name: "message", listener: MessageListener): () => void;
  /** Stops it, too. */
  off(name: "message", listener: MessageListener): void;
  off<Name extends keyof Reports>(name: Name, listener: (report: Reports[Name]) => void): void;
}
