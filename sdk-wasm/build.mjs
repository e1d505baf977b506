/*
 * Makes `dist/`: the core compiled, packed and shrunk, the front bundled for classic scripts and for modules, and the types. Promises
 * the same bytes for the same sources and tools, and to say what to install when something is missing.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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
run("cargo", ["build", "--locked", "-p", "headwater-pack"], "Rust is needed (rustup.rs).");
const pack = (step, input, output) =>
  run(join(target, "debug", "headwater-pack"), [step, input, output], "This is the project's own tool: sdk-wasm/pack.");
const binaryen = (tool, ...args) =>
  run(process.execPath, [join(here, "node_modules/binaryen/bin", tool), ...args], "Run `npm ci` in sdk-wasm/.");

/** The core compiled; `flags` are rustc's, `lto` is as in a profile. */
const compile = (to, lto, flags = "") => {
  run(
    "cargo",
    // One crate type alone: cargo does without the optimisation of the whole at linking, `lto`, where an rlib is made beside it.
    [..."rustc --locked --profile wasm -p headwater-wasm --lib --crate-type cdylib --target".split(" "), wasmTarget, "--target-dir", to],
    cargo,
    // 6 KiB of stack, of which the core, that does not recurse, takes 1; the default of 1 MiB is memory that every page
    // would pay, and what lies behind a small one has short addresses. The first KiB of
    // them is never reached, which `--low-memory-unused` builds on.
    {
      CARGO_PROFILE_WASM_STRIP: "none",
      CARGO_PROFILE_WASM_LTO: lto,
      RUSTFLAGS: `-C link-arg=-zstack-size=6144 --remap-path-prefix=${root}= ${flags}`,
    },
  );
  return join(to, wasmTarget, "wasm");
};

rmSync(dist, { recursive: true, force: true });
mkdirSync(dist);

// What every browser has had since 2021, and no more: other features save nothing and shut pages out.
const features = ["--mvp-features", "--enable-bulk-memory", "--enable-sign-ext", "--enable-mutable-globals"];
features.push("--enable-nontrapping-float-to-int", "--strip-producers", "--strip-target-features", "--strip-debug");
const wasm = join(dist, "headwater.wasm");
// Measured: 30 bytes of gzip less than with what the compiler takes for worth its place when it is to make things small.
const out = compile(target, "fat", "-C llvm-args=--inline-threshold=20");
const file = (name) => join(out, name);
pack("bind", file("headwater_wasm.wasm"), file("bound.wasm"));
binaryen("wasm-opt", "-Oz", ...features, file("bound.wasm"), "-o", file("small.wasm"));
// Only now is it plain which of the static data nobody reads.
pack("trim", file("small.wasm"), file("trimmed.wasm"));
// Measured: 250 bytes of gzip less than `-Oz` alone.
const again = ["-Oz", "--flatten", "--rereloop", "-Oz", "-Oz", "--low-memory-unused"];
binaryen("wasm-opt", ...again, ...features, file("trimmed.wasm"), "-o", wasm);

// The same core as JavaScript, for pages whose CSP refuses WebAssembly: compiled for the least of machines, since wasm2js has no
// bulk memory, then lowered until nothing newer is left. Crate by crate: optimised as a whole, it would take over the newer
// instructions of the standard library, and what converts a number to the nearest integer makes 0 of 2^32 - 1 when it is lowered.
const plain = compile(join(target, "wasm2js"), "off", "-C target-cpu=mvp");
const step = (name) => join(plain, name);
const lower = ["--llvm-memory-copy-fill-lowering", "--llvm-nontrapping-fptoint-lowering", "--signext-lowering"];
binaryen("wasm-opt", "-g", step("headwater_wasm.wasm"), ...lower, "--strip-target-features", "-o", step("lowered.wasm"));
const mvp = ["--mvp-features", "--enable-mutable-globals"];
binaryen("wasm-opt", "-g", step("lowered.wasm"), ...mvp, "--emit-target-features", "-o", step("plain.wasm"));
pack("bind", step("plain.wasm"), step("bound.wasm"));
mvp.push("--strip-producers", "--strip-target-features", "--strip-debug");
binaryen("wasm-opt", "-Oz", ...mvp, step("bound.wasm"), "-o", step("small.wasm"));
pack("trim", step("small.wasm"), step("trimmed.wasm"));
binaryen("wasm2js", "-O", ...mvp, step("trimmed.wasm"), "-o", step("core.js"));

const { build } = await import("esbuild");
const { minify } = await import("terser");
// wasm2js makes one instance where it is imported; a term of leadership wants its own.
const [before, after] = readFileSync(step("core.js"), "utf8").split(/var retasmFunc = [^]*?asmFunc\(\{?/);
await build({
  stdin: { contents: `${before}\nexport default () => asmFunc({});`, loader: "js" },
  outfile: join(dist, "headwater.core.js"),
  format: "esm",
  minify: true,
  target: "es2020",
  legalComments: "none",
  logLevel: "warning",
});
/** A file's hash as the attribute `integrity` has it. */
const integrity = (file, how) => `${how}-${createHash(how).update(readFileSync(file)).digest("base64")}`;
// SHA-256: with SHA-384 the script is 20 bytes larger, and neither is known to be weaker.
const hashes = { WASM: JSON.stringify(integrity(wasm, "sha256")) };
/**
 * Names of what only these files say to each other: one letter each, and the same one in all of them. None that a page, the browser, the
 * wire or the database knows. Measured: 170 bytes of gzip.
 */
const INTERNAL =
  "mark live first adding head hear lease caughtUp strand settled given own isOpen send guard saved texts allowed swap listed purge " +
  "priority who begin known inside place files tell look failed loaded promise effects input role election renew take write storage wait bits read " +
  "leave state report answers end election storage call";
const letters = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ$_"];
const mangleCache = Object.fromEntries(INTERNAL.split(" ").map((name, at) => [name, letters[at]]));
const mangleProps = RegExp(`^(${INTERNAL.replaceAll(" ", "|")})$`);
const front = async (entry, format, outfile, defined = {}, opening = "") => {
  await build({
    entryPoints: [join(here, "js", entry)],
    outfile: join(dist, outfile),
    format,
    bundle: true,
    minify: true,
    target: "es2021",
    legalComments: "none",
    logLevel: "warning",
    // Who bundles the modules follows their maps; a page that loads the script is not sent to look for one.
    sourcemap: format == "esm" ? "linked" : "external",
    plugins: [apart],
    banner: { js: opening },
    // It shares nothing with the others but what is public.
    ...(!entry.startsWith("autocapture") && { mangleProps, mangleCache }),
    define: { VERSION: JSON.stringify(version), MODULE: String(format == "esm"), ...hashes, ...defined },
  });
  // Measured: 600 bytes of gzip less than esbuild's own minifier.
  const [file, map] = [join(dist, outfile), join(dist, outfile + ".map")];
  const { code, map: mapped } = await minify(readFileSync(file, "utf8").replace(/\n\/\/# sourceMappingURL=.*/, ""), {
    ecma: 2020,
    module: format == "esm",
    // The script keeps its function around it, or a page would have sixty new globals.
    toplevel: format == "esm",
    // Functions stay where they are: moved to their only call they are made anew by each, 10 microseconds a track() when cold.
    compress: { passes: 2, reduce_funcs: false, inline: false },
    // What bundlers are told in comments.
    format: { comments: /webpackIgnore|vite-ignore/ },
    sourceMap: {
      content: readFileSync(map, "utf8"),
      includeSources: true,
      filename: outfile,
      ...(format == "esm" && { url: outfile + ".map" }),
    },
  });
  writeFileSync(file, code);
  writeFileSync(map, mapped);
};
/** What is imported when it is asked for is a file of its own. */
const apart = {
  name: "apart",
  setup: (build) =>
    build.onResolve({ filter: /^\.\/(autocapture\/index|debug|lease|message)$/ }, ({ path }) => ({
      path: `./headwater-${path.split("/")[1]}.js`,
      external: true,
    })),
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
for (const name of ["debug", "lease", "message"]) await front(`${name}.ts`, "esm", `headwater-${name}.js`);
const later = ["headwater.wasm", "headwater.core.js", ...["autocapture", "debug", "lease", "message"].map((name) => `headwater-${name}.js`)];
const all = createHash("sha256");
for (const name of later) all.update(readFileSync(join(dist, name)));
const TAG = JSON.stringify(all.digest("hex").slice(0, 8));
await front("script.ts", "iife", "headwater.js", { TAG });
await front("module.ts", "esm", "headwater.mjs", { TAG }, "const importAsIs=u=>import(/* webpackIgnore: true *//* @vite-ignore */u);");

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
    headwater: Headwater & {
      /** Makes these calls, as the queue before the script has them. */
      push(...calls: unknown[][]): void;
      /** Another client, for another write key. */
      another(): Headwater;
    };
  }
}
`,
);
// For who writes a script tag, and pins what it loads.
const loaded = readdirSync(dist).filter((name) => /\.(m?js|wasm)$/.test(name)).sort();
const pins = Object.fromEntries(loaded.map((name) => [name, integrity(join(dist, name), "sha384")]));
writeFileSync(join(dist, "integrity.json"), `${JSON.stringify(pins, null, 2)}\n`);
console.log(`headwater.js integrity="${pins["headwater.js"]}"`);
// npm takes them from the package's own folder.
for (const name of ["LICENSE-APACHE", "LICENSE-MIT"]) copyFileSync(join(root, name), join(here, name));

/*
 * What a page transfers may not grow unnoticed: the aim is 16,000 for the first two, and these bounds go down; they have gone up by some ten bytes once,
 * for the way to messages.
 */
const gzip = (name) => gzipSync(readFileSync(join(dist, name)), { level: 9 }).length;
const BUDGETS = [
  [16_775, "headwater.js", "headwater.wasm"],
  [16_835, "headwater.mjs", "headwater.wasm"],
  [40_000, "headwater.js", "headwater.core.js"],
  // Only where somebody listens for messages.
  [3_200, "headwater-message.js"],
];
for (const [budget, ...files] of BUDGETS) {
  const sizes = files.map(gzip);
  const all = sizes.reduce((sum, size) => sum + size);
  console.log(files.map((name, index) => `${name} ${sizes[index]}`).join(" + "), `= ${all} B of gzip -9, of ${budget}`);
  if (all > budget) {
    console.error(`sdk-wasm: over its budget by ${all - budget} bytes: every page pays for them.`);
    process.exitCode = 1;
  }
}
