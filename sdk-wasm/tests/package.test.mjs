/*
 * The package as a newcomer meets it: what `npm pack` makes, installed into a folder of its own. What is in it, what a compiler and Node
 * make of it. Promises to publish nothing and to ask no registry; knows nothing of browsers.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { installPacked } from "./packed.mjs";

const run = promisify(execFile);
const tsc = join(import.meta.dirname, "../node_modules/typescript/bin/tsc");
let project;
before(async () => {
  project = await installPacked();
});
after(() => project?.remove());

const inPackage = (path) => join(project.installed, path);
const text = (path) => readFileSync(inPackage(path), "utf8");

test("it holds what is wanted and nothing else", () => {
  const dist = ["autocapture.js", "autocapture.js.map", "debug.js", "debug.js.map", "lease.js", "lease.js.map", "message.js", "message.js.map", "core.js", "d.ts", "js", "js.map", "mjs", "mjs.map", "wasm"];
  const names = dist.map((end) => `dist/headwater${/^(autocapture|debug|lease|message)/.test(end) ? "-" : "."}${end}`);
  const wanted = ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "dist/integrity.json", "package.json", ...names];
  assert.deepEqual(project.files.toSorted(), wanted.toSorted());
  assert.equal(text("README.md"), readFileSync(join(import.meta.dirname, "../README.md"), "utf8"));
  for (const name of ["LICENSE-APACHE", "LICENSE-MIT"])
    assert.equal(text(name), readFileSync(join(import.meta.dirname, "../..", name), "utf8"));
});

test("installing it runs nothing and brings nothing else; every export is there", () => {
  const { scripts, exports, types, main, ...also } = JSON.parse(text("package.json"));
  // Those that npm runs when somebody installs a package.
  const ran = /^(pre|post)?(install|prepare|dependencies)$/;
  assert.deepEqual(Object.keys(scripts).filter((name) => ran.test(name)), []);
  assert.deepEqual([also.dependencies, also.peerDependencies, also.optionalDependencies, also.bin], Array(4).fill(undefined));
  const targets = [types, main, ...Object.values(exports).flatMap((to) => (typeof to == "string" ? to : Object.values(to)))];
  assert.ok(targets.length >= 10);
  assert.deepEqual(targets.filter((to) => !existsSync(inPackage(to))), []);
});

test("the maps hold their sources, and lie where the files say", () => {
  for (const name of ["headwater.js", "headwater.mjs", "headwater-autocapture.js", "headwater-debug.js"]) {
    const map = JSON.parse(text(`dist/${name}.map`));
    assert.ok(map.sources.length > 1 && map.sources.every((source) => source.endsWith(".ts")), `${name}: ${map.sources}`);
    assert.ok(map.sourcesContent.every((source) => source.startsWith("/*")), name);
    const [, linked] = /sourceMappingURL=(\S+)/.exec(text(`dist/${name}`)) ?? [];
    // A page that loads the script is not sent to look for one.
    assert.equal(linked, name === "headwater.js" ? undefined : `${name}.map`);
  }
});

test("the module's imports of addresses are marked as none of a bundler's business", () => {
  const imports = text("dist/headwater.mjs").match(/import\((?!["'])[^)]*\)/g);
  assert.ok(imports.length > 0);
  for (const found of imports) assert.match(found, /^import\(\/\* webpackIgnore: true \*\/ ?\/\* @vite-ignore \*\//);
});

const USE = `
import client, { headwater, another, type Headwater, type LoadOptions, type Consent } from "@headwater/web";
const options: LoadOptions = { writeKey: "wk", endpoint: "https://example.com/x7", autocapture: { only: ["pages"] } };
const all: Headwater[] = [client, headwater, another()];
const answer: Consent = "granted";
for (const one of all) {
  one.load(options);
  one.consent(answer);
  one.track("Clicked", { sku: "kettle-01" }).then(({ messageId, durable }) => messageId.length > 0 && durable === true);
  const off: () => void = one.on("dropped", ({ reason }) => reason === "queue_full");
  off();
}
// @ts-expect-error there is no such verb
headwater.tracked("Clicked");
// @ts-expect-error a write key is needed
headwater.load({});
`;
const PAGE = `
window.headwater.push(["track", "Clicked"]);
const second: Headwater = window.headwater.another();
second.load({ writeKey: "other" });
`;
for (const [module, moduleResolution] of [["esnext", "bundler"], ["node16", "node16"], ["nodenext", "nodenext"]])
  for (const lib of [["es2022", "dom"], ["es2022", "webworker"], ["es2022"]])
    test(`the types compile: strict, ${moduleResolution}, ${lib.join(" and ")}`, async () => {
      const file = join(project.folder, "use.ts");
      writeFileSync(file, lib.includes("dom") ? USE + PAGE : USE);
      const flags = ["--noEmit", "--strict", "--skipLibCheck", "false", "--target", "es2022", "--types", ""];
      const { stdout } = await run(
        process.execPath,
        [tsc, ...flags, "--module", module, "--moduleResolution", moduleResolution, "--lib", lib.join(), file],
        { cwd: project.folder },
      ).catch((error) => error);
      assert.equal(stdout, "");
    });

/** Runs a module in plain Node, in the project; gives back what it says at last. */
const inNode = async (code) => {
  const { stdout, stderr } = await run(process.execPath, ["--expose-gc", "--input-type=module", "-e", code], { cwd: project.folder, timeout: 20_000 });
  assert.equal(stderr, "");
  return JSON.parse(stdout);
};

test("in Node, importing it touches nothing, and every export resolves", async () => {
  const exported = Object.keys(JSON.parse(text("package.json")).exports);
  const said = await inNode(`
    const before = Reflect.ownKeys(globalThis).length;
    // Whoever asks for one of these, even to see whether it is there, is told of.
    const touched = [];
    const asked = ["window", "localStorage", "indexedDB", "navigator", "screen"];
    for (const name of asked)
      Object.defineProperty(globalThis, name, { configurable: true, get: () => void touched.push(name) });
    const all = await import("@headwater/web");
    for (const name of asked) delete globalThis[name];
    const resolved = ${JSON.stringify(exported)}.map((path) => import.meta.resolve("@headwater/web" + path.slice(1)));
    console.log(JSON.stringify({ names: Object.keys(all).sort(), touched, resolved: resolved.length }));
  `);
  assert.deepEqual(said, { names: ["another", "default", "headwater"], touched: [], resolved: exported.length });
});

test("on a server its verbs do nothing: no throw, no request, nothing kept, nobody waits, and the process may end", async () => {
  const said = await inNode(`
    const asked = [];
    globalThis.fetch = (...given) => asked.push(given);
    const { headwater, another } = await import("@headwater/web");
    const outcomes = [];
    for (const client of [headwater, another()]) {
      client.load({ writeKey: "wk", endpoint: "http://127.0.0.1:9", autocapture: true });
      const stop = client.on("dropped", () => {});
      outcomes.push(...await Promise.all([
        client.track("A", { n: 1 }), client.identify("u"), client.page(), client.screen(), client.group("g"), client.alias("v"),
      ]));
      await client.flush();
      await client.autocapture(true);
      client.reset();
      client.consent("denied");
      stop();
    }
    const given = new WeakRef({ n: 1 });
    headwater.track("A", given.deref());
    // A reference that was looked at lives as long as the task.
    await new Promise((done) => setImmediate(done));
    gc();
    console.log(JSON.stringify({ asked, outcomes, kept: given.deref() }));
  `);
  assert.deepEqual([said.asked, said.kept], [[], undefined]);
  assert.deepEqual(said.outcomes, Array(12).fill({ messageId: "", durable: false }));
});
