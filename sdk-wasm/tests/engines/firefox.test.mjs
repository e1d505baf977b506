/*
 * The conformance suite in firefox.
 */
import { conformance } from "./conformance.mjs";
import { firefox } from "./firefox.mjs";

conformance(firefox);
