/*
 * Leadership without Web Locks (old browsers, pages without TLS): a lease in the database. Promises one holder at a time, and that
 * a leader that slept through the end of its lease can write nothing any more: each of its transactions looks first. A file
 * of its own, loaded where it is needed. Knows nothing of what a leader does.
 */
import { unix } from "./clock";
import { uuid } from "./event";
import { STATE, type Storage } from "./storage";

const RENEW_MS = 2000;
const LEASE_MS = 6000;

/** Takes the lease, or waits for it; says what it is each time that it was looked at. Gives back what ends that. */
export const hold = (storage: Storage, held: (mine: boolean) => void) => {
  const owner = uuid(unix());
  let stopped = false;
  let timer: ReturnType<typeof setTimeout>;
  const renew = async () => {
    const until = unix() + LEASE_MS;
    let mine = false;
    const durable = await storage.swap("lease", (found) => {
      // One that ends later than any lease can was taken by a clock that was wrong.
      mine = !found || found.owner == owner || found.until < unix() || found.until > until + LEASE_MS;
      return mine && { owner, until };
    });
    mine &&= durable;
    if (mine)
      storage.guard((tx, apply) => {
        const lease = tx.objectStore(STATE).get("lease");
        lease.onsuccess = () => (lease.result?.owner == owner ? apply() : tx.abort());
      });
    if (stopped) return;
    timer = setTimeout(renew, RENEW_MS);
    held(mine);
  };
  renew();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
};
