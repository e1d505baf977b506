/*
 * A record: the calls of one microtask, as they lie in storage: their texts joined, and eight numbers for each. Promises at most
 * 100 events or 48 KB to a record; knows nothing of how a record is stored or who numbers its events.
 *
 * The numbers of an event: length of its text in UTF-16 units, its bytes in UTF-8, priority and four times the category and 32 if somebody waits for the answer, time, campaign, then its stamp:
 * sequence number (0 while it has none, -1 when the event is done with), session, whether it began the session.
 * With a key in place of the length it is an entry as the core reads it (`src/words.rs`).
 */

export const WORDS = 8;
export const SEQ = 5;

/** An event on its way into a record. */
export interface Call {
  text: string;
  priority: number;
  at: number;
  campaign: number;
}

/** A record, in memory. */
export interface Rec {
  /** Its key in storage, once it is known. */
  id?: number;
  /** The texts, while they are at hand. */
  text?: string;
  words: Float64Array;
  /** The core's key of its first event; the others follow. */
  first: number;
  /** Events that are not done with. */
  live: number;
  /** A transaction that puts it into storage is under way. */
  adding?: boolean;
}

const MAX_EVENTS = 100;
const MAX_LENGTH = 48000;

const encoder = new TextEncoder();
/** Bytes of a text in UTF-8. */
export const utf8 = (text: string) => encoder.encode(text);

/** The records of these calls. */
export const recordsOf = (calls: Call[]) => {
  const records: Rec[] = [];
  let from = 0;
  let length = 0;
  calls.forEach((call, index) => {
    length += call.text.length;
    const next = calls[index + 1];
    if (!next || index - from == MAX_EVENTS - 1 || length + next.text.length > MAX_LENGTH) {
      records.push(recordOf(calls.slice(from, index + 1)));
      from = index + 1;
      length = 0;
    }
  });
  return records;
};

/** Half of an emoji, as JSON writes it where a text was cut: no server takes it. */
const HALF = /(\\\\)|\\ud[89a-f]../gi;

const recordOf = (calls: Call[]): Rec => {
  let text = calls.map((call) => call.text).join("");
  if (/\\ud[89a-f]/i.test(text)) {
    for (const call of calls) call.text = call.text.replace(HALF, (_, escaped) => escaped || "\\ufffd");
    text = calls.map((call) => call.text).join("");
  }
  const words = new Float64Array(calls.length * WORDS);
  // One look at all of it instead of an encoding of each: nearly every record is ASCII.
  const ascii = !/[^\0-\x7f]/.test(text);
  let at = 0;
  for (const call of calls) {
    words[at] = call.text.length;
    words[at + 1] = ascii ? words[at] : utf8(call.text).length;
    words[at + 2] = call.priority;
    words[at + 3] = call.at;
    words[at + 4] = call.campaign;
    at += WORDS;
  }
  return { text, words, first: 0, live: calls.length };
};

/** The texts of a record. */
export const textsOf = (words: Float64Array, text: string) => {
  const texts: string[] = [];
  for (let at = 0, from = 0; at < words.length; at += WORDS)
    texts.push(text.slice(from, (from += words[at])));
  return texts;
};
