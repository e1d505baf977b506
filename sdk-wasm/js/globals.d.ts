/* Values that the build puts in place: see `build.mjs`. */
declare const VERSION: string;
/** A hash of the wasm: a cached one of another version is never used. */
declare const WASM: string;
/** The same for `headwater-autocapture.js`. */
declare const AUTOCAPTURE: string;
