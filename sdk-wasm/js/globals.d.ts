/* Values that the build puts in place: see `build.mjs`. */
declare const VERSION: string;
/** Whether this is the module, which bundlers read. */
declare const MODULE: boolean;
/** In the module: `import()` of an address, marked as one that is none of a bundler's business. Marks do not survive minifying. */
declare const importAsIs: (url: string) => Promise<{ default: never }>;
/** The wasm's hash, as `integrity` has it: nothing else is run. */
declare const WASM: string;
/** The beginning of a hash of all files that are loaded later, a part of their addresses: a cached one of another build is never used. */
declare const TAG: string;
