/*
 * The module `headwater.mjs`: one client for the page that imports it, and the way to make others. Knows where it was loaded from, and
 * nothing else.
 */
import { create } from "./index";

/** The build writes the name of the file here, so that a bundler finds it and makes a chunk of it. */
const autocapture = () => import("./autocapture/index");
const base = new URL(".", import.meta.url).href.slice(0, -1);

/** The page's client. */
export const { headwater } = create(base, autocapture);
export default headwater;
/** Another client, for another write key. */
export const another = () => create(base, autocapture).headwater;
