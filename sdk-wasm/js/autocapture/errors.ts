/*
 * What the page's own code failed at: uncaught errors and rejections nobody handled. Promises each once a page and ten at most,
 * bounded, without the queries of addresses. Knows nothing of source maps.
 */
import { maskedLong } from "./masking";
import type { Watch } from "./watch";

const MAX_ERRORS = 10;
const MAX_MESSAGE = 300;
const MAX_STACK = 2000;
/** Harmless by the specification, and frequent; and what is not the page's. */
const NOISE = /^ResizeObserver loop|-extension:\/\//;

export const watchErrors = ({ on, send }: Watch) => {
  let seen = new Set<string>();

  const say = (kind: string, what: unknown, message?: string, source?: string, line?: number, column?: number) => {
    const error = (what ?? {}) as Partial<Error>;
    const text = maskedLong(String(error.message || message || what), MAX_MESSAGE);
    const stack = String(error.stack ?? "");
    const place = source && maskedLong(source, MAX_MESSAGE);
    const known = [text, place, line, column].join();
    if (seen.size >= MAX_ERRORS || seen.has(known) || NOISE.test(known + stack)) return;
    seen.add(known);
    send("Error Occurred", {
      kind,
      message: text,
      type: String(error.name ?? "").slice(0, 50) || undefined,
      source: place || undefined,
      line,
      column,
      stack: maskedLong(stack, MAX_STACK) || undefined,
    });
  };

  on<ErrorEvent>(self, "error", ({ target, error, message, filename, lineno, colno }) => {
    // A picture that does not load passes here as well.
    if (target == self) say("error", error, message, filename, lineno, colno);
  });
  on<PromiseRejectionEvent>(self, "unhandledrejection", ({ reason }) => say("rejection", reason));

  return { turn: () => void (seen = new Set()) };
};
