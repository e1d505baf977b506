/*
 * What may be kept and sent: the person's answers, one for each category of events, over what holds until there is one. Promises
 * that a browser that asks for privacy (Global Privacy Control) is heeded unless the person has said yes here. Knows no
 * event; the core keeps and deletes.
 */
import type { Category, Consent, Consents, LoadOptions } from "./types";

/** In the order of the core's bits: an event that names no category is of the first. */
export const CATEGORIES: Category[] = ["analytics", "marketing", "functional", "necessary"];

const ANSWERS: Consent[] = ["pending", "granted", "denied"];

/** An answer for all of them, or answers for some, as answers for each. A word that is mistyped is no yes: it is refused. */
export const answersOf = (answer: Consent | Consents): Consents => {
  const answers: Consents =
    typeof answer == "string" ? Object.fromEntries(CATEGORIES.map((category) => [category, answer])) : answer;
  for (const [category, answer] of Object.entries(answers))
    if (!CATEGORIES.includes(category as Category) || !ANSWERS.includes(answer))
      throw new TypeError(`no consent: ${category} ${answer}`);
  return answers;
};

/**
 * The answers as they were kept, or as another tab says them. Where they are damaged somebody has answered, and nobody knows that it was a
 * yes: it counts as a no. What is no category is left out.
 */
export const keptAnswers = (kept: any): Consents | undefined =>
  kept === undefined
    ? kept
    : Object.fromEntries(
        CATEGORIES.map((category) => {
          const answer = kept?.constructor == Object ? kept[category] : "denied";
          return [category, answer === undefined || ANSWERS.includes(answer) ? answer : "denied"];
        }),
      );

/** What holds, given the answers so far. */
export const createConsent = ({ consent = {}, globalPrivacyControl = CATEGORIES }: LoadOptions) => {
  const refused = (navigator as { globalPrivacyControl?: boolean }).globalPrivacyControl && globalPrivacyControl;
  const initial = answersOf(consent);
  const answer = (category: Category, answers?: Consents) =>
    answers?.[category] || (refused && refused.includes(category) && "denied");
  /** For a call on this page. */
  const of = (category: Category, answers?: Consents) => answer(category, answers) || initial[category] || "granted";
  /**
   * A bit for each category in this state, twice: for events that could go when they were called, and, four bits higher, for those
   * called where there was no answer yet. The page that sends may have been loaded otherwise: only the person releases them.
   */
  const bits = (state: Consent, answers?: Consents) =>
    CATEGORIES.reduce((bits, category, at) => {
      const now = answer(category, answers);
      return bits | (+((now || "granted") == state) << at) | (+((now || "pending") == state) << (at + 4));
    }, 0);
  return {
    of,
    bits,
    /** Whether ids may be kept. */
    allowed: (answers?: Consents) => CATEGORIES.some((category) => of(category, answers) != "denied"),
  };
};
