/*
 * The verb `autocapture`: says the first page view at once, unless somebody has, and loads the file that does the rest. Promises that what keeps
 * it from running is said in the console, and not thrown into the page. Knows nothing of what is captured, nor whether
 * anything is: the file does, and ends it.
 *
 * `import()` and not a script element: Trusted Types refuse an address given to the latter, and it keeps the nonce of the former.
 */
import { page } from "./event";
import type { LoadPart } from "./parts";
import type { AutocaptureOptions, Headwater } from "./types";

/** `seen` is the address of the last page view. */
export const createAutocapture =
  (client: Headwater, part: LoadPart, seen: () => string) => async (what: boolean | string | AutocaptureOptions) => {
    const only = typeof what == "string" ? what : (what as AutocaptureOptions).only?.join();
    // Later than the calls that the page has queued: one of them may be this page view.
    await 0;
    // A page that is rendered ahead has not been seen: it is hidden, and left to the file.
    const shown = page?.hidden === false;
    if (what !== false && shown && !seen() && (!only || only.includes("pages"))) client.page();
    return part("autocapture")
      .then(({ autocapture }) => autocapture(client, what, seen))
      .catch((error) => console.error("headwater:", error));
  };
