/*
 * The verb `autocapture`: loads the file that does it when it is first asked for. Promises that the first page view is said at once, before
 * that file is there, and only if nobody else has said it; and that what was started can be stopped. Knows nothing of
 * what is captured.
 *
 * `import()` and not a script element: Trusted Types refuse an address given to the latter, and it keeps the nonce of the former.
 */
import type { AutocaptureOptions, Headwater } from "./types";

/** The file's one export. */
export type Load = () => Promise<typeof import("./autocapture/index")>;

export const createAutocapture = (client: Headwater, load: Load) => {
  const { page } = client;
  /** The address of the last page view. */
  let seen = "";
  let stop: (() => void) | undefined;
  /** Counts the calls: the last one counts. */
  let last = 0;
  client.page = (...given: unknown[]) => {
    seen = globalThis.document?.URL;
    return page(...(given as [string]));
  };

  return async (what: boolean | string | AutocaptureOptions) => {
    const mine = ++last;
    stop?.();
    stop = undefined;
    if (what === false || !globalThis.document) return;
    // Later than the calls that the page has queued: one of them may be this page view.
    await ((document as { prerendering?: boolean }).prerendering &&
      // A page that is only rendered ahead has not been seen.
      new Promise((done) => document.addEventListener("prerenderingchange", done)));
    const only = what === true ? "" : typeof what == "object" ? what.only : what;
    if (mine == last && seen != document.URL && (!only?.length || only.includes("pages" as never))) client.page();
    try {
      const { autocapture } = await load();
      if (mine == last) stop = autocapture(client, what, () => seen);
    } catch (error) {
      // The page goes on without; whoever looks for its events looks into the console.
      console.error("headwater:", error);
    }
  };
};
