/*
 * The public surface, and the one place where the parts meet: a call becomes a text (`event`, `identity`), is made durable
 * (`intake`, `storage`), and is numbered and sent by the core (`driver`, `transport`) in the tab that leads (`election`).
 * Promises that no verb throws into the page and that calls made before `load` count; knows no rule about events.
 */
import { batchOf } from "./batch";
import { monotonic, unix } from "./clock";
import { CHANGED, CONSENT, FLUSH, ONLINE, startCore, WOKE } from "./core";
import { drive, type Driver } from "./driver";
import { createElection } from "./election";
import { campaignNow, contextNow, member, pageNow, textOf, timeOf, uuid } from "./event";
import { createIdentity, type Kept } from "./identity";
import { createIntake } from "./intake";
import { watchPage } from "./lifecycle";
import { textsOf } from "./record";
import { createStorage, noChanges } from "./storage";
import { createTransport } from "./transport";
import type { Committed, Consent, EventOptions, Fields, Headwater, LoadOptions, Reports } from "./types";

/** One to every verb: what an event of it is made of. */
type Made = [type: string, head: string, body: string, options?: EventOptions];

const CONSENTS: Consent[] = ["pending", "granted", "denied"];

/** The wait before the core is tried again, milliseconds: doubled each time. */
const RETRY_MS = 1000;
const MAX_RETRY_MS = 60000;

/** A client of its own, and a way to repeat calls made at another time. `base` is where the script came from. */
export const create = (base: string) => {
  const listeners: { [name: string]: Set<(report: never) => void> } = {};
  const report = <Name extends keyof Reports>(name: Name, what: Reports[Name]) =>
    listeners[name]?.forEach((listener) => {
      try {
        listener(what as never);
      } catch (error) {
        // The page's own mistake: shown, and kept out of the way of events.
        reportError?.(error);
      }
    });

  let client: ReturnType<typeof begin> | undefined;
  let early: (() => void)[] = [];
  /** Does it now, or when `load` is called, with the time of the call. */
  const when = <T>(act: (loaded: ReturnType<typeof begin>, called: number) => T, called = unix()) =>
    client
      ? act(client, called)
      : new Promise<T>((done) => early.push(() => done(act(client!, called))));
  const call = async (make: (identity: ReturnType<typeof createIdentity>) => Made): Promise<Committed> =>
    when((loaded, called) => loaded.call(make, called), replayed);
  /** The time of a call that was queued before the script was there. */
  let replayed: number | undefined;

  const named = (type: string, a?: string, b?: string | Fields, c?: Fields | EventOptions, d?: EventOptions) => {
    const two = typeof b == "string";
    const properties = (two ? c : b) as Fields | undefined;
    const page = type == "page" ? { ...pageNow(), ...properties } : properties;
    const head = two ? member("category", a) + member("name", b) : member("name", a);
    return call(() => [type, head, member("properties", page), two ? d : (c as EventOptions)]);
  };

  const begin = (options: LoadOptions) => {
    const { writeKey, endpoint = base, wasm = base + "/headwater.wasm?v=" + WASM } = options;
    const name = "headwater:" + writeKey;
    const storage = createStorage(name);
    const send = createTransport(endpoint.replace(/\/+$/, ""));
    let driver: Driver | undefined;
    /** Counts the terms of leadership: what was begun in one must not go on in another. */
    let term = 0;
    let attempts = 0;
    let campaign = campaignNow();

    const identity = createIdentity(name, (kept: Kept) => {
      if (storage.isOpen()) storage.write({ ...noChanges(), state: { identity: kept } });
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
    const nudge = (kind: number, a?: number) => others?.postMessage([kind, a]);
    if (others) others.onmessage = ({ data: [kind, a] }) => void driver?.input(kind, a);

    const lead = async () => {
      const mine = ++term;
      try {
        const saved = await storage.saved("core");
        const core = await startCore(wasm, saved, monotonic, unix);
        if (mine != term) return;
        driver = drive({ core, storage, send, writeKey, report, loaded: intake.flush, failed });
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
      setTimeout(
        () => mine == term && lead(),
        Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** attempts++),
      );
    };
    const election = createElection(name, storage, lead, resign);

    const leaving = (gone: boolean) => {
      const left = intake.leave();
      // No core here, and perhaps none anywhere: what this page said goes as it is, known by its ids alone.
      if (left.length && election.role() != "waiting" && (identity.now().consent ?? "granted") == "granted")
        send(batchOf(left.flatMap((rec) => textsOf(rec.words, rec.text!)), unix(), writeKey));
      if (gone) {
        resign();
        election.leave();
      }
    };
    watchPage(leaving, election.join, () => driver?.input(ONLINE));
    storage.open().then(() => storage.saved("identity")).then(identity.restore);
    election.join();

    const ask = (kind: number, a?: number) => (driver ? void driver.input(kind, a) : nudge(kind, a));
    return {
      intake,
      identity,
      ask,
      call: async (make: (of: typeof identity) => Made, called: number): Promise<Committed> => {
        const [type, head, body, own] = make(identity);
        const messageId = uuid(called);
        if (identity.now().consent == "denied") return { messageId, durable: false };
        const at = timeOf(own?.timestamp, called);
        const text = textOf(
          type, head, messageId, identity.who(), at, body + member("integrations", own?.integrations),
          contextNow(own?.context, options.context),
        );
        const priority = type == "track" ? 1 : type == "page" || type == "screen" ? 0 : 2;
        const durable = intake.take({ text, priority, at, campaign });
        campaign = 0;
        return { messageId, durable: await durable };
      },
      reset() {
        identity.renew();
        // A campaign like no other: it begins a session with the next event, whatever tab numbers it.
        campaign = crypto.getRandomValues(new Uint32Array(1))[0] || 1;
      },
      consent(answer: Consent) {
        identity.set({ consent: answer });
        if (answer == "denied") identity.renew();
        ask(CONSENT, CONSENTS.indexOf(answer));
      },
    };
  };

  const headwater: Headwater = {
    load(options) {
      if (client) return;
      client = begin(options);
      const calls = early;
      early = [];
      calls.forEach((act) => act());
    },
    track: (event, properties, options) =>
      call(() => ["track", member("event", String(event)), member("properties", properties), options]),
    identify: (userId, traits, options) =>
      call((identity) => {
        if (userId != null) identity.set({ userId: String(userId) });
        return ["identify", "", member("traits", traits), options];
      }),
    page: (...given: [never]) => named("page", ...given),
    screen: (...given: [never]) => named("screen", ...given),
    group: (groupId, traits, options) =>
      call(() => ["group", member("groupId", String(groupId)), member("traits", traits), options]),
    alias: (userId, previousId, options) =>
      call((identity) => {
        const { userId: known, anonymousId } = identity.now();
        identity.set({ userId: String(userId) });
        return ["alias", member("previousId", previousId ?? known ?? anonymousId), "", options];
      }),
    reset: () => void when((loaded) => loaded.reset()),
    flush: async () => {
      await when(async ({ intake, ask }) => {
        await intake.settled();
        ask(FLUSH);
      });
    },
    consent: (answer) => void when((loaded) => loaded.consent(answer)),
    on(name, listener) {
      const set = (listeners[name] ??= new Set());
      set.add(listener as never);
      return () => void set.delete(listener as never);
    },
  };
  const at = (time: number | undefined, act: () => unknown) => {
    replayed = time;
    act();
    replayed = undefined;
  };
  return { headwater, at };
};
