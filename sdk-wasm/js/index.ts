/*
 * The public surface, and the one place where the parts meet: a call becomes a text (`event`, `identity`), is made durable
 * (`intake`, `storage`), and is numbered and sent by the core (`driver`, `transport`) in the tab that leads (`election`).
 * Promises that no verb throws into the page and that calls made before `load` count; knows no rule about events.
 */
import { createAutocapture, type Load } from "./autocapture-loader";
import { batchOf } from "./batch";
import { monotonic, unix } from "./clock";
import { CHANGED, CONSENT, FLUSH, ONLINE, startCore, WOKE } from "./core";
import { drive, type Driver } from "./driver";
import { createElection } from "./election";
import { campaignNow, createContext, member, page, pageNow, textOf, timeOf, uuid } from "./event";
import { createIdentity, type Kept } from "./identity";
import { createIntake } from "./intake";
import { watchPage } from "./lifecycle";
import { textsOf } from "./record";
import { createStorage, noChanges } from "./storage";
import { BATCH, createTransport } from "./transport";
import type { Consent, EventOptions, Fields, Headwater, LoadOptions, Reports } from "./types";

/** Where this client's server and files are: endpoint, wasm, and the core as JavaScript if it is not beside the wasm. */
export type Place = (options: LoadOptions) => [endpoint: string, wasm: string, js?: string];

const CONSENTS: Consent[] = ["pending", "granted", "denied"];

/** Said by one tab or worker to the others, beside the kinds of input: who the person is by now. */
const WHO = -1;

/** The wait before the core is tried again, milliseconds: doubled each time. */
const RETRY_MS = 1000;
const MAX_RETRY_MS = 60000;

const isFields = (value: unknown): value is Fields => !!value && typeof value == "object";

/** A name or an id as text. What is neither would be stored as "undefined" or "[object Object]", for good. */
const word = (value: unknown, verb: keyof Headwater) => {
  if (value == null || value === "" || isFields(value))
    throw new TypeError(`${verb}() needs a name or an id first, and was given ${JSON.stringify(value)}`);
  return String(value);
};

/** The same promise; nobody has to handle its failure, which was shown already. */
const quiet = <T>(promise: Promise<T>) => {
  promise.catch(() => {});
  return promise;
};

/**
 * A client of its own, and a way to repeat calls made at another time. `place` says where its files are, `autocapture` gets
 * the file of that name.
 */
export const create = (place: Place, autocapture: Load) => {
  const listeners: { [name: string]: Set<(report: never) => void> } = {};
  const report = <Name extends keyof Reports>(name: Name, what: Reports[Name]) => {
    // Nobody asked to be told: a developer looks into the console first.
    if (!listeners[name]?.size) console.warn("headwater:", name, what);
    listeners[name]?.forEach((listener) => {
      try {
        listener(what as never);
      } catch (error) {
        // The page's own mistake: shown, and kept out of the way of events.
        reportError?.(error);
      }
    });
  };

  /** The address of the last page view. */
  let seen = "";
  let loaded: ReturnType<typeof begin> | undefined;
  /** The same, once calls can be made. */
  let client: typeof loaded;
  let early: (() => void)[] = [];
  /** The time of the call that is being repeated. */
  let called: number | undefined;
  const at = (time: number | undefined, act: () => unknown) => {
    called = time;
    act();
    called = undefined;
  };
  /** Does it now, or when `load` is called, at the time of now. What goes wrong is the promise's, never the page's. */
  const when = <T>(act: (loaded: ReturnType<typeof begin>) => Promise<T>): Promise<T> => {
    if (!client) {
      const time = called ?? unix();
      return quiet(new Promise<T>((done) => early.push(() => at(time, () => done(when(act))))));
    }
    try {
      return act(client);
    } catch (error) {
      console.error("headwater:", error);
      return quiet(Promise.reject(error));
    }
  };

  const named =
    (type: string) =>
    (a?: string | Fields | null, b?: string | Fields | EventOptions, c?: Fields | EventOptions, d?: EventOptions) =>
      when(({ call }) => {
        if (isFields(a)) [a, b, c] = [null, a, b as EventOptions];
        const two = typeof b == "string";
        const given = two ? c : b;
        const here = type == "page" && pageNow();
        if (here) seen = here.url;
        return call(
          type,
          two ? member("category", a) + member("name", b) : member("name", a),
          member("properties", here ? { ...here, ...(given as Fields) } : given),
          0,
          two ? d : (c as EventOptions),
        );
      });

  const begin = (options: LoadOptions) => {
    const { writeKey } = options;
    const [endpoint, wasm, js] = place(options);
    const name = "headwater:" + writeKey;
    const storage = createStorage(name, () => {
      // The keys that the driver knows are those of a database that is no more: a new term begins with what there is.
      if (!driver) return;
      intake.strand(driver.end(true));
      driver = undefined;
      lead();
    });
    const send = createTransport(endpoint);
    let driver: Driver | undefined;
    /** Counts the terms of leadership: what was begun in one must not go on in another. */
    let term = 0;
    let attempts = 0;
    let campaign = campaignNow();
    const contextNow = createContext(options.context);

    const identity = createIdentity(name, (kept: Kept) => {
      storage.write({ ...noChanges(), state: { identity: kept } });
      nudge(WHO, kept);
    });
    const intake = createIntake(
      storage,
      () => driver,
      () => {
        if (driver) return void driver.input(CHANGED);
        nudge(CHANGED);
        // A leader that is hidden has slow timers: it is woken when it will want to send.
        clearTimeout(later);
        later = setTimeout(nudge, 300, WOKE);
      },
      () => report("dropped", { reason: "queue_full" }),
    );

    const others = self.BroadcastChannel && new BroadcastChannel(name);
    let later: ReturnType<typeof setTimeout> | undefined;
    const nudge = (kind: number, a?: number | Kept) => others?.postMessage([kind, a]);
    if (others)
      others.onmessage = ({ data: [kind, a] }) => void (kind == WHO ? identity.hear(a) : driver?.input(kind, a));

    const lead = async () => {
      const mine = ++term;
      try {
        const saved = await storage.saved("core");
        const left = (await storage.saved("left")) || [];
        const core = await startCore(wasm, js, saved, monotonic, unix);
        if (mine != term) return;
        driver = drive({ core, storage, send, left, writeKey, report, loaded: intake.flush, failed });
        const { consent } = identity.now();
        if (consent) driver.input(CONSENT, CONSENTS.indexOf(consent));
        else driver.input(WOKE);
        attempts = 0;
      } catch (error) {
        if (mine == term) failed(error);
      }
    };
    const resign = () => {
      term++;
      if (driver) intake.strand(driver.end());
      driver = undefined;
    };
    const failed = (error: unknown) => {
      resign();
      report("core_failed", { error });
      const mine = term;
      // Another tab may have what this one lacks.
      election.leave();
      setTimeout(
        () => mine == term && election.join(),
        Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** attempts++),
      );
    };
    const election = createElection(name, storage, lead, resign);

    const leaving = (gone: boolean) => {
      // No core here, and perhaps none anywhere: what this page said goes as it is, known by its ids alone.
      const left = intake.leave(
        election.role() != "waiting" && (identity.now().consent ?? "granted") == "granted",
      );
      if (left.length)
        send(BATCH, batchOf(left.flatMap((rec) => textsOf(rec.words, rec.text!)), unix(), writeKey));
      if (gone) {
        resign();
        election.leave();
      }
    };
    const join = () => {
      election.join();
      return storage.swap("identity", identity.hear);
    };
    watchPage(leaving, join, () => driver?.input(ONLINE));
    const { anonymousId } = identity.now();
    const known = join().then(() => intake.begin(anonymousId, identity.now().anonymousId));

    const ask = (kind: number, a?: number) => (driver ? void driver.input(kind, a) : nudge(kind, a));
    return {
      identity,
      /** When the database has said who this is. */
      known,
      call(type: string, head: string, body: string, priority: number, own?: EventOptions) {
        const now = called ?? unix();
        const messageId = uuid(now);
        if (identity.now().consent == "denied") return Promise.resolve({ messageId, durable: false });
        const time = timeOf(own?.timestamp, now);
        const taken = intake.take({
          text: textOf(
            type,
            head,
            messageId,
            identity.who(),
            time,
            body + member("integrations", own?.integrations),
            contextNow(own?.context),
          ),
          priority,
          at: time,
          campaign,
        });
        campaign = 0;
        return taken.then((durable) => ({ messageId, durable }));
      },
      async reset() {
        identity.renew();
        // A campaign like no other: it begins a session with the next event, whatever tab numbers it.
        campaign = crypto.getRandomValues(new Uint32Array(1))[0] || 1;
      },
      async flush() {
        await intake.settled();
        ask(FLUSH);
      },
      async consent(answer: Consent) {
        identity.set({ consent: answer });
        if (answer == "denied") identity.renew();
        ask(CONSENT, CONSENTS.indexOf(answer));
      },
    };
  };

  const headwater: Headwater = {
    load(options) {
      if (loaded) return;
      const begun = (loaded = begin(options));
      const start = () => {
        client = begun;
        early.forEach((act) => act());
        early = [];
      };
      // A worker has no localStorage to ask who this is: its calls wait for the database.
      page ? start() : begun.known.then(start);
      if (options.autocapture != null) headwater.autocapture(options.autocapture);
    },
    track: (event, properties, options) =>
      when(({ call }) =>
        call("track", member("event", word(event, "track")), member("properties", properties), 1, options),
      ),
    identify: (userId?: string | Fields | null, traits?: Fields | EventOptions, options?: EventOptions) =>
      when(({ call, identity }) => {
        if (isFields(userId)) [userId, traits, options] = [null, userId, traits];
        if (userId != null) identity.set({ userId: word(userId, "identify") });
        return call("identify", "", member("traits", traits), 2, options);
      }),
    page: named("page"),
    screen: named("screen"),
    group: (groupId, traits, options) =>
      when(({ call }) =>
        call("group", member("groupId", word(groupId, "group")), member("traits", traits), 2, options),
      ),
    alias: (userId, previousId, options) =>
      when(({ call, identity }) => {
        const { userId: known, anonymousId } = identity.now();
        identity.set({ userId: word(userId, "alias") });
        return call("alias", member("previousId", previousId ?? known ?? anonymousId), "", 2, options);
      }),
    reset: () => void when((loaded) => loaded.reset()),
    flush: () => when((loaded) => loaded.flush()),
    consent: (answer) => void when((loaded) => loaded.consent(answer)),
    on(name, listener) {
      const set = (listeners[name] ??= new Set());
      set.add(listener as never);
      return () => void set.delete(listener as never);
    },
    autocapture: (what) => capture(what),
  };
  const capture = createAutocapture(headwater, autocapture, () => seen);
  return { headwater, at };
};
