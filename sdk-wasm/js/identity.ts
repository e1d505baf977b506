/*
 * Who the person is, as far as this browser knows: anonymous id, user id, the answer about consent. Promises both ids at
 * hand the moment a call is made, the same in every tab; knows nothing of events, and keeps no traits (the profile is
 * the collector's).
 *
 * localStorage is what is read synchronously; IndexedDB keeps a copy, from which it is restored when only localStorage
 * was cleared. With neither, the identity lives as long as the page.
 */
import { member, uuid } from "./event";
import { unix } from "./clock";
import type { Consent } from "./types";

/** What is kept. */
export interface Kept {
  anonymousId: string;
  userId?: string;
  consent?: Consent;
}

export const createIdentity = (name: string, keep: (kept: Kept) => void) => {
  let now: Kept;
  let who: string;
  let fresh = false;

  const take = (kept: Kept) => {
    now = kept;
    who = member("anonymousId", kept.anonymousId) + member("userId", kept.userId);
  };
  const set = (change: Partial<Kept>) => {
    take({ ...now, ...change });
    try {
      localStorage[name] = JSON.stringify(now);
    } catch {
      // Refused: the copy in IndexedDB has to do.
    }
    keep(now);
  };
  const read = () => {
    try {
      const kept = JSON.parse(localStorage[name]);
      if (typeof kept.anonymousId == "string") return take(kept), true;
    } catch {
      // Absent, refused or not ours.
    }
    return false;
  };
  const renew = () => set({ anonymousId: uuid(unix()), userId: undefined });

  if (!read()) {
    fresh = true;
    renew();
  }
  addEventListener("storage", (event) => event.key == name && read());

  return {
    now: () => now,
    /** The two ids as members of an event. */
    who: () => who,
    set,
    /** Somebody else from now on. */
    renew,
    /** The copy in IndexedDB was found. It counts only if localStorage had nothing. */
    restore(copy: Kept | undefined) {
      if (fresh && copy) set(copy);
      else keep(now);
      fresh = false;
    },
  };
};
