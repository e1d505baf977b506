/*
 * The tarball that `npm pack` makes, installed into a new folder: what tests of the package begin with. Promises that the folder goes
 * with `remove`; asks no registry.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const here = join(import.meta.dirname, "..");

/** The folder of a project that has the package; `files` are the package's, as npm lists them. */
export const installPacked = async () => {
  assert.ok(existsSync(join(here, "dist/headwater.mjs")), "dist is missing: run `npm run build`");
  const folder = mkdtempSync(join(tmpdir(), "headwater-packed-"));
  const installed = join(folder, "node_modules/@headwater/web");
  const { stdout } = await run("npm", ["pack", "--json", "--silent", "--pack-destination", folder], { cwd: here });
  const [{ filename, files }] = JSON.parse(stdout);
  mkdirSync(installed, { recursive: true });
  await run("tar", ["-xzf", join(folder, filename), "--strip-components=1", "-C", installed]);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  return { folder, installed, files: files.map(({ path }) => path), remove };
};
