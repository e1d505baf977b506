/*
 * The body of a request: texts with their stamps. Promises the same bytes as the core's golden files; knows nothing of where the
 * texts come from or who decides what goes together.
 */
import { iso } from "./clock";
import { quote } from "./event";

/** As the core numbers them. */
export const REASONS = ["queue_full", "too_old", "too_large", "refused", "unnumbered", "denied"] as const;

/** What is added to an event's context when it is sent. The context is last in the text, which therefore ends in `}}`. */
export const stamped = (
  text: string,
  seq: number,
  session: number,
  start: boolean,
  queue: string | false,
  dropped: [number, number, string][],
) =>
  text.slice(0, -2) +
  ',"sessionId":' +
  session +
  (start ? ',"sessionStart":true' : "") +
  (queue
    ? ',"headwater":{"queue":"' + queue + '","seq":' + seq +
      (dropped.length ? ',"dropped":' + quote(dropped) : "") + "}"
    : "") +
  "}}";

/** The body of a batch, sent at this time. */
export const batchOf = (texts: string[], at: number, writeKey: string) =>
  `{"batch":[${texts}],"sentAt":"${iso(at)}","writeKey":${quote(writeKey)}}`;

/** A question: which of the events with these ids does the collector have? */
export const questionOf = (ids: string[], writeKey: string) => quote({ ids, writeKey });

/** The id of an event, or of the first of a record, from its text. */
export const idOf = (text: string) => (text.split('"messageId":"')[1] ?? "").slice(0, 36);

/** A queue's identity as it is written: four words of four bytes as 22 characters. */
export const queueOf = (words: Float64Array) =>
  btoa(String.fromCharCode(...new Uint8Array(new Uint32Array(words).buffer)))
    .replace(/\+/g, "-")
    .replace(/\//g, "_")
    .slice(0, 22);
