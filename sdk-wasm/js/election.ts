/*
 * One tab leads: it alone runs the core, gives numbers and sends. Promises at most one leader for each name at a time, a
 * successor when the leader's page goes away, and nothing to wait for in a page that is left (a lock would keep it out of
 * the back/forward cache). Knows nothing of what a leader does.
 *
 * Web Locks where there are any. They are missing in old browsers and on pages without TLS: there a lease in the database,
 * renewed every two seconds, and checked inside each transaction, so that a leader that slept through the end of
 * its lease can write nothing any more.
 */
import { unix } from "./clock";
import { uuid } from "./event";
import type { Storage } from "./storage";

/** Whether this tab leads, waits while another does, or does not know yet. */
export type Role = "unknown" | "waiting" | "leading";

const RENEW_MS = 2000;
const LEASE_MS = 6000;

export const createElection = (name: string, storage: Storage, lead: () => void, lost: () => void) => {
  let role: Role = "unknown";
  let resign = () => {};

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
    const me = uuid(unix());
    let stopped = false;
    let timer: ReturnType<typeof setTimeout>;
    resign = () => {
      stopped = true;
      clearTimeout(timer);
    };
    const renew = async () => {
      const mine = await storage.lease(me, unix(), unix() + LEASE_MS);
      if (stopped) return;
      timer = setTimeout(renew, RENEW_MS);
      const led = role == "leading";
      role = mine ? "leading" : "waiting";
      if (mine && !led) lead();
      if (!mine && led) lost();
    };
    renew();
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
      await storage.open();
      if (!storage.isOpen()) byItself();
      else if (navigator.locks) byLock();
      else byLease();
    },
    leave() {
      role = "unknown";
      resign();
    },
  };
};
