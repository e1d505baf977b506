/*
 * Headwater beside two peers from npm, in the same run: the same page, calls and server for each. `node bench/peers.mjs [RUNS]`;
 * it needs `npm ci` in `bench/`. Prints medians, and how many times ours each costs.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { measure } from "./cost.mjs";

const here = import.meta.dirname;
const RUNS = Number(process.argv[2] ?? 5);
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const dist = (name) => readFileSync(join(here, "../dist", name));

const peer = async (contents, answer) => {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: here },
    bundle: true,
    minify: true,
    write: false,
    format: "iife",
    target: "es2020",
    logLevel: "error",
  });
  return { files: { "peer.js": Buffer.from(outputFiles[0].contents) }, html: '<script src="peer.js"></script>', answer };
};

const clients = {
  headwater: {
    files: { "headwater.js": dist("headwater.js"), "headwater.wasm": dist("headwater.wasm") },
    html: '<script src="headwater.js" data-write-key="k"></script><script>track = (...given) => headwater.track(...given)</script>',
    answer: '{"success":true,"events":[]}',
  },
};
if (existsSync(join(here, "node_modules"))) {
  clients["segment analytics-next"] = await peer(
    `import { AnalyticsBrowser } from "@segment/analytics-next";
     const apiHost = location.host + "/v1";
     const batching = { strategy: "batching", config: { size: 100, timeout: 200 } };
     const settings = { apiKey: "k", apiHost, protocol: "http", deliveryStrategy: batching };
     const client = AnalyticsBrowser.load({ writeKey: "k", cdnSettings: { integrations: { "Segment.io": settings } } }, { integrations: { "Segment.io": settings } });
     self.track = (...given) => void client.track(...given);`,
    '{"success":true}',
  );
  clients.mixpanel = await peer(
    `import mixpanel from "mixpanel-browser";
     mixpanel.init("k", { api_host: location.origin, batch_flush_interval_ms: 200, api_payload_format: "json", persistence: "localStorage" });
     self.track = (...given) => void mixpanel.track(...given);`,
    '{"status":1,"error":null}',
  );
} else console.log("no peers: run `npm ci` in bench/");

const figures = {};
for (const [name, client] of Object.entries(clients)) figures[name] = { client, loop: [], trickle: [] };
// By turns, so that a noisy moment meets all of them.
for (let run = 0; run < RUNS; run++)
  for (const { client, loop, trickle } of Object.values(figures)) {
    loop.push(await measure(client, true));
    trickle.push(await measure(client, false));
  }
const of = ({ loop, trickle }) => ({
  "bytes, gzip -9": loop[0].bytes,
  "us per call, 1,000 in a loop": median(loop.map(({ us }) => us)),
  "us per call, ten every 10 ms": median(trickle.map(({ us }) => us)),
  "main thread, ms per 1,000 in a loop": median(loop.map(({ main }) => main)),
  "main thread, ms per 1,000 as ten every 10 ms": median(trickle.map(({ main }) => main)),
  "heap at rest, MB": median(trickle.map(({ heap }) => heap)),
  "events of 1,000 that arrived within 30 s": median(loop.map(({ arrived }) => arrived)),
  "requests per 1,000 in a loop": median(loop.map(({ requests }) => requests)),
});
const ours = of(figures.headwater);
const round = (number) => Math.round(number * 10) / 10;
for (const [name, figure] of Object.entries(figures)) {
  console.log(`\n${name} (median of ${RUNS} cold runs; processor time)`);
  for (const [what, value] of Object.entries(of(figure)))
    console.log(`  ${what.padEnd(46)}${String(round(value)).padStart(10)}${name === "headwater" ? "" : `   x ${round(value / ours[what])}`}`);
}
