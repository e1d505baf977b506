/*
 * All of the tests of `leaving` once more with the real collector behind the stand-in, which only makes the weather: each time the log
 * has to hold what was acknowledged, every event once.
 */
process.env.BEHIND = "headwater";
await import("./leaving.test.mjs");
