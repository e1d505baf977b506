/*
 * segment-analytics-python, unmodified, against the real collector. Promises that hundreds of events, plain and compressed,
 * are in its log once, with the fields they were sent with; Python runs in the environment that HEADWATER_PYTHON names.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { KEY, assertStored, properties, startCollector } from "./collector.mjs";

const COUNT = 500;
const python =
  process.env.HEADWATER_PYTHON ?? join(import.meta.dirname, "../../../.build/clients-python/bin/python");

const calls = () => {
  const tracks = Array.from({ length: COUNT }, (_, n) => ({
    call: "track",
    user_id: `u-${n % 9}`,
    event: `Clicked ${n % 7}`,
    properties: properties(n),
  }));
  return [
    ...tracks,
    { call: "identify", user_id: "u-1", traits: { email: "a@b.example", plan: { name: "pro" } } },
    { call: "group", user_id: "u-1", group_id: "g-1", traits: { seats: 12 } },
    { call: "page", user_id: "u-1", category: "Shop", name: "Home", properties: { path: "/" } },
    { call: "alias", user_id: "u-1", previous_id: "a-1" },
  ];
};

for (const encoding of ["plain", "gzip"])
  test(`segment-analytics-python, ${encoding}`, async (t) => {
    assert.ok(existsSync(python), `no Python at ${python}: see the Makefile, or set HEADWATER_PYTHON`);
    const collector = await startCollector();
    t.after(collector.stop);
    const script = join(import.meta.dirname, "segment_client.py");
    const client = spawn(python, [script, collector.url, KEY, encoding], {
      stdio: ["pipe", "inherit", "inherit"],
    });
    client.stdin.end(calls().map((call) => JSON.stringify(call)).join("\n"));
    const [code] = await once(client, "exit");
    assert.equal(code, 0);

    const stored = await collector.events();
    assertStored(stored, COUNT, "analytics-python");
    assert.equal(stored.length, COUNT + 4);
    const one = (type) => stored.find((event) => event.type === type);
    assert.deepEqual(one("identify").traits, { email: "a@b.example", plan: { name: "pro" } });
    assert.deepEqual(one("group").traits, { seats: 12 });
    assert.deepEqual([one("page").name, one("page").category], ["Home", "Shop"]);
    assert.equal(one("alias").previousId, "a-1");
  });
