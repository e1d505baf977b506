/*
 * Segment's Kotlin client for the JVM, unmodified, against the real collector: no authorization header, gzip, its settings
 * fetched first. Promises that hundreds of events are in the log once, with the fields they were sent with; its jars are in the
 * folder that HEADWATER_KOTLIN names.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assertStored, properties, startCollector } from "./collector.mjs";

const COUNT = 400;
const jars = process.env.HEADWATER_KOTLIN ?? join(import.meta.dirname, "../../../.build/clients-kotlin");

test("com.segment.analytics.kotlin:core", async (t) => {
  assert.ok(existsSync(jars), `no jars at ${jars}: see the Makefile, or set HEADWATER_KOTLIN`);
  // It keeps what it has not sent at this place, by key.
  const key = `wk_kotlin_${randomUUID()}`;
  t.after(() => rmSync(`/tmp/analytics-kotlin/${key}`, { recursive: true, force: true }));
  const collector = await startCollector(key);
  t.after(collector.stop);
  const client = spawn(
    "java",
    ["-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", `${jars}/*`, join(import.meta.dirname, "kotlin/SegmentClient.java"), collector.host, key],
    { stdio: ["pipe", "inherit", "inherit"] },
  );
  t.after(() => client.kill("SIGKILL"));
  const ended = once(client, "exit");
  const say = (call, name, details = {}) => client.stdin.write(`${JSON.stringify({ call, name, details })}\n`);
  say("identify", "u-1", { email: "a@b.example", plan: { name: "pro" } });
  for (let n = 0; n < COUNT; n++) say("track", `Clicked ${n % 7}`, properties(n));
  say("screen", "Start", { dark: true });
  say("group", "g-1", { seats: 12 });
  say("alias", "u-2");
  client.stdin.write("\n");

  const stored = await collector.eventsOnceThereAre(COUNT + 4);
  client.stdin.end();
  assert.deepEqual(await ended, [0, null]);
  assertStored(stored, COUNT, "analytics-kotlin");
  assert.equal(stored.length, COUNT + 4);
  const one = (type) => stored.find((event) => event.type === type);
  assert.deepEqual(one("identify").traits, { email: "a@b.example", plan: { name: "pro" } });
  assert.equal(one("screen").name, "Start");
  assert.equal(one("screen").category, "Shop");
  assert.deepEqual(one("screen").properties, { dark: true });
  assert.deepEqual([one("group").groupId, one("group").traits.seats], ["g-1", 12]);
  assert.deepEqual([one("alias").userId, one("alias").previousId], ["u-2", "u-1"]);
  assert.equal(new Set(stored.map((event) => event.anonymousId)).size, 1, "one device");
  assert.ok(stored.filter((event) => event.type === "track").every((event) => event.userId === "u-1"));
});
