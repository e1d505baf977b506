/*
 * All of the tests of `leaving` once more, on pages whose policy refuses WebAssembly: the same core as JavaScript.
 */
process.env.CORE = "js";
await import("./leaving.test.mjs");
