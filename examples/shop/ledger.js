// The demo's own bookkeeping: each call of the shop, written down at once and apart from the SDK, so that the live view
// can tell what should arrive from what did. Promises: a call is in the ledger before the next line of the page runs;
// several tabs can write at once (a key each). It does not know what became of a call after the device has stored it.

const PREFIX = 'headwater-demo:';
const LIMIT = 2000; // calls; beyond it the oldest are forgotten
let count = 0;

/**
 * @param {'track'|'page'|'identify'|'group'} type
 * @param {string} name          the event's or the page's name; '' where there is none
 * @param {Promise<{ messageId: string }> | undefined} stored  what the verb returned: it resolves when the event is in
 *   the device's storage. The snippet's stand-in returns nothing, before the script has loaded.
 * @param {string} [about]       a word more, for the row of the live view
 */
export function note(type, name, stored, about = '') {
  const at = Date.now();
  // Sorts as the calls were made; the random end tells tabs apart.
  const key = `${PREFIX}${at}-${String(++count).padStart(5, '0')}-${Math.random().toString(36).slice(2, 8)}`;
  const write = (more) => {
    try {
      localStorage.setItem(key, JSON.stringify({ at, type, name, about, ...more }));
    } catch { /* a full or forbidden localStorage costs the live view its count, and the shop nothing */ }
  };
  write({});
  forgetTheOldest();
  stored?.then?.((receipt) => write({ id: receipt?.messageId, storedMs: Date.now() - at }), (error) => write({ failed: String(error) }));
  return stored;
}

/** Every noted call: `{ key, at, type, name, about, id?, storedMs?, failed? }`. */
export function calls() {
  return keys().map((key) => {
    try {
      return { key, ...JSON.parse(localStorage.getItem(key)) };
    } catch {
      return null;
    }
  }).filter((call) => call?.at);
}

/** The anonymous ids that the SDK keeps in this browser, one for each write key. */
export const devices = () =>
  Object.keys(localStorage).filter((key) => key.startsWith('headwater:')).map((key) => {
    try {
      return JSON.parse(localStorage.getItem(key)).anonymousId;
    } catch {
      return undefined;
    }
  }).filter(Boolean);

/** Forgets all calls: a new run of the demo counts from zero. */
export const forget = () => keys().forEach((key) => localStorage.removeItem(key));

/** Calls back when another page of the shop has noted something. */
export const onNote = (changed) =>
  window.addEventListener('storage', (event) => { if (event.key === null || event.key.startsWith(PREFIX)) changed(); });

function keys() {
  return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
}

function forgetTheOldest() {
  if (localStorage.length <= LIMIT) return;
  keys().sort().slice(0, LIMIT / 10).forEach((key) => localStorage.removeItem(key));
}
