/*
 * Owns the core for as long as this tab leads: what happens goes in, its effects are carried out. Promises one transaction
 * for whatever the core wants committed together, texts at hand only up to a bound, and that nothing of an earlier term
 * touches a later one. Knows nothing of calls, tabs or pages, and decides nothing.
 *
 * The core knows each event by a key that is counted here; a record's events have keys in a row. What the core stores is
 * written into the record's words, and they go to storage with the record, or beside it if it lies there already
 * (`marks`). A record is deleted when all its events are done with.
 */
import { batchOf, idOf, questionOf, queueOf, REASONS, stamped } from "./batch";
import { monotonic, unix } from "./clock";
import * as Core from "./core";
import { SEQ, textsOf, WORDS, type Rec } from "./record";
import { noChanges, type Storage } from "./storage";
import { BATCH, OUTCOMES, SEEN, type Answer } from "./transport";
import type { Committed, Reports } from "./types";

/** What the driver is given. */
export interface Parts {
  core: Core.Core;
  storage: Storage;
  send(path: string, body: string): Promise<Answer>;
  /** The first ids of the records that a page sent by itself as it was left: see `intake.ts`. */
  left: string[];
  writeKey: string;
  tell<Name extends keyof Told>(name: Name, what: Told[Name]): void;
  /** The backlog has been handed over, or more of it has. */
  loaded(): void;
  /** The core stopped in the middle of something. */
  failed(error: unknown): void;
}

/** What is told to every tab: the reports, and what became of an event that somebody waits for. */
export interface Told extends Reports {
  acknowledged: { messageId: string; outcome: Committed["outcome"] };
}

export type Driver = ReturnType<typeof drive>;

/** Texts kept at hand: several times what can be sent while leaving, and nothing to a page. */
const MAX_CACHED = 262144;

export const drive = ({ core, storage, send, left, writeKey, tell: say, loaded, failed }: Parts) => {
  const held = new Map<number, Rec>();
  /** Records handed over already that a read may still come across. */
  const own = new Set<number>();
  let nextKey = 1;
  let cursor = 0;
  let caughtUp = false;
  let changes = noChanges();
  let cached = 0;
  let perRecord = 100;
  let over = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let forgotten: Rec | undefined;

  /** Gives the core one input and carries out what follows; says when that is durable, if it wants to be. */
  const input = (kind: number, a = 0, b = 0, c = 0) => {
    tell(kind, a, b, c);
    return carryOut();
  };
  const tell = (kind: number, a = 0, b = 0, c = 0) => {
    if (over) return;
    try {
      core.input(kind, a, b, c, monotonic(), unix());
    } catch (error) {
      stop(error);
    }
  };
  const stop = (error: unknown) => {
    end();
    failed(error);
  };
  const end = () => {
    over = true;
    clearTimeout(timer);
  };

  const carryOut = () => {
    const turns: number[] = [];
    while (!over) {
      let size = 0;
      try {
        size = core.effects();
      } catch (error) {
        stop(error);
      }
      if (!size) break;
      const words = core.words().slice(0, size);
      for (let at = 0; at < size; ) at += effect(words.subarray(at), turns);
    }
    return turns.length ? commit(turns) : undefined;
  };

  /** Carries out the first effect of these rows; says how many words it has. */
  const effect = (row: Float64Array, turns: number[]) => {
    const key = row[1];
    switch (row[0]) {
      case Core.STORE: {
        const rec = held.get(key);
        if (rec) {
          rec.words.set(row.subarray(2, 5), (key - rec.first) * WORDS + SEQ);
          (rec.id || rec.adding ? changes.mark : changes.add).add(rec);
        }
        return 5;
      }
      case Core.FORGET:
        forget(key);
        return 2;
      case Core.SAVE: {
        const size = 2 + key / 4; // whole words of eight bytes
        changes.state.core = row.slice(1, size);
        return size;
      }
      case Core.PURGE:
        changes = { ...noChanges(), state: { ...changes.state, left: 0 }, purge: true };
        held.clear();
        cached = 0;
        return 1;
      case Core.COMMIT:
        turns.push(key);
        return 2;
      case Core.LOAD:
        load(key);
        return 2;
      case Core.SEND:
        carry(row);
        return 10 + row[4] * 2 + row[5] * 3;
      case Core.WAKE_AT:
        clearTimeout(timer);
        timer = setTimeout(input, key - monotonic(), Core.WOKE);
        return 2;
      default:
        tellPage(row);
        return 4;
    }
  };

  const forget = (key: number) => {
    const rec = held.get(key);
    if (!rec) return;
    held.delete(key);
    forgotten = rec;
    rec.words[(key - rec.first) * WORDS + SEQ] = -1;
    if (--rec.live) {
      if (rec.id || rec.adding) changes.mark.add(rec);
    } else {
      changes.add.delete(rec);
      changes.mark.delete(rec);
      if (rec.id) changes.remove.add(rec.id);
      if (rec.text && rec.id) cached -= rec.text.length;
    }
  };

  const commit = async (turns: number[]) => {
    const wanted = changes;
    changes = noChanges();
    // What is on its way into storage has no key yet: its change waits for the transaction after.
    for (const rec of wanted.mark)
      if (!rec.id) {
        wanted.mark.delete(rec);
        changes.mark.add(rec);
      }
    for (const rec of wanted.add) rec.adding = true;
    const durable = await storage.write(wanted, true);
    for (const rec of wanted.add) {
      rec.adding = false;
      if (durable) {
        own.add(rec.id!);
        keepText(rec);
        if (!rec.live) changes.remove.add(rec.id!);
      } else if (rec.live) {
        // Tried again with the next transaction, without the numbers: the core gives them up.
        unnumber(rec);
        changes.add.add(rec);
      }
    }
    // A deletion that failed is tried again; until then the collector recognises what comes twice.
    for (const id of wanted.remove) durable ? own.delete(id) : changes.remove.add(id);
    for (const turn of turns) tell(Core.COMMITTED, turn, durable ? 1 : 0);
    carryOut();
    if (durable && (changes.remove.size || changes.mark.size) && !over) commit([]);
    return durable;
  };

  const unnumber = (rec: Rec) => {
    for (let at = SEQ; at < rec.words.length; at += WORDS)
      if (rec.words[at] > 0) rec.words[at] = 0;
  };

  const keepText = (rec: Rec) => {
    const { length } = rec.text!;
    // The id is in the text: where somebody waits for an event, what becomes of it can be told.
    if (cached + length > MAX_CACHED && rec.words.every((word, at) => at % WORDS != 2 || word < 32)) rec.text = undefined;
    else cached += length;
  };

  const hold = (rec: Rec) => {
    rec.first = nextKey;
    for (let at = SEQ; at < rec.words.length; at += WORDS, nextKey++)
      if (rec.words[at] < 0) rec.live--;
      else held.set(nextKey, rec);
  };

  /** Writes a record's entries into the core's words behind `count` others; says how many there are then. */
  const enter = (rec: Rec, count: number) => {
    const words = core.words();
    for (let at = 0; at < rec.words.length; at += WORDS) {
      if (rec.words[at + SEQ] < 0) continue;
      words.set(rec.words.subarray(at, at + WORDS), count * WORDS);
      words[count++ * WORDS] = rec.first + at / WORDS;
    }
    return count;
  };

  const load = async (limit: number) => {
    const asked = Math.max(5, Math.floor(limit / perRecord));
    const found = (await storage.read(cursor, asked)) ?? [];
    if (over) return;
    let more = found.length == asked;
    let count = 0;
    const read: Rec[] = [];
    for (const stored of found) {
      const size = stored.words.length / WORDS;
      if (count + size > limit) {
        more = true;
        break;
      }
      cursor = stored.id;
      if (own.delete(cursor)) continue;
      const rec: Rec = { ...stored, first: 0, live: size };
      if (left.includes(idOf(rec.text!)))
        for (let at = SEQ; at < rec.words.length; at += WORDS)
          if (!rec.words[at]) rec.words[at + 2] = 1;
      hold(rec);
      read.push(rec);
      cached += rec.text!.length;
      count = enter(rec, count);
    }
    if (count) perRecord = count / found.length;
    caughtUp = !more;
    input(Core.LOADED, count, more ? 1 : 0);
    // Only now: what the core drops at once is told with its id, which is in the text.
    for (const rec of read)
      if (rec.live) {
        cached -= rec.text!.length;
        keepText(rec);
      }
    loaded();
  };

  const carry = async (words: Float64Array) => {
    const [, request, why, droppedAt, events, drops] = words;
    const leaving = why == 1;
    const queue = queueOf(words.subarray(6, 10));
    const recs: Rec[] = [];
    for (let at = 0; at < events; at++) recs.push(held.get(words[10 + at * 2])!);
    const dropped: [number, number, string][] = [];
    for (let at = 10 + events * 2; dropped.length < drops; at += 3)
      dropped.push([words[at], words[at + 1], REASONS[words[at + 2]]]);

    const texts = new Map<Rec, string[]>();
    const away = new Set<Rec>();
    for (const rec of recs)
      if (rec.text) texts.has(rec) || texts.set(rec, textsOf(rec.words, rec.text));
      else away.add(rec);
    // Nothing may be waited for while the page is being left.
    if (away.size && !leaving) {
      const found = await storage.texts([...away].map((rec) => rec.id!));
      if (!found) return input(Core.ANSWERED, request);
      // Purged meanwhile, by the person's no.
      if (!held.has(words[10])) return;
      [...away].forEach((rec, index) => texts.set(rec, textsOf(rec.words, found[index] ?? "")));
    }
    /** Positions in the request of the events that are in the body. */
    const sent: number[] = [];
    const parts: string[] = [];
    recs.forEach((rec, index) => {
      const key = words[10 + index * 2];
      const at = (key - rec.first) * WORDS;
      const text = texts.get(rec)?.[at / WORDS];
      if (text && why == 2) sent.push(index), parts.push(idOf(text));
      else if (text) {
        const [seq, session, start] = rec.words.subarray(at + SEQ);
        const numbered = words[11 + index * 2] && queue;
        const told = index == droppedAt ? dropped : [];
        parts.push(stamped(text, seq, session, !!start, numbered || false, told));
        sent.push(index);
      } else if (!leaving) say("dropped", { reason: "storage_lost" });
    });
    let answer: Answer = { status: leaving ? 0 : 200, wait: 0, listed: [] };
    if (sent.length)
      answer = await (why == 2
        ? send(SEEN, questionOf(parts, writeKey))
        : send(BATCH, batchOf(parts, unix(), writeKey)));
    if (over) return;
    const { status, wait, listed } = answer;
    if (status != 200) return input(Core.ANSWERED, request, status, wait);
    // An answer is for the whole request: if part of it was not at hand while leaving, all of it goes again.
    if (leaving && sent.length < events) return input(Core.ANSWERED, request);
    const shared = core.words();
    // A hostile answer lists what was not sent, or the same thing often.
    const known = new Map(listed.filter(([index]) => index in sent));
    sent.forEach((index, at) => {
      const rec = recs[index];
      const outcome = known.get(at) ?? 0;
      // A question is answered by what was there already: the rest is sent now.
      if (rec.words[(words[10 + index * 2] - rec.first) * WORDS + 2] & 32 && (why != 2 || outcome == 1))
        say("acknowledged", { messageId: why == 2 ? parts[at] : idOf(parts[at]), outcome: OUTCOMES[outcome] });
    });
    let at = 0;
    for (const [index, outcome] of known) shared.set([sent[index], outcome], at++ * 2);
    return input(Core.ANSWERED, request, 200, known.size);
  };

  const tellPage = ([, kind, a, b]: Float64Array) => {
    if (kind == 1) say("stopped", { status: a });
    else if (kind) say(kind == 2 ? "not_durable" : "state_lost", {});
    else {
      // The core forgets an event, then says why.
      const { text, words, first } = forgotten!;
      const own = text && textsOf(words, text)[a - first];
      say("dropped", { messageId: own && idOf(own), reason: REASONS[b] });
    }
  };

  return {
    /** Whether calls can go to the core at once: everything older has been handed over. */
    caughtUp: () => caughtUp && !over,
    /** New records; says when they are durable. With `leaving`, what follows from that is part of it. */
    track(records: Rec[], leaving?: boolean) {
      let count = 0;
      for (const rec of records) {
        if (count + rec.words.length / WORDS > Core.MAX_ENTRIES) {
          tell(Core.TRACKED, count);
          count = 0;
        }
        hold(rec);
        count = enter(rec, count);
      }
      if (count) tell(Core.TRACKED, count);
      if (leaving) tell(Core.LEAVING);
      return carryOut() ?? Promise.resolve(false);
    },
    input,
    /** Whether the record of this key has been handed over. */
    has: (id: number) => id <= cursor,
    /** Ends the term. What is in memory alone is given back, for others to number: with `lost`, all of it is. */
    end(lost?: boolean) {
      end();
      const left = new Set([...held.values()].filter((rec) => (lost || !rec.id) && !rec.adding));
      for (const rec of left)
        if (lost && !rec.text) {
          left.delete(rec);
          while (rec.live--) say("dropped", { reason: "storage_lost" });
        } else rec.id = undefined;
      left.forEach(unnumber);
      return [...left];
    },
  };
};
