/*
 * The public surface, and the one place where the parts meet: a call becomes a text (`event`, `identity`), is made durable
 * (`intake`, `storage`), and is numbered and sent by the core (`driver`, `transport`) in the tab that leads (`election`).
 * Promises that no verb throws into the page and that calls made before `load` count; knows no rule about events.
 */
import { createAutocapture, type Load } from "./autocapture-loader";
import type { Inside } from "./debug";
import { batchOf } from "./batch";
import { monotonic, unix } from "./clock";
import { CHANGED, CONSENT, FLUSH, ONLINE, startCore, WOKE } from "./core";
import { drive, type Driver, type Told } from "./driver";
import { createElection } from "./election";
import { campaignNow, contextNow, member, pageNow, textOf, timeOf, uuid } from "./event";
import { answersOf, CATEGORIES, createConsent } from "./consent";
import { createIdentity, type Kept } from "./identity";
import { createIntake } from "./intake";
import { watchPage } from "./lifecycle";
import { textsOf } from "./record";
import { createStorage, noChanges } from "./storage";
import { BATCH, createTransport } from "./transport";
import type { Committed, Consent, Consents, Event, EventOptions, Fields, Headwater, LoadOptions, Reports } from "./types";

/** What is loaded when it is asked for. */
export interface Files {
  autocapture: Load;
  debug(): Promise<typeof import("./debug")>;
}

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

/** What becomes of an event that may not be kept. */
const none = async (messageId: string) => ({ messageId, durable: false });

/** The same promise; nobody has to handle its failure, which was shown already. */
const quiet = <T>(promise: Promise<T>) => {
  promise.catch(() => {});
  return promise;
};

/**
 * A client of its own, and a way to repeat calls made at another time. `base` is where the script came from.
 */
export const create = (base: string, files: Files) => {
  const listeners: { [name: string]: Set<(report: never) => void> } = {};
  const drops: Inside["drops"] = {};
  const report = <Name extends keyof Reports>(name: Name, what: Reports[Name]) => {
    const { reason } = what as Reports["dropped"];
    if (reason) drops[reason] = (drops[reason] ?? 0) + 1;
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

  const looks: ((event: Event) => Event | null | void)[] = [];
  /** An event's text as those who may look at it leave it; nothing if one of them drops it. */
  const look = (text: string) => {
    for (const act of looks) {
      const event: Event = JSON.parse(text);
      const { type, messageId } = event;
      const head = { type, messageId };
      const { library } = event.context;
      const left = act(event);
      if (left === null) return;
      const { context, ...rest } = left || event;
      // The id is looked for from the front, and what is sent is added to the context, which is the last and is never empty.
      text = JSON.stringify({ ...head, ...rest, ...head, context: { library, ...context } });
    }
    return text;
  };

  /** The address of the last page view. */
  let seen = "";
  let client: ReturnType<typeof begin> | undefined;
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
        if (type == "page") seen = document.URL;
        return call(
          type,
          two ? member("category", a) + member("name", b) : member("name", a),
          "properties",
          given as Fields,
          0,
          two ? d : (c as EventOptions),
        );
      });

  const begin = (options: LoadOptions) => {
    const { writeKey, endpoint = base, wasm = base + "/headwater.wasm?v=" + WASM, allow } = options;
    const name = "headwater:" + writeKey;
    const storage = createStorage(name, () => {
      // The keys that the driver knows are those of a database that is no more: a new term begins with what there is.
      if (!driver) return;
      intake.strand(driver.end(true));
      driver = undefined;
      lead();
    }, options.cookieless);
    const transport = createTransport(endpoint.replace(/\/+$/, ""), options.credentials);
    const answers: Inside["answers"] = [];
    const send: typeof transport = async (to, body) => {
      const answer = await transport(to, body);
      answers.push({ at: unix(), to, status: answer.status, wait: answer.wait, bytes: body.length });
      // Ten are told.
      if (answers.length > 10) answers.shift();
      return answer;
    };
    let driver: Driver | undefined;
    /** Counts the terms of leadership: what was begun in one must not go on in another. */
    let term = 0;
    let attempts = 0;
    let campaign = campaignNow();

    const consent = createConsent(options);
    const identity = createIdentity(
      name,
      options,
      (answers) => consent.bits("denied", answers) < 255,
      (kept: Kept) => {
        if (storage.isOpen()) storage.write({ ...noChanges(), state: { identity: kept } });
      },
    );
    const bits = (state: "pending" | "denied") => consent.bits(state, identity.now().consent);
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
    const nudge = (kind: number, a?: number, b?: number) => others?.postMessage([kind, a, b]);
    if (others)
      others.onmessage = ({ data: [kind, a, b] }) => (kind < 0 ? hear(a, b) : void driver?.input(kind, a, b));
    /** What a driver says is for every tab: each has calls that it is about. */
    const tell = <Name extends keyof Told>(name: Name, what: Told[Name]) => {
      others?.postMessage([-1, name, what]);
      hear(name, what);
    };
    const hear = <Name extends keyof Told>(name: Name, what: Told[Name]) => {
      const { messageId, outcome = "dropped" } = what as Told["acknowledged"];
      waiting.get(messageId)?.(outcome);
      waiting.delete(messageId);
      // Whoever keeps nothing on the device knows that.
      if (name != "acknowledged" && !(options.cookieless && name == "not_durable")) report(name, what as never);
    };
    /** Calls that wait for the collector's answer, by their event's id. */
    const waiting = new Map<string, (outcome: Committed["outcome"]) => void>();

    const lead = async () => {
      const mine = ++term;
      try {
        const saved = await storage.saved("core");
        const left = (await storage.saved("left")) || [];
        const core = await startCore(wasm, saved, monotonic, unix);
        if (mine != term) return;
        driver = drive({ core, storage, send, left, writeKey, tell, loaded: intake.flush, failed });
        driver.input(CONSENT, bits("pending"), bits("denied"));
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
      setTimeout(
        () => mine == term && lead(),
        Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** attempts++),
      );
    };
    const election = createElection(name, storage, lead, resign);

    const leaving = (gone: boolean) => {
      // No core here, and perhaps none anywhere: what this page said goes as it is, known by its ids alone.
      const left = intake.leave(election.role() == "waiting" ? 255 : bits("pending") | bits("denied"));
      if (left.length)
        send(BATCH, batchOf(left.flatMap((rec) => textsOf(rec.words, rec.text!)), unix(), writeKey));
      if (gone) {
        resign();
        election.leave();
      }
    };
    watchPage(leaving, election.join, () => driver?.input(ONLINE));
    const ready = storage.open().then(() => storage.saved("identity")).then(identity.restore);
    election.join();

    const ask = (kind: number, a?: number, b?: number) =>
      driver ? void driver.input(kind, a, b) : nudge(kind, a, b);
    return {
      identity,
      ready,
      inside: (): Inside => ({
        writeKey,
        endpoint,
        user: identity.now(),
        role: election.role(),
        storage,
        consent: (category) => consent.of(category, identity.now().consent),
        answers,
        drops,
      }),
      call(
        type: string,
        head: string,
        name: string,
        given: Fields | undefined,
        priority: number,
        own: EventOptions = {},
      ): Promise<Committed> {
        const { category = CATEGORIES[0] } = own;
        const at = CATEGORIES.indexOf(category);
        if (at < 0) throw new TypeError(`no category of events: ${category} (there are ${CATEGORIES})`);
        const now = called ?? unix();
        const messageId = uuid(now);
        if (consent.of(category, identity.now().consent) == "denied") return none(messageId);
        if (allow && given) given = Object.fromEntries(Object.entries(given).filter(([name]) => allow.includes(name)));
        const time = timeOf(own.timestamp, now);
        const text = look(
          textOf(
            type,
            head,
            messageId,
            identity.who(),
            time,
            member(name, type == "page" ? { ...pageNow(), ...given } : given) + member("integrations", own.integrations),
            contextNow(own.context, options.context),
          ),
        );
        if (!text) return none(messageId);
        const wanted = own.until == "acknowledged";
        const answered = wanted && new Promise<Committed["outcome"]>((done) => waiting.set(messageId, done));
        const taken = intake.take({ text, priority: priority + 4 * at + (wanted ? 32 : 0), at: time, campaign });
        campaign = 0;
        return answered
          ? Promise.all([taken, answered]).then(([durable, outcome]) => ({ messageId, durable, outcome }))
          : taken.then((durable) => ({ messageId, durable }));
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
      async consent(answer: Consent | Consents) {
        identity.set({ consent: { ...identity.now().consent, ...answersOf(answer) } });
        if (bits("denied") == 255) identity.renew();
        ask(CONSENT, bits("pending"), bits("denied"));
      },
    };
  };

  const headwater: Headwater = {
    load(options) {
      if (client) return;
      client = begin(options);
      early.forEach((act) => act());
      early = [];
      if (options.autocapture != null) headwater.autocapture(options.autocapture);
    },
    track: (event, properties, options) =>
      when(({ call }) =>
        call(
          "track",
          member("event", word(event, "track")),
          "properties",
          properties,
          // What was earned is given up last.
          (properties?.revenue ?? properties?.total) == null ? 1 : 2,
          options,
        ),
      ),
    identify: (userId?: string | Fields | null, traits?: Fields | EventOptions, options?: EventOptions) =>
      when(({ call, identity }) => {
        if (isFields(userId)) [userId, traits, options] = [null, userId, traits as EventOptions];
        if (userId != null) identity.set({ userId: word(userId, "identify") });
        return call("identify", "", "traits", traits as Fields, 2, options);
      }),
    page: named("page"),
    screen: named("screen"),
    group: (groupId, traits, options) =>
      when(({ call }) =>
        call("group", member("groupId", word(groupId, "group")), "traits", traits, 2, options),
      ),
    alias: (userId, previousId, options) =>
      when(({ call, identity }) => {
        const { userId: known, anonymousId } = identity.now();
        identity.set({ userId: word(userId, "alias") });
        return call("alias", member("previousId", previousId ?? known ?? anonymousId), "", undefined, 2, options);
      }),
    reset: () => void when((loaded) => loaded.reset()),
    flush: () => when((loaded) => loaded.flush()),
    consent: (answer) => void when((loaded) => loaded.consent(answer)),
    on(name, listener) {
      const set = (listeners[name] ??= new Set());
      set.add(listener as never);
      return () => void set.delete(listener as never);
    },
    off: (name, listener) => void listeners[name]?.delete(listener as never),
    before: (act) => void looks.push(act),
    user() {
      const { anonymousId, userId } = client?.identity.now() ?? {};
      return anonymousId ? { anonymousId, userId } : undefined;
    },
    setAnonymousId: (anonymousId) =>
      void when(async ({ identity }) => identity.set({ anonymousId: word(anonymousId, "setAnonymousId") })),
    ready: (act) => when(({ ready }) => ready.then(act)),
    debug: () => when(async ({ inside }) => (await files.debug()).debug(inside())),
    autocapture: (what) => capture(what),
  };
  const capture = createAutocapture(headwater, files.autocapture, () => seen);
  return { headwater, at };
};
