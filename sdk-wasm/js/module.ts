/*
 * The module `headwater.mjs`: one client for the page or worker that imports it, and the way to make others. Knows where it was loaded
 * from, and nothing else. Promises that importing it does nothing: on a server its verbs do nothing either.
 */
import { create, type Place } from "./index";

/** The build writes the name of the file here, so that a bundler finds it and makes a chunk of it. */
const autocapture = () => import("./autocapture/index");

/** Bundlers know the form `new URL("…", import.meta.url)`, and take the file along. Nothing is asked for that was said. */
const place: Place = ({ endpoint, wasm }) => {
  const own = wasm ? [wasm] : [beside(), new URL("./headwater.core.js", import.meta.url).href];
  return [(endpoint ?? beside().replace(/\/[^/]*$/, "")).replace(/\/+$/, ""), ...own] as ReturnType<Place>;
};
/** A name that a bundler has not made its own might be that of another version. */
const beside = () =>
  new URL("./headwater.wasm", import.meta.url).href.replace(/\/headwater.wasm$/, "$&?v=" + WASM_TAG);

/** A server renders for everybody: there is nobody here to tell of, and nobody should wait for it. */
const nothing = async () => ({ messageId: "", durable: false });
const VERBS = "load track identify page screen group alias reset flush consent autocapture".split(" ");

const make = () => {
  const { headwater } = create(place, autocapture);
  if (!globalThis.location) for (const verb of VERBS) headwater[verb as "track"] = nothing;
  return headwater;
};

/** The page's client. */
export const headwater = make();
export default headwater;
/** Another client, for another write key. */
export const another = make;
