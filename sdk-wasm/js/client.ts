/*
 * The one place where the parts meet, for one write key: a call becomes a text (`event`, `identity`), is made durable (`intake`,
 * `storage`) if it may be (`consent`), and is numbered and sent by the core (`driver`, `transport`) in the tab that leads
 * (`election`). Promises that what one tab is told, all of them hear. Knows no rule about events, and no verb's many forms.
 */
import { batchOf } from "./batch";
import { monotonic, unix } from "./clock";
import { CATEGORIES, createConsent } from "./consent";
import { CHANGED, CONSENT, FLUSH, ONLINE, startCore, WOKE } from "./core";
import { drive, type Driver, type Told } from "./driver";
import { createElection } from "./election";
import { campaignNow, createContext, member, pageNow, textOf, timeOf, uuid } from "./event";
import { createIdentity, type Kept } from "./identity";
import { createIntake } from "./intake";
import { watchPage } from "./lifecycle";
import type { LoadPart } from "./parts";
import { textsOf } from "./record";
import { createStorage, noChanges } from "./storage";
import { BATCH, createTransport, type Answer } from "./transport";
import type { Committed, Consent, Consents, EventOptions, LoadOptions, Reports } from "./types";

/** Where this client's server and files are: endpoint, wasm, and the core as JavaScript if it is not beside the wasm. */
export type Place = (options: LoadOptions) => [endpoint: string, wasm: string, js?: string];

/** What a client is given by whoever speaks with the page. */
export interface Surroundings {
  place: Place;
  part: LoadPart;
  report<Name extends keyof Reports>(name: Name, what: Reports[Name]): void;
  /** Those who may look at an event: its text as they leave it, or nothing. */
  look(text: string): string | undefined;
}

export type Client = ReturnType<typeof begin>;

/** One call, as its verb has understood it. */
export interface Said {
  type: string;
  /** Who the person is from now on, if it says that. */
  userId?: string | null;
  /** Members in front of the ids. */
  head?: string;
  /** The member that holds `given`. */
  name?: string;
  given?: object;
  priority: number;
  own?: EventOptions;
}

/** What one tab or worker says to the others: who the person is by now, what a driver tells, and inputs that need no numbers. */
const WHO = -1;
const TOLD = -2;
const TELLINGS = ["acknowledged", "dropped", "stopped", "not_durable", "state_lost"];
const NUDGES = [CHANGED, WOKE, FLUSH];

/** The wait before the core is tried again, milliseconds: doubled each time. */
const RETRY_MS = 1000;
const MAX_RETRY_MS = 60000;

/** Answers that `debug` shows. */
const MAX_ANSWERS = 10;

/** What becomes of an event that may not be kept. */
const none = async (messageId: string): Promise<Committed> => ({ messageId, durable: false, outcome: "dropped" });

export const begin = (options: LoadOptions, { place, part, report, look }: Surroundings) => {
  const { writeKey, allow, cookieless } = options;
  if (!writeKey) throw new TypeError("load() needs a writeKey");
  const [endpoint, wasm, js] = place(options);
  const name = "headwater:" + writeKey;
  const lost = () => {
    // The keys that the driver knows are those of a database that is no more: a new term begins with what there is.
    if (!driver) return;
    intake.strand(driver.end(true));
    driver = undefined;
    lead();
  };
  const storage = createStorage(name, lost, cookieless);
  const transport = createTransport(
    endpoint,
    // The collector's own cookie comes along by itself where its origin is the page's.
    cookieless ? "omit" : options.credentials ? "include" : "same-origin",
  );
  const answers: (Answer & { at: number; to: string })[] = [];
  const send: typeof transport = async (to, body) => {
    const answer = await transport(to, body);
    answers.push({ ...answer, at: unix(), to });
    if (answers.length > MAX_ANSWERS) answers.shift();
    return answer;
  };
  let driver: Driver | undefined;
  /** Counts the terms of leadership: what was begun in one must not go on in another. */
  let term = 0;
  let attempts = 0;
  let campaign = campaignNow();
  const contextNow = createContext(options.context);

  const consent = createConsent(options);
  const identity = createIdentity(
    name,
    options,
    consent.allowed,
    (kept: Kept) => {
      storage.write({ ...noChanges(), state: { identity: kept } });
      nudge(WHO, kept);
    },
    () => {
      const purge = bits("denied") == 255;
      // Whether there is a core or not, here or in another tab.
      if (purge) storage.write({ ...noChanges(), purge });
      if (purge) intake.purge();
      driver?.input(CONSENT, bits("pending"), bits("denied"));
      waiting.forEach(([bit], messageId) => (bits("denied") >> bit) & 1 && settle(messageId, "dropped"));
    },
  );
  const bits = (state: Consent) => consent.bits(state, identity.now().consent);
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
    (messageId) => tell("dropped", { messageId, reason: "queue_full" }),
  );

  const others = !cookieless && self.BroadcastChannel ? new BroadcastChannel(name) : undefined;
  let later: ReturnType<typeof setTimeout> | undefined;
  const nudge = (kind: number, a?: unknown, b?: unknown) => others?.postMessage([kind, a, b]);
  if (others)
    others.onmessage = ({ data }) => {
      // Whatever script of this origin can post here: what is none of ours changes nothing.
      try {
        const [kind, a, b] = data;
        if (kind == WHO) identity.hear(a);
        else if (kind == TOLD && TELLINGS.includes(a)) hear(a, b);
        else if (NUDGES.includes(kind)) driver?.input(kind);
      } catch {
        // Not even a list.
      }
    };

  /** Calls that wait for the collector's answer, by their event's id: each with the bit of its category. */
  const waiting = new Map<string, [number, (outcome: Committed["outcome"]) => void]>();
  const settle = (messageId: string, outcome: Committed["outcome"]) => {
    waiting.get(messageId)?.[1](outcome);
    waiting.delete(messageId);
  };
  /** What a driver says is for every tab: each has calls that it is about. */
  const tell = <Name extends keyof Told>(name: Name, what: Told[Name]) => {
    nudge(TOLD, name, what);
    hear(name, what);
  };
  const hear = <Name extends keyof Told>(name: Name, what: Told[Name]) => {
    const { messageId, outcome = "dropped" } = what as Told["acknowledged"];
    settle(messageId, outcome);
    // Whoever keeps nothing on the device knows that.
    if (name != "acknowledged" && !(cookieless && name == "not_durable")) report(name, what as never);
  };

  const lead = async () => {
    const mine = ++term;
    try {
      const saved = await storage.saved("core");
      const left = (await storage.saved("left")) || [];
      const core = await startCore(wasm, js, saved, monotonic, unix);
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
    // Another tab may have what this one lacks.
    election.leave();
    setTimeout(
      () => mine == term && election.join(),
      Math.min(MAX_RETRY_MS, RETRY_MS * 2 ** attempts++),
    );
  };
  const election = createElection(name, storage, part, lead, resign);

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
  const join = () => {
    election.join();
    return storage.swap("identity", identity.hear);
  };
  watchPage(leaving, join, () => driver?.input(ONLINE));
  const { anonymousId } = identity.now();
  const known = join().then(() => intake.begin(anonymousId, identity.now().anonymousId));

  return {
    identity,
    /** When the database has said who this is. */
    known,
    /** Keeps an event that was called at this time, if it may be. */
    call({ type, userId, head = "", name = "", given, priority, own }: Said, now: number): Promise<Committed> {
      if (userId) {
        const before = identity.now();
        if (type == "alias") head ||= member("previousId", before.userId || before.anonymousId);
        identity.set({ userId });
      }
      own ||= {};
      const { category = CATEGORIES[0] } = own;
      let bit = CATEGORIES.indexOf(category);
      if (bit < 0) throw new TypeError(`no category: ${category} (but ${CATEGORIES})`);
      const messageId = uuid(now);
      const state = consent.of(category, identity.now().consent);
      if (state == "denied") return none(messageId);
      if (state == "pending") bit += 4;
      if (allow && given) given = Object.fromEntries(Object.entries(given).filter(([name]) => allow.includes(name)));
      const at = timeOf(own.timestamp, now);
      const text = look(
        textOf(
          type,
          head,
          messageId,
          identity.who(),
          at,
          member(name, type == "page" ? { ...pageNow(), ...given } : given) + member("integrations", own.integrations),
          contextNow(own.context),
        ),
      );
      if (!text) return none(messageId);
      const wanted = own.until == "acknowledged";
      const answered = wanted && new Promise<Committed["outcome"]>((done) => waiting.set(messageId, [bit, done]));
      const taken = intake.take({ text, priority: priority + 4 * bit + (wanted ? 32 : 0), at, campaign });
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
      if (driver) driver.input(FLUSH);
      else nudge(FLUSH);
    },
    async consent(answers: Consents) {
      identity.set({ consent: { ...identity.now().consent, ...answers } });
    },
    /** What `debug` may see. */
    inside: { options, endpoint, identity, election, storage, consent, answers },
  };
};
