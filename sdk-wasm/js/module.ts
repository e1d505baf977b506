/*
 * The module `headwater.mjs`: one client for the page that imports it, and the way to make others. Knows where it was loaded from, and
 * nothing else.
 */
import { create } from "./index";

/** The build writes the names of the files here, so that a bundler finds them and makes chunks of them. */
const files = { autocapture: () => import("./autocapture/index"), debug: () => import("./debug") };
const base = new URL(".", import.meta.url).href.slice(0, -1);

/** The page's client. */
export const { headwater } = create(base, files);
export default headwater;
/** Another client, for another write key. */
export const another = () => create(base, files).headwater;
