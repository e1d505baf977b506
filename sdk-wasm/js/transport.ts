/*
 * One request to the collector and what came of it, as numbers. Promises an answer within the time-out (0: nobody answered
 * in words that a collector uses), a request that outlives the page as long as the browsers' budget allows, no header that
 * costs a preflight, and that every answer is read: an unread one keeps its share of that budget. Knows nothing of
 * events, retries or why something is sent.
 */
import { utf8 } from "./record";

/** What came of a request. */
export interface Answer {
  /** The HTTP status; 0 if there was none, or a success without a receipt (a captive portal says 200 as well). */
  status: number;
  /** The wait that the collector asks for, milliseconds. */
  wait: number;
  /** The receipt: index and outcome of every event that was not plainly accepted. */
  listed: [number, number][];
}

/** As the core numbers them (`src/words.rs`); any other word is a refusal. */
export const OUTCOMES = ["accepted", "duplicate", "quarantined", "refused"] as const;

/** Of the 65,536 bytes that browsers allow to all requests that may outlive a page. */
const BUDGET = 64000;

/** The core goes on five seconds later without an answer. */
const TIMEOUT_MS = 30000;

/** Where events go, and where a page asks which of them arrived. */
export const BATCH = "batch?receipt=1";
export const SEEN = "seen?receipt=1";

export const createTransport = (endpoint: string, credentials: RequestCredentials) => {
  /** What the requests under way take of the budget. */
  let taken = 0;

  return async (path: string, text: string): Promise<Answer> => {
    const { length } = utf8(text);
    const abort = new AbortController();
    const keepalive = taken + length <= BUDGET;
    const size = keepalive ? length : 0;
    taken += size;
    const timer = setTimeout(() => abort.abort(), TIMEOUT_MS);
    const answer: Answer = { status: 0, wait: 0, listed: [] };
    try {
      const response = await fetch(endpoint + "/v1/" + path, {
        method: "POST",
        // A text is sent as `text/plain`, which needs no preflight.
        body: text,
        keepalive,
        credentials,
        signal: abort.signal,
      });
      const said = await response.text();
      // What is not JSON is not from a collector: caught below for a success, worth its status otherwise.
      if (!response.ok) answer.status = response.status;
      // Seconds; a date is none, and waits as after any failure.
      answer.wait = +response.headers.get("retry-after")! * 1000 || 0;
      const { success, events, error } = JSON.parse(said);
      answer.wait = error?.retry_after_ms || answer.wait;
      if (response.ok && success) {
        for (const { index, outcome } of events || []) {
          const known = OUTCOMES.indexOf(outcome);
          answer.listed.push([index, known & 3]);
        }
        answer.status = 200;
      }
    } catch {
      // Unreachable, aborted, or not a collector's words.
    }
    clearTimeout(timer);
    taken -= size;
    return answer;
  };
};
