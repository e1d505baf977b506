/*
 * Messages that rules have for the person on this page. Promises one stream for each browser, held by the page that is looked at; that
 * a message is told to one page, and to none once it was shown; and that nothing is told to a page whose person has not agreed, or has
 * become somebody else meanwhile. A file of its own, loaded when somebody listens. Knows nothing of how a message is drawn.
 *
 * The lock is asked for while the page is visible and let go when it is not: a hidden page hears nothing, and what waits is told to
 * the next one. Without locks each visible page has a stream, and the list of what was shown keeps them apart.
 */
import { draw } from "./card";
import type { Client } from "./client";
import { monotonic, unix } from "./clock";
import { page, quote } from "./event";
import type { Headwater, Message, MessageListener } from "./types";

/** The wait before the next try, milliseconds: doubled each time, from the first to the last. */
const FIRST_MS = 1000;
const LONGEST_MS = 60000;
/** The collector says each 15 seconds that the stream is alive. */
const SILENT_MS = 45000;
/** How often it is looked whether the person is still the same, and still agrees. */
const LOOK_MS = 1000;
/** Messages that are remembered as shown: of no use after they expire, which is mostly hours. */
const MAX_SHOWN = 100;
/** As for the identity's own cookie. */
const MAX_AGE_S = 34560000;

/** The device's secret for this anonymous id. */
interface Kept {
  anonymousId: string;
  token: string;
}

type Inside = Client["inside"];

/** What is being listened to, so that a second listener needs no second stream. */
const watched = new WeakMap<Inside, () => void>();

/** Listens from now on, as long as there are listeners. */
export const run = async (inside: Inside, listeners: Set<MessageListener>, client: Headwater) => {
  if (!page) throw new TypeError("on('message') needs a page");
  await client.ready();
  if (!watched.has(inside)) watched.set(inside, watch(inside, client, listeners));
  watched.get(inside)!();
};

const watch = ({ options, endpoint, identity, storage, consent }: Inside, client: Headwater, listeners: Set<MessageListener>) => {
  const { writeKey, cookieless, cookieDomain = "" } = options;
  const name = "headwater:" + writeKey;
  const crumb = encodeURIComponent(name + ":device" + cookieDomain) + "=";

  let device: Kept | undefined;
  const fits = (kept: Kept | undefined | "", anonymousId: string) => (kept && kept.anonymousId == anonymousId && kept.token ? kept : undefined);
  const parsed = (text: () => string) => {
    try {
      return JSON.parse(text());
    } catch {
      // Absent, refused or not ours.
    }
  };
  /** In the cookie, which the site's other subdomains see, and in the database, which the other tabs do. */
  const keep = async (kept: Kept | undefined) => {
    device = kept;
    if (cookieless) return;
    page!.cookie =
      crumb + (kept ? encodeURIComponent(quote(kept)) : "") + ";path=/;samesite=lax;max-age=" + (kept ? MAX_AGE_S : 0) +
      (cookieDomain && ";domain=" + cookieDomain) + (location.protocol == "https:" ? ";secure" : "");
    if (!kept) await storage.swap("device", () => ({}));
  };
  const tokenOf = async (anonymousId: string) => {
    let kept = fits(device, anonymousId);
    if (kept) return kept.token;
    const own = () => ({
      anonymousId,
      token: btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(18)))).replace(/\+/g, "-").replace(/\//g, "_"),
    });
    if (!cookieless) {
      const found = page!.cookie.split("; ").find((one) => one.startsWith(crumb));
      kept = fits(found && parsed(() => decodeURIComponent(found.slice(crumb.length))), anonymousId);
      // One transaction: of two tabs, the second finds what the first has made.
      await storage.swap("device", (there) => (kept ??= fits(there, anonymousId) ?? own()));
    }
    kept ??= own();
    await keep(kept);
    return kept.token;
  };

  const shownHere = new Set<string>();
  const shownAnywhere = (): string[] => {
    const list = parsed(() => localStorage[name + ":shown"]);
    return Array.isArray(list) ? list : [];
  };
  const wasShown = (id: string) => shownHere.has(id) || shownAnywhere().includes(id);
  const noteShown = (id: string) => {
    shownHere.add(id);
    try {
      if (!cookieless) localStorage[name + ":shown"] = quote([...shownAnywhere(), id].slice(-MAX_SHOWN));
    } catch {
      // Refused: known as long as the page is.
    }
  };

  /** Told to the listeners of this page, and not shown yet. */
  const told = new Set<string>();
  const cards: Message[] = [];
  let drawn: (() => void) | undefined;

  const messageOf = (said: Omit<Message, "shown" | "clicked" | "dismissed">): Message => {
    const done = new Set<string>();
    const tell = (what: string) => {
      if (done.has(what)) return;
      done.add(what);
      const { id, rule, placement } = said;
      client.track("Message " + what, { message_id: id, rule, placement }, { category: "functional" });
    };
    const shown = () => {
      noteShown(said.id);
      tell("Shown");
    };
    return {
      ...said,
      shown,
      clicked: () => (shown(), tell("Clicked")),
      dismissed: () => (shown(), tell("Dismissed")),
    };
  };
  const drawNext = () => {
    if (drawn || !held) return;
    const message = cards.shift();
    if (!message) return;
    if (wasShown(message.id) || Date.parse(message.expiresAt) <= unix()) return drawNext();
    drawn = draw(message, () => {
      drawn = undefined;
      drawNext();
    });
    message.shown();
  };
  const hand = async (text: string) => {
    const said = JSON.parse(text);
    if (typeof said.id != "string" || told.has(said.id) || wasShown(said.id)) return;
    told.add(said.id);
    const message = messageOf(said);
    let taken = false;
    for (const listener of [...listeners])
      try {
        if ((await listener(message)) === true) taken = true;
      } catch (error) {
        // The page's own mistake: shown, and the message is not lost by it.
        reportError?.(error);
      }
    if (taken) return message.shown();
    if (message.placement != "card") return;
    cards.push(message);
    drawNext();
  };

  /** One that cannot be read must not keep those behind it. */
  const report = (error: unknown) => console.error("headwater: a message is left out:", error);

  /** Listens once; the wait until it is tried again, if somebody has said or nothing has failed. */
  const once = async (signal: AbortSignal): Promise<number | undefined> => {
    const { anonymousId, userId, consent: answers } = identity.now();
    if (consent.of("functional", answers) != "granted") {
      // Where nothing may be kept, the anonymous id is gone, too; otherwise the next yes finds the token that goes with it.
      if (!consent.allowed(answers)) await keep(undefined);
      return LOOK_MS;
    }
    const abort = new AbortController();
    const end = () => abort.abort();
    signal.addEventListener("abort", end);
    let heard = monotonic();
    let changed = false;
    const look = setInterval(() => {
      const now = identity.now();
      changed = now.anonymousId != anonymousId || now.userId != userId || consent.of("functional", now.consent) != "granted";
      if (changed || !listeners.size || monotonic() - heard > SILENT_MS) end();
    }, LOOK_MS);
    try {
      const token = await tokenOf(anonymousId);
      const response = await fetch(endpoint + "/v1/messages", {
        method: "POST",
        // Neither this nor a text needs a preflight.
        headers: { accept: "text/event-stream" },
        body: quote({ writeKey, anonymousId, token }),
        credentials: "omit",
        signal: abort.signal,
      });
      if (!response.ok) {
        const { error } = await response.json();
        // A subdomain may have been quicker: its token is in the cookie by now.
        if (response.status == 403) device = undefined;
        if (response.status < 500 && response.status != 429) {
          console.error("headwater: no messages:", error?.message);
          return LONGEST_MS;
        }
        return error?.retry_after_ms;
      }
      const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        // Quoted: the build shortens this name where it is ours.
        const { done, value } = await reader["read"]();
        if (done) break;
        heard = monotonic();
        const parts = (text + value).split("\n\n");
        text = parts.pop()!;
        for (const part of parts) {
          // Not a dot: it ends where some think that a line does, at U+2028.
          const data = /^data: ([^\n]*)/m.exec(part);
          if (data && identity.now().anonymousId == anonymousId && listeners.size) await hand(data[1]).catch(report);
        }
      }
    } catch {
      // Unreachable, ended, or not a collector's words.
    } finally {
      clearInterval(look);
      signal.removeEventListener("abort", end);
    }
    return changed ? 0 : undefined;
  };

  const follow = async (signal: AbortSignal) => {
    drawNext();
    let failures = 0;
    while (!signal.aborted && listeners.size) {
      const begun = monotonic();
      const wanted = await once(signal);
      if (signal.aborted) return;
      failures = wanted === 0 || monotonic() - begun > SILENT_MS ? 0 : failures + 1;
      const pause = wanted ?? Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures, 10));
      await new Promise<void>((done) => {
        // Some sooner, some later: those who lost one collector do not come back as one.
        const timer = setTimeout(done, Math.max(FIRST_MS, pause) * (0.75 + Math.random() / 2));
        signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
      });
    }
    held = undefined;
  };

  let held: AbortController | undefined;
  const act = () => {
    const wanted = page!.visibilityState == "visible" && !!listeners.size;
    if (!wanted) {
      held?.abort();
      held = undefined;
      // Whoever looks next is told what was not shown here.
      for (const { id } of cards.splice(0)) told.delete(id);
    } else if (!held) {
      const { signal } = (held = new AbortController());
      if (!navigator.locks) follow(signal);
      else navigator.locks.request(name + ":messages", { signal }, () => follow(signal)).catch(() => {});
    }
  };
  page!.addEventListener("visibilitychange", act);
  return act;
};
