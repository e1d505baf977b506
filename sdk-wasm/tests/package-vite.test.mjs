/*
 * The package in somebody's project: a plain Vite build of it, Vite's development server, workers, rendering on a server, and its script
 * as a tag. Real Chromium, a stand-in for the collector. Vite is the examples' (`npm ci` in examples/): the SDK needs none.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { until } from "./browser.mjs";
import { strict } from "./collector.mjs";
import { installPacked } from "./packed.mjs";
import { browser, collector } from "./page.mjs";

const examples = join(import.meta.dirname, "../../examples/package.json");
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
let vite;
let project;
before(async () => {
  assert.ok(existsSync(join(examples, "../node_modules/vite")), "Vite is missing: run `npm ci` in examples/");
  vite = await import(createRequire(examples).resolve("vite"));
  project = await installPacked();
});
after(() => project?.remove());

/** What Vite warned of. */
let warned;
const settings = (also) => {
  const write = (name, text) => writeFileSync(join(project.folder, name), text);
  const options = `{ writeKey: "wk_test", endpoint: ${JSON.stringify(collector.endpoint)} }`;
  const client = `import { headwater } from "@headwater/web"; headwater.load(${options});`;
  write("index.html", `<!doctype html><link rel="icon" href="data:,"><title>Shop</title><script type="module" src="/main.js"></script>`);
  write(
    "main.js",
    `${client} headwater.track("In the page"); headwater.autocapture("pages clicks");
     self.inWorker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });`,
  );
  write("worker.js", `${client} headwater.track("In the worker");`);
  write("server.js", `import { headwater } from "@headwater/web"; headwater.load(${options});
    export const render = async () => ({ ...(await headwater.track("Rendered")), html: "<h1>Shop</h1>" });`);
  warned = [];
  const tell = (text) => warned.push(text);
  const customLogger = { ...vite.createLogger("silent"), warn: tell, warnOnce: tell, error: tell };
  return { root: project.folder, configFile: false, customLogger, ...also };
};

/** Serves what was built. */
const serve = async (folder, headers = {}) => {
  const server = createServer(({ url }, response) => {
    const { pathname } = new URL(url, "http://shop");
    const file = join(folder, pathname === "/" ? "index.html" : pathname);
    if (!existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": TYPES[extname(file)], ...headers }).end(readFileSync(file));
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const close = () => (server.closeAllConnections(), server.close());
  return { url: `http://127.0.0.1:${server.address().port}/`, close };
};

/** Opens it and waits for the events of page and worker; what was asked for, and what failed. */
const visit = async (url) => {
  const page = await browser.context.newPage();
  const loaded = [];
  const failures = [];
  page.on("request", (request) => loaded.push(new URL(request.url()).pathname));
  page.on("pageerror", (error) => failures.push(error.message));
  page.on("console", (message) => message.text().startsWith("headwater:") && failures.push(message.text()));
  page.on("response", (response) => response.ok() || failures.push(`${response.status()} ${response.url()}`));
  await page.goto(url);
  const said = () => [...collector.stored.values()];
  await until(() => said().length >= 3, () => `three events, not ${said().length}: ${failures}`);
  await until(() => loaded.some((path) => path.includes("autocapture")), "autocapture");
  assert.deepEqual(said().map(({ type, event }) => event ?? type).toSorted(), ["In the page", "In the worker", "page"]);
  assert.equal(new Set(said().map(({ anonymousId }) => anonymousId)).size, 1);
  assert.deepEqual(failures, []);
  await page.close();
  return loaded;
};

for (const format of ["iife", "es"])
  test(`a Vite build, its workers as ${format}: no option but key and endpoint, and every file is found`, async () => {
    const outDir = join(project.folder, `built-${format}`);
    await vite.build(settings({ worker: { format }, build: { outDir } }));
    assert.deepEqual(warned, []);
    const kinds = readdirSync(join(outDir, "assets")).map((name) => name.replace(/-[\w-]{8}\./, "."));
    assert.ok(kinds.includes("headwater.wasm") && kinds.includes("headwater.core.js"), kinds.join());
    const site = await serve(outDir);
    const loaded = await visit(site.url);
    assert.ok(loaded.some((path) => /^\/assets\/headwater-.*\.wasm$/.test(path)), loaded.join("\n"));
    assert.ok(!loaded.some((path) => path.includes("core")), loaded.join("\n"));
    site.close();
  });

test("the same build on a page that refuses WebAssembly loads the core as JavaScript", async () => {
  const outDir = join(project.folder, "built-strict");
  await vite.build(settings({ build: { outDir } }));
  const site = await serve(outDir, { "content-security-policy": strict(collector.endpoint, "worker-src 'self'; img-src data:") });
  const loaded = await visit(site.url);
  assert.ok(loaded.some((path) => /^\/assets\/headwater\.core-.*\.js$/.test(path)), loaded.join("\n"));
  assert.ok(!loaded.some((path) => path.endsWith(".wasm")), loaded.join("\n"));
  site.close();
});

for (const exclude of [[], ["@headwater/web"]])
  test(`Vite's development server, ${exclude.length ? "told to leave the package as it is" : "as it comes"}`, async () => {
    const server = await vite.createServer(
      settings({ optimizeDeps: { exclude }, cacheDir: join(project.folder, `.vite-${exclude.length}`), server: { port: 0, host: "127.0.0.1" } }),
    );
    try {
      await server.listen();
      const loaded = await visit(server.resolvedUrls.local[0]);
      assert.ok(loaded.some((path) => path.endsWith("headwater.wasm")), loaded.join("\n"));
      assert.deepEqual(warned, []);
    } finally {
      await server.close();
    }
  });

test("rendering on a server: built with the package within, and with the package as Node finds it", async () => {
  for (const noExternal of [[], ["@headwater/web"]]) {
    const outDir = join(project.folder, `server-${noExternal.length}`);
    await vite.build(settings({ build: { ssr: "server.js", outDir }, ssr: { noExternal } }));
    assert.deepEqual(warned, []);
    const code = `import { render } from ${JSON.stringify(join(outDir, "server.js"))}; console.log(JSON.stringify(await render()));`;
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", code], { timeout: 20_000 });
    assert.equal(stderr, "");
    assert.deepEqual(JSON.parse(stdout), { messageId: "", durable: false, html: "<h1>Shop</h1>" });
  }
  assert.equal(collector.stored.size, 0);
});

test("the tarball's headwater.js as a plain script tag, in the order of the documentation", async () => {
  const folder = join(project.installed, "dist");
  writeFileSync(
    join(folder, "index.html"),
    `<!doctype html><link rel="icon" href="data:,"><title>Shop</title><script>headwater = []</script>
     <script async src="headwater.js" data-write-key="wk_test" data-endpoint="${collector.endpoint}" data-autocapture="pages"></script>
     <script>headwater.push(["track", "Product Viewed", { sku: "kettle-01" }])</script>`,
  );
  const site = await serve(folder);
  const page = await browser.context.newPage();
  await page.goto(site.url);
  await until(() => collector.stored.size === 2, "two events");
  assert.deepEqual([...collector.stored.values()].map(({ type, event }) => event ?? type), ["Product Viewed", "page"]);
  site.close();
});
