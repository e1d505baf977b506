/*
 * The real binary, as a client's author would meet it: started on a free port with an empty data folder, read back over its
 * own API. Promises a fresh one to each test and nothing left behind; knows no client.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import assert from "node:assert/strict";

const binary = process.env.HEADWATER ?? join(import.meta.dirname, "../../../target/debug/headwater");

const PATIENCE_MS = 60_000; // every client sends within seconds; a loaded machine is slower

/** The key of the one source. */
export const KEY = "wk_clients_test";

/** Starts a collector; `stop` ends it and deletes what it stored. */
export const startCollector = async (key = KEY) => {
  assert.ok(existsSync(binary), `no collector at ${binary}: cargo build, or set HEADWATER`);
  const data = mkdtempSync(join(tmpdir(), "headwater-clients-"));
  const config = join(data, "headwater.toml");
  writeFileSync(config, `[sources.app]\nwrite_key = "${key}"\n`);
  const child = spawn(
    binary,
    ["serve", "--config", config, "--listen", "127.0.0.1:0", "--data", join(data, "data")],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, HEADWATER_LOG: "warn" } },
  );
  const ended = once(child, "exit");
  let url, token;
  for await (const line of createInterface({ input: child.stdout })) {
    url ??= /^headwater listens on (\S+)/.exec(line)?.[1];
    token ??= /^admin token: (\S+)/.exec(line)?.[1];
    if (url && token) break;
  }
  assert.ok(url && token, "the collector says where it listens");

  /** All that is in the log. */
  const events = async () => {
    const answer = await fetch(`${url}/v1/events`, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(answer.status, 200);
    return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
  };
  /** The same, once there are `count` of them: for clients that do not say when they have sent everything. */
  const eventsOnceThereAre = async (count) => {
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const stored = await events();
      if (stored.length >= count) return stored;
      assert.ok(Date.now() < end, `${stored.length} of ${count} events came within ${PATIENCE_MS} ms`);
      await new Promise((done) => setTimeout(done, 50));
    }
  };
  const stop = async () => {
    child.kill("SIGKILL");
    await ended;
    rmSync(data, { recursive: true, force: true });
  };
  return { url, host: new URL(url).host, events, eventsOnceThereAre, stop };
};

/** Something of every kind that a person sends, number `n`; what `assertStored` expects to find. */
export const properties = (n) => ({
  n,
  text: `Ünïcode "quoted" \\ ${n} 🛒`,
  price: 19.99,
  big: 9007199254740991,
  none: null,
  deep: { list: [1, [2, { three: 3 }]], yes: true },
});

/** Every one of `count` events is in the log once, with the properties it was sent with and an id of its own. */
export const assertStored = (stored, count, library) => {
  const numbered = stored.filter(({ type }) => type === "track");
  assert.equal(numbered.length, count);
  assert.equal(new Set(stored.map(({ messageId }) => messageId)).size, stored.length, "ids differ");
  const byNumber = new Map(numbered.map((event) => [event.properties.n, event]));
  for (let n = 0; n < count; n++) {
    const event = byNumber.get(n);
    assert.ok(event, `event ${n} is in the log`);
    assert.equal(event.event, `Clicked ${n % 7}`);
    assert.deepEqual(event.properties, properties(n));
    assert.equal(event.source, "app");
    assert.equal(event.context.library.name, library);
    const age = Date.now() - Date.parse(event.timestamp);
    assert.ok(age > -5_000 && age < 120_000, `the time is the client's: ${event.timestamp}`);
    assert.ok(event.originalTimestamp, "what the client claimed is kept");
  }
};
