/*
 * A call becomes an event's text: its id, its time, its JSON with `context` last. Promises the same bytes as the core's
 * golden files, made once and never parsed again; knows nothing of storage, numbers or sending.
 *
 * A UUID of version 7 is time and randomness; randomness is drawn for 128 ids at a time, since asking the browser costs
 * more than the rest of a call.
 */
import { iso, unix } from "./clock";

export const quote = JSON.stringify;

const hex = Array.from({ length: 256 }, (_, byte) => (byte + 256).toString(16).slice(1));
const pool = new Uint8Array(1280);
let used = pool.length;
let latest = -1;
let time = "";
const random = () => hex[pool[used++]];

/** A UUID of version 7 for this time. */
export const uuid = (ms: number) => {
  if (used == pool.length) {
    crypto.getRandomValues(pool);
    used = 0;
  }
  if (ms != latest) {
    latest = ms;
    const digits = ms.toString(16).padStart(12, "0");
    time = digits.slice(0, 8) + "-" + digits.slice(8) + "-7";
  }
  return (
    time + random().slice(1) + random() + "-" + hex[(pool[used++] & 63) | 128] + random() + "-" +
    random() + random() + random() + random() + random() + random()
  );
};

/** `,"name":value`, or nothing. */
export const member = (name: string, value: unknown) => {
  const text = value == null ? value : quote(value);
  return text ? ',"' + name + '":' + text : "";
};

/** The text. `head`, `who` and `body` are members; `context` is an object with at least one. */
export const textOf = (
  type: string,
  head: string,
  messageId: string,
  who: string,
  at: number,
  body: string,
  context: string,
) =>
  '{"type":"' + type + '"' + head + ',"messageId":"' + messageId + '"' + who +
  ',"timestamp":"' + iso(at) + '"' + body + ',"context":' + context + "}";

/** The page, which a worker does not have, and a server even less. */
export const page = globalThis.document as Document | undefined;

/** Of an event's context: what is added as it is sent (`batch.ts`), and would be there twice; and what would make no object of it. */
export const ADDED = { sessionId: undefined, sessionStart: undefined, headwater: undefined, toJSON: undefined };

/** Whether the title was looked at in this microtask: asking for it costs as much as the rest of a call. */
let looked = false;

/**
 * The `context` of an event that happens now, as text, for a client that adds `always`. It is made anew when the page's address changes,
 * and its title with the next microtask or page view.
 */
export const createContext = (always?: object) => {
  let seen: string | undefined = "";
  let title: string | undefined;
  let kept: string;
  let base: Record<string, unknown>;
  return (own?: object) => {
    const look = !looked;
    if (look) queueMicrotask(() => (looked = false));
    looked = true;
    if (page?.URL != seen || (look && page?.title != title)) {
      seen = page?.URL;
      title = page?.title;
      base = {
        library: { name: "headwater.js", version: VERSION },
        page: pageNow(),
        userAgent: navigator.userAgent,
        userAgentData: (navigator as { userAgentData?: object }).userAgentData,
        locale: navigator.language,
        timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
        screen: page && { width: screen.width, height: screen.height, density: devicePixelRatio },
        campaign: campaign(),
        ...always,
        ...ADDED,
      };
      kept = quote(base);
    }
    return own ? quote({ ...base, ...own, ...ADDED }) : kept;
  };
};

/** What is known of the page itself, if there is one. */
export const pageNow = () => {
  looked = false;
  return page && {
    url: location.href,
    path: location.pathname,
    search: location.search || undefined,
    referrer: page.referrer || undefined,
    title: page.title,
  };
};

/**
 * The campaign in the page's address: `utm_*`, as Segment names them, and what advertisers add to know a click again (`gclid`, `fbclid`,
 * `msclkid` and the like by Google, Meta, Microsoft, TikTok, X, LinkedIn), by their own names.
 */
const campaign = () => {
  let found: Record<string, string> | undefined;
  // A worker's address is that of its script.
  if (page) new URLSearchParams(location.search).forEach((value, name) => {
    const [, utm, click] = /^utm_(.+)|^([a-z]*clid|[gw]braid|li_fat_id)$/.exec(name) ?? [];
    if (utm || click) (found ??= {})[utm == "campaign" ? "name" : utm || click] = value;
  });
  return found;
};

/** A number that differs when the campaign of the page's address does; 0 for none. */
export const campaignNow = () => {
  let hash = 0;
  for (const char of quote(campaign()) ?? "") hash = (hash * 31 + char.charCodeAt(0)) >>> 0;
  return hash;
};

/** The time that an event names for itself, or now. */
export const timeOf = (given: Date | string | number | undefined, called = unix()) => {
  const at = given == null ? called : +new Date(given);
  return at >= 0 && at < 253402300800000 ? Math.floor(at) : called;
};
