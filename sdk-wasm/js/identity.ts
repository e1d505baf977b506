/*
 * Who the person is, as far as this browser knows: anonymous id, user id, the answers about consent. Promises both ids at
 * hand the moment a call is made, the same in every tab (and on every subdomain, when asked); and that nothing but the
 * answers is kept of somebody who said no. Knows nothing of events, and keeps no traits (the profile is the collector's).
 *
 * A cookie and localStorage are what is read synchronously, the cookie first, since other subdomains see it; IndexedDB keeps
 * a copy, from which both are restored when they were cleared. With none, the identity lives as long as the page.
 */
import { member, uuid } from "./event";
import { unix } from "./clock";
import type { Consents, LoadOptions } from "./types";

/** What is kept. */
export interface Kept {
  anonymousId?: string;
  userId?: string;
  consent?: Consents;
}

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
) => {
  let now: Kept & { anonymousId: string };
  let who: string;
  let fresh = false;
  // Another domain is another cookie: of two with one name, nobody knows which is read.
  const crumb = encodeURIComponent(name + cookieDomain) + "=";

  const take = (kept: Kept) => {
    now = { anonymousId: uuid(unix()), ...kept };
    who = member("anonymousId", now.anonymousId) + member("userId", now.userId);
  };
  const store = () => {
    if (cookieless) return;
    const kept = allowed(now.consent) ? now : { consent: now.consent };
    const text = JSON.stringify(kept);
    let value = encodeURIComponent(text);
    if (value.length > MAX_COOKIE) value = "";
    try {
      // What is too long is not taken, and what was there would stay and be believed.
      document.cookie =
        crumb + value + ";path=/;samesite=lax;max-age=" + MAX_AGE_S +
        (cookieDomain && ";domain=" + cookieDomain) + (location.protocol == "https:" ? ";secure" : "");
      localStorage[name] = text;
    } catch {
      // Refused: the copy in IndexedDB has to do.
    }
    keep(kept);
  };
  const set = (change: Partial<Kept>) => {
    take({ ...now, ...change });
    store();
  };
  const read = () => {
    for (const text of [
      () => decodeURIComponent(document.cookie.split("; ").find((one) => one.startsWith(crumb))!.slice(crumb.length)),
      () => localStorage[name],
    ])
      try {
        const kept = !cookieless && JSON.parse(text());
        if (kept.consent || typeof kept.anonymousId == "string") return take(kept), true;
      } catch {
        // Absent, refused or not ours.
      }
    return false;
  };

  if (!read()) {
    fresh = true;
    set({});
  }
  // Another tab tells of a change, another subdomain does not: whoever comes back from there looks.
  for (const event of ["storage", "focus"]) addEventListener(event, read);

  return {
    now: () => now,
    /** The two ids as members of an event. */
    who: () => who,
    set,
    /** Somebody else from now on. */
    renew: () => set({ anonymousId: uuid(unix()), userId: undefined }),
    /** The copy in IndexedDB was found. It counts only if the page could read nothing else. */
    restore(copy: Kept | undefined) {
      if (fresh && copy) set(copy);
      else store();
      fresh = false;
    },
  };
};
