/*
 * What may be read of a document, and how much of it. Promises that nothing of a password, card or ignored field, nor of what is
 * inside one, is read; that a masked element gives nothing but what its `data-hw-*` attributes say; that no value of any field
 * is read at all; and that every text is bounded. Reads attributes and text nodes only, which costs no layout.
 */
import type { AutocaptureOptions, Fields } from "../types";

/** As if these, and what is in them, were not there. The last ones keep a password that is being shown a password. */
const IGNORED =
  "[data-hw-ignore],[type=password],[autocomplete^=cc- i],[autocomplete*=' cc-' i]," +
  "[autocomplete$=-password],[autocomplete$=one-time-code]";
/** Somebody typed these, or they are marked. */
const MASKED = "[data-hw-mask],[contenteditable]:not([contenteditable=false])";
/** No text is taken from these: what is in them was typed or chosen, or is not meant to be read. */
const TEXTLESS = MASKED + ",input,textarea,select,script,style,template,noscript";

const PUSH = "input[type=submit],input[type=button],input[type=reset]";

const MAX_TEXT = 100;
const MAX_ADDRESS = 500;
/** Nodes that are looked at for one text. */
const MAX_NODES = 200;
const MAX_FIELDS = 20;
const MAX_FIELD = 200;
const MAX_JSON = 2000;
const MAX_STEPS = 5;
const RESERVED = ["event", "view", "props", "ignore", "mask"];

/** An e-mail address, also in a URL. The bounds keep a long text from costing the square of its length. */
const EMAIL = /[\w.+%-]{1,64}(?:@|%40)[\w-]{1,63}(?:\.[\w-]{1,63})+/gi;
/** Nine digits and more with what people put between: cards, phones, accounts, national ids. */
const NUMBER = /\d(?:[ \u00a0.()/-]{0,2}\d){8,}/g;
/** In addresses and stacks only what is as long as today's cards (14 to 19): 13 digits are a product's or a time. */
const CARD = /\d(?:(?:[ -]|%20)?\d){13,}/g;

/** The query and fragment of an address, and a query without one; up to the line and column that stacks put behind it. */
const QUERY = /(:\/\/[^\s?#)"']*)[?#][^\s)"']*?(?=(?::\d+){0,2}(?:[\s)"']|$))/g;
const PAIRS = /\?[\w.%~-]+=[^\s)"']*?(?=(?::\d+){0,2}(?:[\s)"']|$))/g;

/** A text without what could name a person or pay for one, on one line, and no longer than `max`. */
export const masked = (text: string, max = MAX_TEXT, digits = NUMBER) =>
  text
    // Masked before it is cut: a cut number is no longer known for one.
    .slice(0, max * 4)
    .replace(EMAIL, "***")
    .replace(digits, "***")
    .trim()
    .slice(0, max);

/** A longer text that holds addresses: they lose their queries and fragments, but not the line and column behind them. */
export const maskedLong = (text: string, max: number) =>
  masked(text.slice(0, max * 4).replace(QUERY, "$1").replace(PAIRS, ""), max, CARD);

/** Scheme, host and path of a web address; the scheme alone of any other (`mailto:` and `tel:` name people). */
export const addressOf = (given: string) => {
  try {
    const url = new URL(given, document.baseURI);
    return /^http/.test(url.protocol)
      ? { url, text: masked(url.origin + url.pathname, MAX_ADDRESS, CARD) }
      : { url, text: url.protocol };
  } catch {
    return undefined;
  }
};

export const createMasking = ({ ignore, text }: AutocaptureOptions) => {
  const ignored = ignore ? IGNORED + "," + ignore : IGNORED;
  // A selector that does not parse is said at once, and not at every click.
  document.querySelector(ignored);
  const textless = ignored + "," + TEXTLESS;

  return {
    /** The elements that an event passed, innermost first; none where something is ignored. */
    pathOf(event: Event) {
      const path = event.composedPath().filter((node) => (node as Node).nodeType == 1) as Element[];
      return path.some((element) => element.matches(ignored)) ? [] : path;
    },
    isMasked: (path: Element[]) => path.some((element) => element.matches(MASKED)),
    isIgnored: (element: Element) => !!element.closest(ignored),

    /** What its author calls an element: an attribute. */
    nameOf: (element: Element, attribute: string) =>
      masked(element.getAttribute(attribute) ?? "", MAX_TEXT, CARD) || undefined,

    /** What an element says: its text, else what it says to those who cannot see it. */
    labelOf(element: Element) {
      if (text === false) return undefined;
      let found = "";
      let left = MAX_NODES;
      const read = (node: Node) => {
        if (--left < 0 || found.length > MAX_TEXT * 4) return;
        if (node.nodeType == 3) found += (node as Text).data.slice(0, MAX_TEXT * 4);
        else if (node.nodeType == 1 && !(node as Element).matches(textless)) {
          found += " " + ((node as Element).getAttribute("alt") ?? "");
          for (let child = node.firstChild; child && left > 0; child = child.nextSibling) read(child);
          found += " ";
        }
      };
      read(element);
      const names = ["aria-label", "title", "alt"];
      // Of these alone the value is what is written on them.
      if (element.matches(PUSH)) names.push("value");
      for (const name of names) found = found.trim() || (element.getAttribute(name) ?? "");
      return masked(found.replace(/\s+/g, " ")) || undefined;
    },

    /** Where an element is: up to five steps out from it, ending at the first that has an id. The first of a kind has no number. */
    selectorOf(path: Element[]) {
      const steps: string[] = [];
      for (const element of path.slice(0, MAX_STEPS)) {
        const id = element.getAttribute("id");
        let step = element.localName;
        let nth = 1;
        if (id) step += "#" + id;
        else {
          for (let other = element.previousElementSibling; other && nth < 100; other = other.previousElementSibling)
            if (other.localName == step) nth++;
          if (nth > 1) step += `:nth-of-type(${nth})`;
        }
        steps.unshift(step);
        if (id) break;
      }
      return masked(steps.join(" > "), MAX_FIELD, CARD);
    },

    /** What a page's author says of an element: `data-hw-*`, bounded but not masked, and the JSON of `data-hw-props`. */
    fieldsOf(element: Element) {
      const fields: Fields = {};
      try {
        const given = JSON.parse(element.getAttribute("data-hw-props")!.slice(0, MAX_JSON));
        if (!Array.isArray(given)) Object.assign(fields, given);
      } catch {
        // Absent, too long, or no JSON.
      }
      let left = MAX_FIELDS;
      for (const name of element.getAttributeNames()) {
        const key = name.slice(8);
        if (name.startsWith("data-hw-") && !RESERVED.includes(key) && left-- > 0)
          fields[key.replace(/-/g, "_")] = element.getAttribute(name)!.slice(0, MAX_FIELD);
      }
      return fields;
    },
  };
};

export type Masking = ReturnType<typeof createMasking>;
