/*
 * Who the person is, as far as this browser knows: anonymous id, user id, the answers about consent. Promises both ids at
 * hand the moment a call is made, the same in every tab and worker (and on every subdomain, when asked); and that nothing but
 * the answers is kept of somebody who said no. Knows nothing of events, and keeps no traits (the profile is the collector's).
 *
 * A cookie, which other subdomains see, and localStorage are what is read synchronously; IndexedDB keeps a copy, from which both
 * are restored when they were cleared, and which is all that workers have. What changed last counts. With none of them, the identity
 * lives as long as the page.
 */
import { member, page, quote, uuid } from "./event";
import { unix } from "./clock";
import { keptAnswers } from "./consent";
import type { Consents, LoadOptions } from "./types";

/** What is kept. */
export interface Kept {
  anonymousId?: string;
  userId?: string;
  consent?: Consents;
  /** When that was last changed, unix milliseconds; 0 if nobody has said anything yet. */
  at: number;
}

/** How far two clocks of one person may differ: subdomains share a device, whose clock jumps. */
const DAY_MS = 86400000;

/**
 * When it was changed, for who compares. What lies in a time to come was said by a clock that was wrong: it holds against nothing but
 * silence (0), so that whatever is said from now on counts. What is no time never counts.
 */
const changed = ({ at }: Kept) => (Number.isFinite(at) ? (at > unix() + DAY_MS ? 1 : at) : NaN);

/** Chromium keeps no cookie for longer: 400 days. */
const MAX_AGE_S = 34560000;
/** Of the 4,096 that browsers take with name and attributes. */
const MAX_COOKIE = 3500;

export const createIdentity = (
  name: string,
  { cookieDomain = "", cookieless }: LoadOptions,
  /** Whether ids may be kept, with these answers. */
  allowed: (answers?: Consents) => boolean,
  keep: (kept: Kept) => void,
  /** Other answers hold than before. */
  answered: () => void,
) => {
  let now: Kept & { anonymousId: string };
  let who: string;
  // Another domain is another cookie: of two with one name, nobody knows which is read.
  const crumb = encodeURIComponent(name + cookieDomain) + "=";

  const keepable = (): Kept => (allowed(now.consent) ? now : { consent: now.consent, at: now.at });
  const show = ({ anonymousId, userId, consent: said, at }: Kept) => {
    const before = now;
    const consent = keptAnswers(said);
    // Nothing is known of somebody who said no, nor what is no id.
    const known = allowed(consent);
    const text = (id: unknown) => (known && typeof id == "string" ? id : undefined);
    now = { anonymousId: text(anonymousId) || uuid(unix()), userId: text(userId), consent, at: changed({ at }) };
    who = member("anonymousId", now.anonymousId) + member("userId", now.userId);
    store();
    if (before && quote(before.consent) != quote(consent)) answered();
  };
  const store = () => {
    if (cookieless) return;
    const text = quote(keepable());
    const value = encodeURIComponent(text);
    try {
      // What is too long is not taken, and what was there would stay.
      page!.cookie =
        crumb + (value.length > MAX_COOKIE ? "" : value) + ";path=/;samesite=lax;max-age=" + MAX_AGE_S +
        (cookieDomain && ";domain=" + cookieDomain) + (location.protocol == "https:" ? ";secure" : "");
      localStorage[name] = text;
    } catch {
      // Refused, or a worker: the copy in IndexedDB has to do.
    }
  };
  const set = (change: Partial<Kept>) => {
    show({ ...now, ...change, at: Math.max(unix(), changed(now) + 1) });
    if (!cookieless) keep(keepable());
  };
  /** What cookie and localStorage say, if it is newer than this. */
  const read = (kept: Kept) => {
    for (const text of [
      () => decodeURIComponent(page!.cookie.split("; ").find((one) => one.startsWith(crumb))!.slice(crumb.length)),
      () => localStorage[name],
    ])
      try {
        const found: Kept = JSON.parse(text());
        if (changed(found) > changed(kept) && !cookieless) kept = found;
      } catch {
        // Absent, refused or not ours.
      }
    return kept;
  };

  const first = read({ at: -1 });
  show(first.at < 0 ? { at: 0 } : first);
  // Another tab says what changed, another subdomain does not: whoever comes back from there looks, and tells the others.
  addEventListener("focus", () => {
    const found = read(now);
    if (found == now) return;
    show(found);
    keep(keepable());
  });

  return {
    now: () => now,
    /** The two ids as members of an event. */
    who: () => who,
    set,
    /** Somebody else from now on. */
    renew: () => set({ anonymousId: uuid(unix()), userId: undefined }),
    /** What another tab or worker says, or the copy in IndexedDB. If it is older than what is known here, gives that back. */
    hear(other: Kept | undefined): Kept | undefined {
      if (!other || !(changed(other) >= changed(now)) || cookieless) return keepable();
      show(other);
      // What lies there of somebody who said no is written over.
      return allowed(now.consent) ? undefined : keepable();
    },
  };
};
