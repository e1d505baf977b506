// Reads the collector's event log as any reader would (GET /v1/events), to show what is stored, and how often.
// Promises: every record is reported once, in order; memory is bounded; it also says whether the collector answers,
// because it asks all the time anyway. It does not know who started the collector.

const EVERY_MS = 250; // an honest lag of the display; `receivedAt` in the record is exact
const PAGE = 1000;
const IDS_LIMIT = 200_000; // message ids held to find one that is stored twice: some 20 MB at the most

/**
 * @param {object} options
 * @param {() => string} options.url            the collector's origin; may change while it has no port yet
 * @param {() => string | null} options.token   the admin token; without one, only up and down are known
 * @param {(records: object[]) => void} options.onRecords
 * @param {(up: boolean) => void} options.onUp  called when it changes
 */
export function followLog({ url, token, onRecords, onUp }) {
  const seen = new Set();
  let after = null;
  let up = null;
  let storedTwice = 0;
  let wake = () => {};
  let stopped = false;

  // One loop, so that two reads never overlap and count a record twice.
  async function follow() {
    while (!stopped) {
      if (await readPage()) continue;
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, EVERY_MS);
        wake = () => { clearTimeout(timer); resolve(); };
      });
    }
  }

  async function readPage() {
    const reader = token(); // asked once: it may come while the answer is on its way
    const path = reader ? `/v1/events?limit=${PAGE}${after === null ? '' : `&after=${encodeURIComponent(after)}`}` : '/healthz';
    let response, text;
    try {
      response = await fetch(url() + path, {
        headers: reader ? { authorization: `Bearer ${reader}` } : {},
        signal: AbortSignal.timeout(5000),
      });
      text = await response.text();
    } catch {
      return tell(false), false;
    }
    tell(true);
    if (!reader || !response.ok) return false;
    const records = text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
    if (records.length === 0) return false;
    after = records.at(-1).offset;
    for (const { messageId } of records) {
      if (seen.has(messageId)) storedTwice += 1;
      seen.add(messageId);
      if (seen.size > IDS_LIMIT) seen.delete(seen.values().next().value);
    }
    onRecords(records);
    return records.length === PAGE;
  }

  function tell(now) {
    if (now === up || stopped) return;
    up = now;
    onUp(up);
  }

  follow();
  return {
    state: () => ({ up: up === true, storedTwice }),
    /** Ask now: something has just changed. */
    nudge: () => wake(),
    stop: () => { stopped = true; wake(); },
  };
}
