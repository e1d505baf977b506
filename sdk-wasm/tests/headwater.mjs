/*
 * The real collector for a test, with its log. Promises that it ends with `stop`, and its data with it; needs the binary (`HEADWATER`,
 * default `../target/debug/headwater`). Knows no browser.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { until } from "./browser.mjs";

const binary = process.env.HEADWATER ?? join(import.meta.dirname, "../../target/debug/headwater");

/** A collector with one source, in a folder of its own; `also` are lines of its configuration. */
export const startHeadwater = async (also = "") => {
  assert.ok(existsSync(binary), `${binary} is missing: run \`cargo build\`, or set HEADWATER`);
  const folder = mkdtempSync(join(tmpdir(), "headwater-collector-"));
  const config = join(folder, "headwater.toml");
  writeFileSync(
    config,
    `listen = "127.0.0.1:0"\ndata = ${JSON.stringify(join(folder, "data"))}\n${also}\n[sources.web]\nwrite_key = "wk_test"\n`,
    { mode: 0o600 },
  );
  const child = spawn(binary, ["serve", "--config", config], { stdio: ["ignore", "pipe", "pipe"] });
  const said = [];
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on("line", (line) => said.push(line));
  const find = (pattern) => said.map((line) => pattern.exec(line)?.[1]).find(Boolean);
  const url = await until(() => {
    assert.equal(child.exitCode, null, said.join("\n"));
    return find(/(http:\/\/127\.0\.0\.1:\d+)/) && find(/admin token:\s*(\S+)/i) && find(/(http:\/\/127\.0\.0\.1:\d+)/);
  }, "the collector's address");
  const authorization = `Bearer ${find(/admin token:\s*(\S+)/i)}`;
  return {
    url,
    /** The whole log, oldest first. */
    log: async () => {
      const answer = await fetch(`${url}/v1/events?limit=5000`, { headers: { authorization } });
      assert.equal(answer.status, 200);
      return (await answer.text()).split("\n").filter(Boolean).map((line) => JSON.parse(line));
    },
    stop: async () => {
      const ended = new Promise((done) => child.once("exit", done));
      child.kill("SIGKILL");
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
};
