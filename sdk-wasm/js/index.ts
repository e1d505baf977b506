/*
 * The public surface: what a page can say, in Segment's many forms, and what it hears back. Promises that no verb throws into the
 * page, and that calls made before `load` count, at their time. Knows of events only what their verbs say.
 */
import { createAutocapture } from "./autocapture-loader";
import { begin, type Client, type Place, type Said } from "./client";
import { unix } from "./clock";
import { answersOf } from "./consent";
import { ADDED, member, page, quote } from "./event";
import type { LoadPart } from "./parts";
import type { Event, EventOptions, Fields, Headwater, Reports } from "./types";

const isFields = (value: unknown): value is object => value != null && typeof value == "object";

/** A name or an id as text. What is neither would be stored as "undefined" or "[object Object]", for good. */
const word = (value: unknown, verb: keyof Headwater) => {
  if (value == null || value === "" || isFields(value))
    throw new TypeError(`${verb}() needs a name or an id, not ${quote(value)}`);
  return String(value);
};

/** The same promise; nobody has to handle its failure, which was shown already. */
const quiet = <T>(promise: Promise<T>) => {
  promise.catch(() => {});
  return promise;
};

/**
 * A client of its own, and a way to repeat calls made at another time. `place` says where its files are, `part` gets those that
 * are loaded when they are asked for.
 */
export const create = (place: Place, part: LoadPart) => {
  const listeners: { [name: string]: Set<(report: never) => void> } = {};
  const drops: { [reason: string]: number } = {};
  const report = <Name extends keyof Reports>(name: Name, what: Reports[Name]) => {
    const { reason } = what as Reports["dropped"];
    if (reason) drops[reason] = (drops[reason] ?? 0) + 1;
    // Nobody asked to be told: a developer looks into the console first.
    if (!listeners[name]?.size) console.warn("headwater:", name, what);
    new Set(listeners[name]).forEach((listener) => {
      try {
        listener(what as never);
      } catch (error) {
        // The page's own mistake: shown, and kept out of the way of events.
        reportError?.(error);
      }
    });
  };

  const looks: ((event: Event) => Event | null | void)[] = [];
  let looking = false;
  const look = (text: string) => {
    // What is called while one looks is not looked at again.
    for (const act of looking ? [] : looks) {
      const event: Event = JSON.parse(text);
      const { type, messageId } = event;
      const head = { type, messageId };
      const { library } = event.context;
      looking = true;
      let left;
      try {
        left = act(event);
      } finally {
        looking = false;
      }
      if (left === null) return;
      if (left instanceof Promise) throw new TypeError("before() cannot wait");
      // What a short arrow function happens to give back is no event.
      const { context, ...rest } = isFields(left) && !Array.isArray(left) ? (left as Event) : event;
      // The id is looked for from the front, and what is sent is added to the context, which is the last and is never empty.
      text = quote({ ...head, ...rest, ...head, context: { library, ...context, ...ADDED } });
    }
    return text;
  };

  /** The address of the last page view. */
  let seen = "";
  let loaded: Client | undefined;
  /** The same, once calls can be made. */
  let client: Client | undefined;
  let early: (() => void)[] = [];
  /** The time of the call that is being repeated. */
  let called: number | undefined;
  const at = (time: number | undefined, act: () => unknown) => {
    called = time;
    act();
    called = undefined;
  };
  /**
   * Does it now, or when `load` is called, at the time of now. What goes wrong is the promise's, never the page's. What `act` is given is
   * made here and now: nobody waits for the caller to change what it was made of.
   */
  const when = <T, Made>(act: (client: Client, made: Made) => Promise<T>, make?: () => Made): Promise<T> => {
    try {
      const made = make?.() as Made;
      if (client) return act(client, made);
      const time = called ?? unix();
      const copy = made && JSON.parse(quote(made));
      return quiet(new Promise<T>((done) => early.push(() => at(time, () => done(when((client) => act(client, copy)))))));
    } catch (error) {
      console.error("headwater:", error);
      return quiet(Promise.reject(error));
    }
  };
  /** An event. Whoever the person is by then is looked at when it can be. */
  const say = (make: () => Said) => when((client, said) => client.call(said, called ?? unix()), make);

  const named =
    (type: string) =>
    (a?: string | object | null, b?: string | object | EventOptions, c?: object, d?: EventOptions) =>
      say(() => {
        if (isFields(a)) [a, b, c] = [null, a, b as EventOptions];
        const two = typeof b == "string";
        if (type == "page") seen = page?.URL ?? "";
        return {
          type,
          head: two ? member("category", a) + member("name", b) : member("name", a),
          name: "properties",
          given: (two ? c : b) as object,
          priority: 0,
          own: two ? d : (c as EventOptions),
        };
      });

  const headwater: Headwater = {
    load(options) {
      if (loaded) return;
      try {
        loaded = begin(options, { place, part, report, look });
      } catch (error) {
        return console.error("headwater:", error);
      }
      const begun = loaded;
      const start = () => {
        client = begun;
        early.forEach((act) => act());
        early = [];
      };
      // A worker has no localStorage to ask who this is: its calls wait for the database.
      if (page) start();
      else begun.known.then(start);
      if (options.autocapture != null) headwater.autocapture(options.autocapture);
    },
    track: (event, given, own) =>
      say(() => ({
        type: "track",
        head: member("event", word(event, "track")),
        name: "properties",
        given,
        // What was earned is given up last.
        priority: ((given as Fields)?.revenue ?? (given as Fields)?.total) == null ? 1 : 2,
        own,
      })),
    identify: (userId?: string | object | null, traits?: object, own?: EventOptions) =>
      say(() => {
        if (isFields(userId)) [userId, traits, own] = [null, userId, traits as EventOptions];
        if (userId != null) userId = word(userId, "identify");
        return { type: "identify", userId, name: "traits", given: traits, priority: 2, own };
      }),
    page: named("page"),
    screen: named("screen"),
    group: (groupId, given, own) =>
      say(() => ({
        type: "group",
        head: member("groupId", word(groupId, "group")),
        name: "traits",
        given,
        priority: 2,
        own,
      })),
    alias: (userId, previousId, own) =>
      say(() => ({ type: "alias", userId: word(userId, "alias"), head: member("previousId", previousId), priority: 2, own })),
    reset: () => void when((client) => client.reset()),
    flush: () => when((client) => client.flush()),
    consent: (answer) => void when((client, answers) => client.consent(answers), () => answersOf(answer)),
    user() {
      const now = client?.identity.now();
      return now && { anonymousId: now.anonymousId, userId: now.userId };
    },
    setAnonymousId: (anonymousId) =>
      void when(async ({ identity }) => identity.set({ anonymousId: word(anonymousId, "setAnonymousId") })),
    ready: (act) => when(({ known }) => known.then(() => act?.())),
    before: (act) => void looks.push(act),
    debug: () => when(async ({ inside }) => (await part("debug")).run(inside, drops)),
    on(name: string, listener: unknown) {
      const set = (listeners[name] ??= new Set()).add(listener as never);
      // A file that does not load is said by the browser.
      if (name == "message") quiet(when(async ({ inside }) => (await part(name)).run(inside, set as never, headwater)));
      return () => set.delete(listener as never);
    },
    off(name: string, listener: unknown) {
      listeners[name]?.delete(listener as never);
    },
    autocapture: (what) => capture(what),
  };
  const capture = createAutocapture(headwater, part, () => seen);
  return { headwater, at };
};
