/*
 * Programs that the tests start: each in a process group of its own. Promises that a group ends with its test, or with the run
 * whatever ends it, and that nothing else is ended; and a limit to whatever is waited for. Knows nothing of browsers.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";

/** Longer than anything takes on a machine that is busy; a browser that hangs fails its test by then. */
const PATIENCE_MS = 60_000;

const running = new Set();

/** Starts a program; what it says is in `said()`. */
export const start = (command, args, env = {}, also = []) => {
  const child = spawn(command, args, {
    detached: true,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe", ...also],
  });
  const exited = new Promise((done) => {
    child.once("exit", done);
    child.once("error", done);
  });
  let said = "";
  for (const stream of child.stdio.slice(1)) stream.on("data", (chunk) => (said = (said + chunk).slice(-20_000)));
  const group = { pid: child.pid, exited, said: () => said };
  running.add(group);
  return group;
};

/** Ends the whole group, as a power cut does. */
export const end = async (group) => {
  running.delete(group);
  try {
    process.kill(-group.pid, "SIGKILL");
  } catch {
    // Gone by itself.
  }
  await group.exited;
};

/** The promise, or an error when that takes too long. */
export const within = (promise, what, patience = PATIENCE_MS) => {
  let timer;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error(`waited ${patience} ms for ${what}`)), patience);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** The first of these paths that exists; an error that says how to get it, if none does. */
export const program = (paths, advice) => {
  const found = paths.find((path) => path && existsSync(path));
  if (!found) throw new Error(`${paths.at(-1)} is missing: ${advice}`);
  return found;
};

process.once("exit", () => {
  for (const { pid } of running)
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // Gone by itself.
    }
});
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));
