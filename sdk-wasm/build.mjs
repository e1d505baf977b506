/*
 * Makes `dist/`: the core compiled, packed and shrunk, the front bundled for classic scripts and for modules, and the types. Promises
 * the same bytes for the same sources and tools, and to say what to install when something is missing.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const root = dirname(here);
const dist = join(here, "dist");
const target = process.env.CARGO_TARGET_DIR ?? join(root, "target");
const { version } = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));

const run = (command, args, advice, env) => {
  const done = spawnSync(command, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, CARGO_TARGET_DIR: target, ...env },
  });
  if (done.status !== 0) {
    console.error(`\nsdk-wasm: \`${command} ${args.join(" ")}\` failed. ${advice}`);
    process.exit(1);
  }
};

if (!existsSync(join(here, "node_modules/esbuild")) || !existsSync(join(here, "node_modules/binaryen"))) {
  console.error("sdk-wasm: the tools of package.json are missing: run `npm ci` in sdk-wasm/.");
  process.exit(1);
}

const cargo = "Rust is needed (rustup.rs), with its target: `rustup target add wasm32-unknown-unknown`.";
const wasmTarget = "wasm32-unknown-unknown";
run(
  "cargo",
  ["build", "--locked", "--profile", "wasm", "--target", wasmTarget, "-p", "headwater-wasm"],
  cargo,
  // 32 KiB of stack: the core does not recurse, and the default of 1 MiB is memory that every page would pay.
  { CARGO_PROFILE_WASM_STRIP: "none", RUSTFLAGS: `-C link-arg=-zstack-size=32768 --remap-path-prefix=${root}=` },
);
run("cargo", ["build", "--locked", "-p", "headwater-pack"], "Rust is needed (rustup.rs).");

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);
const packed = join(target, wasmTarget, "wasm", "headwater.packed.wasm");
const wasm = join(dist, "headwater.wasm");
run(
  join(target, "debug", "headwater-pack"),
  [join(target, wasmTarget, "wasm", "headwater_wasm.wasm"), packed],
  "This is the project's own tool: sdk-wasm/pack.",
);
run(
  process.execPath,
  [
    join(here, "node_modules/binaryen/bin/wasm-opt"),
    "-Oz",
    // What every browser has had since 2021, and no more: other features save nothing and shut pages out.
    ...["--mvp-features", "--enable-bulk-memory", "--enable-sign-ext", "--enable-mutable-globals"],
    "--enable-nontrapping-float-to-int",
    ...["--strip-producers", "--strip-target-features", "--strip-debug"],
    ...[packed, "-o", wasm],
  ],
  "Run `npm ci` in sdk-wasm/.",
);

const { build } = await import("esbuild");
const hash = createHash("sha256").update(readFileSync(wasm)).digest("hex").slice(0, 8);
const front = (entry, format, outfile, defined = {}) =>
  build({
    entryPoints: [join(here, "js", entry)],
    outfile: join(dist, outfile),
    format,
    bundle: true,
    minify: true,
    target: "es2020",
    legalComments: "none",
    logLevel: "warning",
    // Who bundles the modules follows their maps; a page that loads the script is not sent to look for one.
    sourcemap: format == "esm" ? "linked" : "external",
    plugins: [apart],
    define: { VERSION: JSON.stringify(version), WASM: JSON.stringify(hash), ...defined },
  });
/** What is imported when it is asked for is a file of its own. */
const apart = {
  name: "apart",
  setup: (build) =>
    build.onResolve({ filter: /^\.\/autocapture\/index$/ }, () => ({ path: "./headwater-autocapture.js", external: true })),
};
await front("autocapture/index.ts", "esm", "headwater-autocapture.js");
const capture = readFileSync(join(dist, "headwater-autocapture.js"));
/** A page that wants events without code pays this, and no more. */
const CAPTURE_BUDGET = 4500;
const captureSize = gzipSync(capture, { level: 9 }).length;
console.log(`headwater-autocapture.js ${captureSize} = ${captureSize} B of gzip -9, of ${CAPTURE_BUDGET}`);
if (captureSize > CAPTURE_BUDGET) {
  console.error(`sdk-wasm: over its budget by ${captureSize - CAPTURE_BUDGET} bytes: make it smaller.`);
  process.exitCode = 1;
}
const captureHash = createHash("sha256").update(capture).digest("hex").slice(0, 8);
await front("script.ts", "iife", "headwater.js", { AUTOCAPTURE: JSON.stringify(captureHash) });
await front("module.ts", "esm", "headwater.mjs");

const types = readFileSync(join(here, "js/types.ts"), "utf8");
writeFileSync(
  join(dist, "headwater.d.ts"),
  `${types}
/** The page's client. */
export declare const headwater: Headwater;
export default headwater;
/** Another client, for another write key. */
export declare function another(): Headwater;
declare global {
  interface Window {
    headwater: Headwater & { push(...calls: unknown[][]): void };
  }
}
`,
);
for (const file of ["headwater.js", "headwater.mjs", "headwater.wasm"]) {
  const bytes = readFileSync(join(dist, file));
  const { gzipSync } = await import("node:zlib");
  console.log(`${file}\t${bytes.length} B, gzip -9 ${gzipSync(bytes, { level: 9 }).length} B`);
}
