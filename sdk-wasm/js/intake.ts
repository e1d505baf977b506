/*
 * The way of a call's text to storage. Promises that the calls of one microtask are committed together, in their order, at once
 * after a quiet time and otherwise in steps of 24 ms (a transaction costs a page half a millisecond), and that what storage
 * refuses stays in memory, bounded, and is tried again. Knows nothing of numbers, requests or tabs, but for where a record goes:
 * to the core when it is there and has seen everything older, else straight into storage, where the core finds it.
 *
 * While a transaction is under way, further calls gather: one transaction for all of them follows it (group commit).
 */
import { idOf } from "./batch";
import { monotonic } from "./clock";
import { LEAVING } from "./core";
import type { Driver } from "./driver";
import { page, quote } from "./event";
import { recordsOf, SEQ, textsOf, utf8, WORDS, type Call, type Rec } from "./record";
import { noChanges, type Storage } from "./storage";

/** From one transaction to the next, milliseconds. With the transaction itself a call is committed within 50. */
const STEP_MS = 24;

/** Bytes of texts that a page sends by itself as it is left: within the 64 KiB that browsers allow. */
const MAX_LEFT = 60000;

/** Records whose texts are kept for leaving. */
const MAX_UNLED = 300;

/** Calls kept in memory while there is no storage and no core. The core's own bound, for the same reason. */
const MAX_STRANDED = 10000;

export const createIntake = (
  storage: Storage,
  /** The core, if this tab leads. */
  core: () => Driver | undefined,
  /** Records lie in storage without numbers. */
  wrote: () => void,
  dropped: (messageId: string) => void,
) => {
  let calls: Call[] = [];
  let stranded: Rec[] = [];
  /** Transactions under way; one of them finds out who this is. */
  let writing = 1;
  let turn: { promise: Promise<boolean>; done(durable: boolean): void } | undefined;
  /** Texts of this page that the core has not been given: what the page can send by itself if it is left now. */
  let unled: Rec[] = [];
  let last: Promise<unknown> | undefined;
  let lastId = 0;
  let unknown = 0;
  let began = -STEP_MS;

  const ready = () => {
    const driver = core();
    const all = driver?.caughtUp() && !unknown && driver.has(lastId);
    if (all) unled = [];
    return all && driver;
  };

  const write = (records: Rec[], sent?: Rec[]) => {
    unknown++;
    const changes = noChanges();
    // Whoever sends them next asks first whether they have arrived.
    if (sent?.length) changes.state.left = sent.map((rec) => idOf(rec.text!));
    records.forEach((rec) => changes.add.add(rec));
    return storage.write(changes).then((durable) => {
      unknown--;
      if (durable) {
        for (const { id } of records) lastId = Math.max(lastId, id!);
        wrote();
      } else strand(records);
      return durable;
    });
  };

  const strand = (records: Rec[]) => {
    stranded = records.concat(stranded);
    let count = 0;
    stranded = stranded.filter((rec) => {
      const kept = (count += rec.live) <= MAX_STRANDED;
      if (!kept) textsOf(rec.words, rec.text!).forEach((text, at) => rec.words[at * WORDS + SEQ] < 0 || dropped(idOf(text)));
      return kept;
    });
    unled = unled.filter((rec) => !stranded.includes(rec));
  };

  /** Gives back the texts that no core will send for a page that is left. */
  const flush = (leaving?: boolean, held?: number): Rec[] => {
    let sent: Rec[] = [];
    if ((writing && !leaving) || !(calls.length || stranded.length || leaving)) return sent;
    began = monotonic();
    const driver = ready();
    const records = stranded.concat(recordsOf(calls));
    const done = turn?.done;
    calls = [];
    stranded = [];
    turn = undefined;
    if (!driver) {
      // More than can be sent while leaving; all of it lies in storage.
      unled = unled.concat(records).slice(-MAX_UNLED);
      if (leaving) {
        core()?.input(LEAVING);
        let left = MAX_LEFT;
        const free = ({ words }: Rec) => words.every((word, at) => at % WORDS != 2 || !((held! >> ((word >> 2) & 7)) & 1));
        sent = unled.filter((rec) => rec.text && free(rec) && (left -= utf8(rec.text).length) >= 0);
        unled = [];
      }
      if (!records.length && !sent.length) return sent;
    }
    writing++;
    (driver ? driver.track(records, leaving) : write(records, sent)).then((durable) => {
      writing--;
      done?.(durable);
      // Without storage a record waits for a core, or for the next call.
      if (calls.length || ready()) flush();
    });
    return sent;
  };

  return {
    /** Takes an event; says whether it became durable, once that is known. */
    take(call: Call) {
      calls.push(call);
      if (!turn) {
        let done!: (durable: boolean) => void;
        const promise = new Promise<boolean>((resolve) => (done = resolve));
        last = promise;
        turn = { promise, done };
        const wait = began + STEP_MS - monotonic();
        // Timers of a hidden page are slow.
        if (wait > 0 && !page?.hidden) setTimeout(() => flush(), wait);
        else queueMicrotask(() => flush());
      }
      return turn.promise;
    },
    /** The database has said who this is. What was said by somebody made up for the meantime was said by them. */
    begin(madeUp: string, known: string) {
      for (const call of calls) call.text = call.text.replace(quote(madeUp), () => quote(known));
      writing--;
      flush();
    },
    /** When every call so far is committed, or known not to be. */
    settled: () => last,
    /** The core may have caught up. */
    flush: () => void flush(),
    strand,
    /** Nothing that was called may be kept any more. What is called just now goes to the core, which forgets it. */
    purge: () => void (stranded = unled = []),
    /** The page is being left: one transaction, now. Gives back what the page is to send by itself: nothing of the categories `held`. */
    leave: (held: number) => flush(true, held),
  };
};
