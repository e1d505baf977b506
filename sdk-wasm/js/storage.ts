/*
 * The browser's storage: an IndexedDB database for each write key. Promises that a change is one transaction, all or
 * nothing, in the order of the calls; that with the database open it is handed to the browser before `write` returns (so that it
 * survives the page); and an answer in any case: `false` when storage is refused, full, blocked or deleted. Knows
 * nothing of what a record means.
 *
 * `records` {id, text, words}: keys are given by the database, so that their order is the order of the commits, whatever
 * tab made them. `marks` {id, words}: the numbers of a record as they are by now. `state`: what is saved, by name.
 * Relaxed durability and an explicit `commit()`: measured to survive a crash of the page at once, a killed browser after
 * 10 ms, and ten times cheaper than the transaction that commits itself.
 */
import type { Rec } from "./record";

/** What one transaction does, in this order. */
export interface Changes {
  purge?: boolean;
  add: Set<Rec>;
  mark: Set<Rec>;
  remove: Set<number>;
  state: Record<string, unknown>;
}

export const noChanges = (): Changes => ({
  add: new Set(),
  mark: new Set(),
  remove: new Set(),
  state: {},
});

/** A record as it lies in storage. */
export interface Stored {
  id: number;
  text: string;
  words: Float64Array;
}

export type Storage = ReturnType<typeof createStorage>;

const RECORDS = "records";
const MARKS = "marks";
const STATE = "state";
const ALL = [RECORDS, MARKS, STATE];

/** How long the database may take to open before events go on from memory: it is blocked while somebody deletes it. */
const OPEN_MS = 5000;

/** `lost` is called when the database goes away: deleted by the person, or wanted by a newer version. With `none` there is none. */
export const createStorage = (name: string, lost: () => void, none?: boolean) => {
  let db: IDBDatabase | undefined;
  let opening: Promise<unknown> | undefined;
  /** In place of a lock where there are none: see `election.ts`. */
  let fence: string | undefined;

  const open = () =>
    (opening ??= new Promise<void>((done) => {
      if (none) return done();
      const request = indexedDB.open(name, 1);
      request.onupgradeneeded = () => {
        for (const store of [RECORDS, MARKS])
          request.result.createObjectStore(store, { keyPath: "id", autoIncrement: store == RECORDS });
        request.result.createObjectStore(STATE);
      };
      request.onsuccess = () => {
        db = request.result;
        // Opened anew at the next change; what has a key in it has none in the next one.
        db.onclose = db.onversionchange = () => {
          close();
          lost();
        };
        done();
      };
      request.onerror = request.onblocked = () => done();
      setTimeout(done, OPEN_MS);
    }).catch(() => {}));
  const close = () => {
    db?.close();
    db = opening = undefined;
  };

  /** Runs a transaction; `false` if it did not become durable. */
  const transact = (mode: IDBTransactionMode, act: (tx: IDBTransaction) => void) => {
    const run = () =>
      new Promise<boolean>((done) => {
        try {
          const tx = db!.transaction(ALL, mode, { durability: "relaxed" });
          tx.oncomplete = () => done(true);
          tx.onabort = () => done(false);
          act(tx);
        } catch {
          // No database, or one that is being closed.
          close();
          done(false);
        }
      });
    return db ? run() : open().then(run);
  };

  /** What is saved under a name, looked at and changed in one transaction; nothing is saved if `change` gives back nothing. */
  const swap = (key: string, change: (found: any) => unknown) =>
    transact("readwrite", (tx) => {
      const store = tx.objectStore(STATE);
      const found = store.get(key);
      found.onsuccess = () => {
        const wanted = change(found.result);
        if (wanted) store.put(wanted, key);
      };
    });

  const apply = (tx: IDBTransaction, { purge, add, mark, remove, state }: Changes) => {
    const [records, marks, states] = ALL.map((store) => tx.objectStore(store));
    if (purge) for (const store of [records, marks]) store.clear();
    for (const rec of add)
      records.add({ text: rec.text, words: rec.words }).onsuccess = (event) =>
        (rec.id = (event.target as IDBRequest).result);
    for (const { id, words } of mark) marks.put({ id, words });
    // What is answered for together was mostly stored together: a few ranges instead of many keys.
    for (const id of remove)
      if (!remove.has(id - 1)) {
        let last = id;
        while (remove.has(last + 1)) last++;
        for (const store of [records, marks]) store.delete(IDBKeyRange.bound(id, last));
      }
    for (const key in state) states.put(state[key], key);
    tx.commit?.();
  };

  return {
    open,
    isOpen: () => !!db,
    /**
     * Commits these changes. Records that were added have their `id` by the time of the answer. What only a leader may change is
     * not, once another tab has the lease.
     */
    write: (changes: Changes, leading?: boolean) =>
      transact("readwrite", (tx) => {
        if (!fence || !leading) return apply(tx, changes);
        const lease = tx.objectStore(STATE).get("lease");
        lease.onsuccess = () =>
          lease.result?.owner == fence ? apply(tx, changes) : tx.abort();
      }),
    /** What is saved under a name. */
    async saved(key: string) {
      let value: any;
      await swap(key, (found) => void (value = found));
      return value;
    },
    /** Up to `count` records behind this key, with their numbers as they are by now. */
    async read(after: number, count: number): Promise<Stored[] | undefined> {
      let found: IDBRequest<Stored[]> | undefined;
      let marks: IDBRequest<Stored[]> | undefined;
      const durable = await transact("readonly", (tx) => {
        const behind = IDBKeyRange.lowerBound(after, true);
        found = tx.objectStore(RECORDS).getAll(behind, count);
        marks = tx.objectStore(MARKS).getAll(behind, count);
      });
      if (!durable) return;
      const words = new Map(marks!.result.map((mark) => [mark.id, mark.words]));
      return found!.result.map((rec) => ({ ...rec, words: words.get(rec.id) ?? rec.words }));
    },
    /** The texts of these records, as far as they are there; nothing if storage does not answer. */
    async texts(ids: number[]) {
      const found: IDBRequest<Stored | undefined>[] = [];
      const durable = await transact("readonly", (tx) => {
        for (const id of ids) found.push(tx.objectStore(RECORDS).get(id));
      });
      return durable ? found.map((request) => request.result?.text) : undefined;
    },
    swap,
    /** Takes or renews the lease; from then on nothing is written without it. */
    async lease(owner: string, now: number, until: number) {
      let mine = false;
      const durable = await swap("lease", (held) => {
        mine = !held || held.owner == owner || held.until < now || held.until > 2 * until - now;
        return mine && { owner, until };
      });
      fence = mine && durable ? owner : fence;
      return mine && durable;
    },
  };
};
