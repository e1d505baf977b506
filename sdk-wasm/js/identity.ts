/*
 * Who the person is, as far as this browser knows: anonymous id, user id, the answer about consent. Promises both ids at
 * hand the moment a call is made, the same in every tab and worker; knows nothing of events, and keeps no traits (the profile is
 * the collector's).
 *
 * localStorage is what is read synchronously; IndexedDB keeps a copy, from which it is restored when only localStorage
 * was cleared, and which is all that workers have. What changed last counts. With neither, the identity lives as long as the page.
 */
import { member, uuid } from "./event";
import { unix } from "./clock";
import type { Consent } from "./types";

/** What is kept. */
export interface Kept {
  anonymousId: string;
  userId?: string;
  consent?: Consent;
  /** When that was last changed, unix milliseconds; 0 if nobody has said anything yet. */
  at: number;
}

export const createIdentity = (name: string, keep: (kept: Kept) => void) => {
  let now: Kept;
  let who: string;

  const show = (kept: Kept) => {
    now = kept;
    who = member("anonymousId", kept.anonymousId) + member("userId", kept.userId);
    try {
      localStorage[name] = JSON.stringify(now);
    } catch {
      // Refused, or a worker: the copy in IndexedDB has to do.
    }
  };
  const set = (change: Partial<Kept>) => {
    show({ ...now, ...change, at: Math.max(unix(), now.at + 1) });
    keep(now);
  };

  try {
    now = JSON.parse(localStorage[name]);
  } catch {
    // Absent, refused or not ours.
  }
  show(now!?.anonymousId ? now! : { anonymousId: uuid(unix()), at: 0 });

  return {
    now: () => now,
    /** The two ids as members of an event. */
    who: () => who,
    set,
    /** Somebody else from now on. */
    renew: () => set({ anonymousId: uuid(unix()), userId: undefined }),
    /** What another tab or worker says, or the copy in IndexedDB. If it is older than what is known here, gives that back. */
    hear: (other: Kept | undefined) => (other && other.at >= now.at ? show(other) : now),
  };
};
