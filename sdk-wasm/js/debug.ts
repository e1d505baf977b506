/*
 * What `headwater.debug()` prints: what waits, what the collector said last, what was dropped, and what the person agreed to.
 * A file of its own, loaded when somebody asks. Reads storage and memory, and changes neither.
 */
import type { Client } from "./client";
import { CATEGORIES } from "./consent";
import { SEQ, WORDS } from "./record";
import type { AutocaptureOptions, LoadOptions } from "./types";

/** Records read at most: more than a full queue has. */
const MAX_RECORDS = 20000;

const ROLES: { [role: string]: string } = {
  leading: "this tab numbers and sends",
  waiting: "another tab numbers and sends",
  unknown: "not known yet",
};

/** What `load` takes, and what `autocapture` does, by name: the kinds that a value may be of. */
const OPTIONS: Record<keyof LoadOptions, string> = {
  writeKey: "string",
  endpoint: "string",
  wasm: "string",
  context: "object",
  consent: "string object",
  globalPrivacyControl: "object boolean",
  cookieless: "boolean",
  cookieDomain: "string",
  credentials: "boolean",
  allow: "object",
  autocapture: "boolean string object",
};
const CAPTURE: Record<keyof AutocaptureOptions, string> = { only: "object", hash: "boolean", text: "boolean", ignore: "string", idleMs: "number" };

/** The options that are not known, or are not what they should be: nothing else says that they do nothing. */
const mistyped = (given: object, known: { [name: string]: string }) =>
  Object.entries(given)
    .filter(([name, value]) => value !== undefined && !(Object.keys(known).includes(name) && known[name].includes(typeof value)))
    .map(([name]) => name);

/** Prints it. */
export const run = async (
  { options, endpoint, identity, election, storage, consent, answers }: Client["inside"],
  drops: { [reason: string]: number },
) => {
  const { writeKey } = options;
  const user = identity.now();
  const records = (storage.isOpen() && (await storage.read(0, MAX_RECORDS))) || [];
  const by = () => ({ events: 0, bytes: 0, oldest: "" });
  const waiting = CATEGORIES.map(by);
  for (const { words } of records)
    for (let at = 0; at < words.length; at += WORDS) {
      if (words[at + SEQ] < 0) continue;
      const row = waiting[(words[at + 2] >> 2) & 3];
      row.events++;
      row.bytes += words[at + 1];
      row.oldest ||= new Date(words[at + 3]).toISOString();
    }
  console.group(`Headwater ${VERSION}: ${writeKey} to ${endpoint}`);
  const odd = mistyped(options, OPTIONS);
  if (typeof options.autocapture == "object") odd.push(...mistyped(options.autocapture, CAPTURE));
  if (odd.length) console.warn("options that are mistyped, or not what they should be:", ...odd);
  // Quoted are those that the build would shorten.
  console.table({
    "role": ROLES[election.role()],
    "storage": storage.isOpen() ? "IndexedDB" : "memory alone",
    anonymousId: user.anonymousId,
    userId: user.userId ?? "none",
  });
  console.log("waiting to be acknowledged, and what the person agreed to:");
  console.table(
    Object.fromEntries(CATEGORIES.map((category, at) => [category, { consent: consent.of(category, user.consent), ...waiting[at] }])),
  );
  console.log(answers.length ? "the last answers to this tab:" : "no answer to this tab yet");
  if (answers.length)
    console.table(
      answers.map(({ at, to, status, wait }) => ({
        at: new Date(at).toISOString(),
        to: to.split("?")[0],
        status: status || "no answer",
        "wait, ms": wait,
      })),
    );
  console.log(Object.keys(drops).length ? "dropped since this page began, by reason:" : "nothing was dropped since this page began");
  if (Object.keys(drops).length) console.table(drops);
  console.groupEnd();
};
