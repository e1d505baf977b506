// The collector as a child process: start it, kill it without mercy, end it kindly, and say which of these is so.
// Promises: at most one child of ours at a time, and none after `stop`. Knows neither pages nor events.

import { spawn } from 'node:child_process';
import { createWriteStream, writeFileSync } from 'node:fs';

const START_LIMIT_MS = 15_000; // recovery of a demo-sized log takes milliseconds; a debug build is slow to load
const DRAIN_LIMIT_MS = 5_000; // the collector drains on SIGTERM; past this it is stuck

/**
 * @param {object} options
 * @param {string} options.binary   path of the `headwater` binary
 * @param {string} options.config   path of the TOML file; written here, at each start, by `toml(listen)`
 * @param {(listen: string) => string} options.toml
 * @param {number} options.port     0 = any free one; the one that was bound is kept for later starts
 * @param {string} options.logFile  where its output goes
 * @param {() => void} options.onChange   called when it has started or ended
 * @param {(token: string) => void} options.onAdminToken
 */
export function createCollector({ binary, config, toml, port, logFile, onChange, onAdminToken }) {
  const log = createWriteStream(logFile, { flags: 'a' });
  log.on('error', (error) => console.error(`${logFile}: ${error.message}`));
  let child = null;
  let exit = null; // how the last one ended: 'SIGKILL', 'exit 1'
  let starts = 0;
  let lastLines = [];
  process.once('exit', () => child?.kill('SIGKILL')); // however this process ends, it cannot wait any more
  const url = () => `http://127.0.0.1:${port}`;

  /** Resolves when it answers; rejects, with its last words, when it ends before. */
  async function start() {
    if (child) throw new Error('the collector is running already');
    writeFileSync(config, toml(`127.0.0.1:${port}`), { mode: 0o600 });
    const mine = spawn(binary, ['serve', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    child = mine;
    lastLines = [];
    const ended = new Promise((resolve) => {
      mine.once('error', (error) => resolve(error.message)); // not there, not executable
      mine.once('exit', (code, signal) => resolve(signal ?? `exit ${code}`));
    }).then((how) => {
      if (child === mine) child = null;
      exit = how;
      onChange();
    });
    const bound = new Promise((resolve) => {
      for (const stream of [mine.stdout, mine.stderr]) lines(stream, (line) => {
        const token = /^\s*admin token:\s*(\S+)/i.exec(line)?.[1];
        if (token) onAdminToken(token); // printed once in the life of a data folder; not for the log file
        else log.write(`${line}\n`);
        lastLines = [...lastLines.slice(-9), token ? 'admin token: …' : line];
        const address = boundPort(line);
        if (address) resolve(address);
      });
    });
    if (port === 0) port = await Promise.race([bound, ended.then(() => 0)]);

    const deadline = performance.now() + START_LIMIT_MS;
    while (child === mine && !(await answers(`${url()}/healthz`))) {
      if (performance.now() > deadline) {
        await stop();
        exit = `no answer within ${START_LIMIT_MS / 1000} s`;
      }
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    if (child !== mine) throw new Error(`the collector did not start (${exit}):\n${lastLines.map((l) => `  ${l}`).join('\n')}`);
    starts += 1;
    onChange();
  }

  /** SIGKILL: what a crash, the OOM killer or a pulled plug do. Resolves when the process is gone. */
  const kill = () => end('SIGKILL');

  /** SIGTERM, so that it drains; SIGKILL when it does not. */
  async function stop() {
    const impatience = setTimeout(() => child?.kill('SIGKILL'), DRAIN_LIMIT_MS);
    await end('SIGTERM');
    clearTimeout(impatience);
  }

  async function end(signal) {
    const mine = child;
    if (!mine) return;
    await new Promise((resolve) => {
      mine.once('exit', resolve);
      mine.once('error', resolve);
      mine.kill(signal);
    });
  }

  return {
    start, kill, stop, url,
    state: () => ({ running: child !== null, pid: child?.pid ?? null, exit, starts }),
  };
}

/** The port in a line of the collector's output that says where it listens. */
export function boundPort(line) {
  const found = /\blistens on http:\/\/[^/\s]*:(\d+)\b/.exec(line);
  return found ? Number(found[1]) : null;
}

const answers = (url) => fetch(url, { signal: AbortSignal.timeout(1000) }).then((r) => r.arrayBuffer()).then(() => true, () => false);

function lines(stream, each) {
  let rest = '';
  stream.setEncoding('utf8').on('data', (chunk) => {
    const parts = (rest + chunk).split('\n');
    rest = parts.pop();
    parts.forEach(each);
  });
}
