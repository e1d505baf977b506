/*
 * The module `headwater.mjs`: one client for the page or worker that imports it, and the way to make others. Knows where it was loaded
 * from, and nothing else. Promises that importing it does nothing: on a server its verbs do nothing either.
 */
import type { Place } from "./client";
import { create } from "./index";
import type { LoadPart } from "./parts";

/** The build writes the names of the files here, so that a bundler finds them and makes chunks of them. */
const files = {
  autocapture: () => import("./autocapture/index"),
  debug: () => import("./debug"),
  lease: () => import("./lease"),
  message: () => import("./message"),
};

/** Bundlers know the form `new URL("…", import.meta.url)`, and take the file along. Nothing is asked for that was said. */
const place: Place = ({ endpoint, wasm }) => {
  const own = wasm ? [wasm] : [beside(), new URL("./headwater.core.js", import.meta.url).href];
  return [(endpoint ?? beside().replace(/\/[^/]*$/, "")).replace(/\/+$/, ""), ...own] as ReturnType<Place>;
};
/** A name that a bundler has not made its own might be that of another version. */
const beside = () =>
  new URL("./headwater.wasm", import.meta.url).href.replace(/headwater.wasm$/, "$&?v=" + TAG);

/** A server renders for everybody: there is nobody here to tell of, and nobody should wait for it. */
const nothing = async () => ({ messageId: "", durable: false });

const make = () => {
  const { headwater } = create(place, ((name) => files[name]()) as LoadPart);
  if (!globalThis.location)
    for (const verb in headwater) if (!/^(on|off|user|before)/.test(verb)) headwater[verb as "track"] = nothing;
  return headwater;
};

/** The page's client. */
export const headwater = make();
export default headwater;
/** Another client, for another write key. */
export const another = make;
