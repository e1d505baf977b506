/*
 * The core in this page: its wasm loaded, or its JavaScript where that is all that is allowed, and the numbers that it
 * speaks (`src/lib.rs`, `src/words.rs`). Promises a fresh client at every start; knows nothing of what an effect is good
 * for.
 */

/** Kinds of input, and what their numbers mean. */
export const TRACKED = 0; // entries in the words, their count
export const LOADED = 1; // the same, and whether there are more
export const CHANGED = 2;
export const COMMITTED = 3; // turn, whether durable
export const ANSWERED = 4; // request, status or 0, wait in ms or count of listed pairs in the words
export const WOKE = 5;
export const FLUSH = 6;
export const ONLINE = 7;
export const LEAVING = 8;
export const CONSENT = 9; // 0 pending, 1 granted, 2 denied

/** Kinds of effect: the first word of their row, and what the others mean. */
export const STORE = 1; // key, seq, session, start
export const FORGET = 2; // key
export const SAVE = 3; // count of bytes, then four to a word: given back at the next start
export const PURGE = 4;
export const COMMIT = 5; // turn
export const LOAD = 6; // limit
export const SEND = 7; // request, 1 leaving or 2 asking, droppedAt, events, drops, queue (4), [key, numbered]…, [first, last, reason]…
export const WAKE_AT = 8; // monotonic ms
export const REPORT = 9; // kind, two numbers

/** Entries that one input can bring. */
export const MAX_ENTRIES = 512;
const WORDS = 4096;

/** What the wasm exports, by the first letters of memory, words, start, input and effects: `headwater-pack` leaves no more. */
interface Exports {
  m: WebAssembly.Memory;
  w(): number;
  s(saved: number, monotonic: number, unix: number): void;
  i(kind: number, a: number, b: number, c: number, monotonic: number, unix: number): void;
  e(): number;
}

/** A client, and its end of the conversation. */
export interface Core {
  input: Exports["i"];
  effects: Exports["e"];
  /** The words shared with it: read them, or write them, before the next call. */
  words(): Float64Array;
}

let tries = 0;
let make: (() => Exports | Promise<Exports>) | undefined;

/**
 * The way to an instance. The wasm is this build's, or none: whatever server it came from, its hash is known. A page whose CSP refuses WebAssembly
 * has the same core as JavaScript, 8 KB larger; browsers let an `import()` have no hash, and a service worker no `import()`.
 */
const fetched = async (url: string, js = url.replace(".wasm", ".core.js")): Promise<typeof make> => {
  try {
    // The smallest module there is. Chromium and Firefox refuse to compile it, WebKit only to make an instance of it.
    new WebAssembly.Instance(new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0)));
  } catch {
    // A browser remembers for good that an address gave no module; the fragment makes it another one.
    const again = js + "#" + tries++;
    return (await (MODULE ? importAsIs(again) : import(again))).default;
  }
  const response = await fetch(url, { credentials: "omit", integrity: WASM });
  const module = await WebAssembly.compile(await response.arrayBuffer());
  return async () => (await WebAssembly.instantiate(module)).exports as unknown as Exports;
};

/** Starts a client from what was saved. Fails if the core cannot be had. */
export const startCore = async (
  url: string,
  js: string | undefined,
  saved: Float64Array | undefined,
  monotonic: () => number,
  unix: () => number,
): Promise<Core> => {
  const core = await (make ??= await fetched(url, js))!();
  // A view dies when memory grows.
  const words = () => new Float64Array(core.m.buffer, core.w(), WORDS);
  words().set(crypto.getRandomValues(new Uint32Array(4)));
  if (saved) words().set(saved.slice(0, WORDS - 4), 4);
  core.s(saved ? 1 : 0, monotonic(), unix());
  return { input: core.i, effects: core.e, words };
};
