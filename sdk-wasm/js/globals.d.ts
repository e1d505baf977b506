/* Values that the build puts in place: see `build.mjs`. */
declare const VERSION: string;
/** The wasm's hash, as `integrity` has it: nothing else is run. */
declare const WASM: string;
/** The beginning of a file's hash, a part of its address: a cached one of another version is never used. */
declare const WASM_TAG: string;
declare const AUTOCAPTURE: string;
