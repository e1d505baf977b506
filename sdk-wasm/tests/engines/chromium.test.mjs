/*
 * The conformance suite in chromium.
 */
import { conformance } from "./conformance.mjs";
import { chromium } from "./chromium.mjs";

conformance(chromium);
