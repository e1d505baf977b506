/*
 * The module `headwater.mjs`: one client for the page that imports it, and the way to make others. Knows where it was loaded from, and
 * nothing else.
 */
import { create } from "./index";

const base = new URL(".", import.meta.url).href.slice(0, -1);

/** The page's client. */
export const { headwater } = create(base);
export default headwater;
/** Another client, for another write key. */
export const another = () => create(base).headwater;
