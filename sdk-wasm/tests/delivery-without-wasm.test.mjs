/*
 * All of the delivery tests once more, on pages whose policy refuses WebAssembly: the same core as JavaScript.
 */
process.env.CORE = "js";
await import("./delivery.test.mjs");
