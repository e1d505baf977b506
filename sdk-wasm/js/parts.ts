/*
 * What is loaded when it is asked for, or needed: each a file of its own. Promises their names; knows nothing of where they are.
 */
export interface Parts {
  autocapture: typeof import("./autocapture/index");
  debug: typeof import("./debug");
  lease: typeof import("./lease");
  message: typeof import("./message");
}

/** Gets one of them. */
export type LoadPart = <Name extends keyof Parts>(name: Name) => Promise<Parts[Name]>;
