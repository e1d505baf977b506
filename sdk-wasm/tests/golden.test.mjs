/*
 * The front's texts and batches against the core's golden files, byte for byte; and what the wasm needs of its host: nothing.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { build } from "esbuild";

const here = import.meta.dirname;
const golden = (name) =>
  JSON.parse(readFileSync(join(here, "../../sdk-core/tests/golden", name), "utf8"));
const load = async (contents) => {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: join(here, "../js") },
    bundle: true,
    write: false,
    format: "esm",
    define: { VERSION: '"0.1.0"' },
  });
  return import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
};
const front = await load(
  'export * from "./event"; export * from "./batch"; export * from "./record"; export * from "./clock";',
);

const texts = {};
for (const { name, given, text } of golden("events.json"))
  test(`text: ${name}`, () => {
    const head = ["event", "category", "name", "groupId", "previousId"];
    const raw = (member) => (given[member] ? `,"${member}":${given[member]}` : "");
    const made = front.textOf(
      given.type,
      head.map((member) => front.member(member, given[member])).join(""),
      given.messageId,
      front.member("anonymousId", given.anonymousId) + front.member("userId", given.userId),
      given.at_ms,
      raw("properties") + raw("traits"),
      given.context,
    );
    assert.equal(made, text);
    texts[name] = made;
  });

for (const batch of golden("batches.json"))
  test(`batch: ${batch.name}`, () => {
    const queue = front.queueOf(
      new Float64Array(new Uint32Array(Uint8Array.from(batch.queue_id).buffer)),
    );
    assert.equal(queue, batch.queue);
    const stamped = batch.events.map((event) =>
      front.stamped(
        texts[event.event],
        event.seq,
        event.session_ms,
        event.session_start,
        event.numbered && queue,
        event.dropped,
      ),
    );
    assert.equal(front.batchOf(stamped, batch.sent_at_ms, batch.write_key), batch.body);
  });

test("times are the ones that Date writes", () => {
  for (const ms of [0, 1, 999, 1000, 951782399999, 1763769600123, 253402300799999])
    assert.equal(front.iso(ms), new Date(ms).toISOString());
});

test("ids are UUIDs of version 7, in the order of time, and none twice", () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => front.uuid(1763769600000 + index));
  for (const id of ids)
    assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(ids.toSorted(), ids);
  assert.equal(new Set(ids.map((id) => id.slice(14))).size, ids.length);
});

test("records hold at most 100 events or 48 KB, and give their texts back", () => {
  const call = (text) => ({ text, priority: 1, at: 1, campaign: 0 });
  const texts = [
    ...Array.from({ length: 250 }, (_, index) => `{"n":${index}}`),
    "x".repeat(60_000),
    "é🫖".repeat(10),
    ...Array.from({ length: 3 }, () => "y".repeat(30_000)),
  ];
  const records = front.recordsOf(texts.map(call));
  assert.deepEqual(records.flatMap(({ words, text }) => front.textsOf(words, text)), texts);
  assert.ok(records.every(({ live, text }) => live <= 100 && (live === 1 || text.length <= 48_000)));
  const measured = records.flatMap(({ words }) =>
    Array.from({ length: words.length / 8 }, (_, index) => words[index * 8 + 1]),
  );
  assert.deepEqual(measured, texts.map((text) => Buffer.byteLength(text)));
});

test("the wasm imports nothing and exports what the driver speaks", async () => {
  const module = await WebAssembly.compile(readFileSync(join(here, "../dist/headwater.wasm")));
  assert.deepEqual(WebAssembly.Module.imports(module), []);
  assert.deepEqual(
    WebAssembly.Module.exports(module).map(({ name }) => name).toSorted(),
    ["e", "i", "m", "s", "w"],
  );
});

test("the core as JavaScript says what the wasm says, and each goes on where a life ended", async () => {
  const bytes = readFileSync(join(here, "../dist/headwater.wasm"));
  const module = await WebAssembly.compile(bytes);
  const { default: make } = await import("../dist/headwater.core.js");
  const now = [400.5, 1_700_000_000_000];
  const lives = (instance) => {
    const said = [];
    let saved;
    const live = (...inputs) => {
      const core = instance();
      const words = () => new Float64Array(core.m.buffer, core.w(), 4096);
      const read = () => {
        for (let count; (count = core.e()); ) {
          const row = [...words().subarray(0, count)];
          said.push(row);
          const save = row.findIndex((word, at) => word == 3 && row[at + 1] >= 120);
          if (save >= 0) saved = row.slice(save + 1, save + 2 + row[save + 1] / 4);
        }
      };
      // The largest word there is, and one that has its highest bit.
      words().set([2 ** 32 - 1, 1, 2 ** 31, 7]);
      if (saved) words().set(saved, 4);
      core.s(saved ? 1 : 0, ...now);
      read();
      for (const [entry, ...input] of inputs) {
        words().set(entry);
        core.i(...input, ...now);
        read();
      }
    };
    const event = [1, 300, 1, now[1], 0, 0, 0, 0];
    // Its event is tracked, stored and sent as it is left; the next life finds it.
    live([[], 1, 0, 0, 0], [event, 0, 1, 0, 0], [[], 3, 1, 1, 0], [[], 8, 0, 0, 0]);
    assert.ok(saved.includes(2 ** 32 - 1), "the largest word is among what is saved");
    live([[1, 300, 1, now[1], 0, 1, now[1], 1], 1, 1, 0, 0], [[], 5, 0, 0, 0]);
    assert.deepEqual(said.filter(([kind]) => kind == 9), [], "the state was read");
    assert.ok(said.flat().join().includes(",7,1,2,"), "what became of the event is asked for");
    return said;
  };
  const wasm = lives(() => new WebAssembly.Instance(module).exports);
  assert.deepEqual(lives(make), wasm);
});
