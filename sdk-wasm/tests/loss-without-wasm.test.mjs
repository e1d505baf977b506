/*
 * All of the tests of `loss` once more, on pages whose policy refuses WebAssembly: the same core as JavaScript.
 */
process.env.CORE = "js";
await import("./loss.test.mjs");
