/*
 * The conformance suite in webkit.
 */
import { conformance } from "./conformance.mjs";
import { webkit } from "./webkit.mjs";

conformance(webkit);
