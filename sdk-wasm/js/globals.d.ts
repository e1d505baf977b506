/* Values that the build puts in place: see `build.mjs`. */
declare const VERSION: string;
/** Whether this is the module, which bundlers read. */
declare const MODULE: boolean;
/** In the module: `import()` of an address, marked as one that is none of a bundler's business. Marks do not survive minifying. */
declare const importAsIs: (url: string) => Promise<{ default: never }>;
/** The wasm's hash, as `integrity` has it: nothing else is run. */
declare const WASM: string;
/** The beginning of a file's hash, a part of its address: a cached one of another version is never used. */
declare const WASM_TAG: string;
declare const AUTOCAPTURE: string;
