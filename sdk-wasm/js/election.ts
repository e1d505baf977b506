/*
 * One tab leads: it alone runs the core, gives numbers and sends. Promises at most one leader for each name at a time, a
 * successor when the leader's page goes away, and nothing to wait for in a page that is left (a lock would keep it out of
 * the back/forward cache). Knows nothing of what a leader does.
 *
 * Web Locks where there are any. They are missing in old browsers and on pages without TLS, which load `lease.ts` instead.
 */
import type { LoadPart } from "./parts";
import type { Storage } from "./storage";

/** Whether this tab leads, waits while another does, or does not know yet. */
export type Role = "unknown" | "waiting" | "leading";

/** The wait before the file is asked for again, which could not be loaded. */
const AGAIN_MS = 1000;

export const createElection = (
  name: string,
  storage: Storage,
  part: LoadPart,
  lead: () => void,
  lost: () => void,
) => {
  let role: Role = "unknown";
  let joined = 0;
  let resign: () => unknown = () => {};

  const byLock = () => {
    const abort = new AbortController();
    let release = () => {};
    resign = () => {
      release();
      abort.abort();
    };
    const hold = (lock: Lock | null) => {
      if (!lock) {
        role = "waiting";
        navigator.locks.request(name, { signal: abort.signal }, hold).catch(() => {});
        return;
      }
      if (abort.signal.aborted) return;
      role = "leading";
      lead();
      return new Promise<void>((done) => (release = done));
    };
    navigator.locks.request(name, { ifAvailable: true }, hold).catch(byItself);
  };

  const byLease = () => {
    let stopped = false;
    resign = () => (stopped = true);
    part("lease").then(
      ({ hold }) => {
        if (stopped) return;
        resign = hold(storage, (mine) => {
          const led = role == "leading";
          role = mine ? "leading" : "waiting";
          if (mine && !led) lead();
          if (!mine && led) lost();
        });
      },
      () => setTimeout(() => stopped || byLease(), AGAIN_MS),
    );
  };

  /** Without a shared storage there is nothing to share. */
  const byItself = () => {
    role = "leading";
    lead();
  };

  return {
    role: () => role,
    async join() {
      role = "unknown";
      const mine = ++joined;
      await storage.open();
      // Left meanwhile.
      if (mine != joined) return;
      if (!storage.isOpen()) byItself();
      else if (navigator.locks) byLock();
      else byLease();
    },
    leave() {
      role = "unknown";
      joined++;
      resign();
    },
  };
};
