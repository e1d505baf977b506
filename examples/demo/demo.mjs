#!/usr/bin/env node
// Starts the whole line on this machine: the collector, a consumer, the shop and the live view; prints one URL.
// Promises: all of it on loopback; nothing of it is left behind when this ends; what it needs to go on next time
// (keys, the log, the config file) is in one folder. `startDemo` is the same for a test.

import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createReceiver } from '../receiver/receiver.mjs';
import { createCollector } from './collector.mjs';
import { createInbox } from './inbox.mjs';
import { followLog } from './log-follower.mjs';
import { createSite } from './site.mjs';

// What the collector itself says of each action that rules did.
const REPORT = 'Action Done';

const USAGE = `Usage: demo.mjs PATH_TO_HEADWATER [options]

  --data DIR             keys, event log and config file (default ./data/demo)
  --port N               the demo's page (default 8421; 0 = any free port, here and below)
  --collector-port N     the collector (default 8420)
  --receiver-port N      the webhook consumer (default 8422)
  --json                 print one line of JSON instead of text, once everything answers
  --help`;

/**
 * Starts everything and resolves when it all answers. `stop()` ends all of it.
 * @param {{ binary: string, data?: string, port?: number, collectorPort?: number, receiverPort?: number, rules?: string }} options  `rules`: a folder; without it nothing is reacted to
 */
export async function startDemo({ binary, data = './data/demo', port = 8421, collectorPort = 8420, receiverPort = 8422, rules }) {
  data = resolve(data);
  mkdirSync(data, { recursive: true });
  const keys = openKeys(join(data, 'demo.json'));
  const run = randomUUID();
  const token = randomBytes(24).toString('base64url');
  const shown = (path) => (relative('.', path).startsWith('..') ? path : relative('.', path));
  const config = join(data, 'headwater.toml');
  for (const [flag, n] of [['--collector-port', collectorPort], ['--port', port], ['--receiver-port', receiverPort]]) await mustBeFree(flag, n);

  const startedAt = new Date().toISOString();
  const state = () => {
    const { running, pid, exit, starts } = collector.state();
    return {
      run, running, pid, exit, starts, ...follower.state(), readsLog: keys.get('adminToken') !== undefined,
      startCommand: `${shown(resolve(binary))} serve --config ${shown(config)}`,
    };
  };
  const site = createSite({
    token,
    state,
    fill: () => ({ COLLECTOR: collector.url(), WRITE_KEY: keys.get('writeKey'), RECEIVER: urlOf(receiver), RUN: run, RULES: rules ? 'yes' : '' }),
    pay,
    control: {
      kill: async () => {
        if (!collector.state().running) throw new Error('The collector that runs now was not started by this demo: kill it where you started it.');
        await collector.kill();
      },
      start: async () => {
        if (follower.state().up) throw new Error('The collector is up already.');
        await collector.start();
      },
    },
  });
  // The shop's backend, as far as there is one: every card is declined, and who it was is told to the collector with a key that no page has.
  async function pay({ userId, anonymousId, order_id, total }) {
    const event = {
      writeKey: keys.get('backendKey'), messageId: randomUUID(), event: 'Payment Failed', userId, anonymousId,
      properties: { order_id, total, reason: 'declined' },
    };
    const answer = await fetch(`${collector.url()}/v1/track`, { method: 'POST', body: JSON.stringify(event) }).catch(() => null);
    return answer?.ok ? { status: 402, error: 'declined' } : { status: 503, error: 'The collector does not take it.' };
  }
  const inbox = createInbox((sent) => site.publish('sent', sent, { keep: true }));
  const changed = () => {
    follower.nudge();
    site.publish('state', state());
  };

  const collector = createCollector({
    binary: resolve(binary),
    config,
    port: collectorPort,
    logFile: join(data, 'collector.log'),
    toml: (listen) => toml({ listen, rules: rules && { folder: rules, destinations: inbox.toml() }, data: join(data, 'collector'), writeKey: keys.get('writeKey'), backendKey: keys.get('backendKey'), secret: keys.get('secret'), hook: `${urlOf(receiver)}/webhook` }),
    onChange: changed,
    onAdminToken: (value) => keys.set('adminToken', value),
  });
  let seenUp;
  const isSeenUp = new Promise((done) => { seenUp = done; });
  const follower = followLog({
    url: collector.url,
    token: () => keys.get('adminToken') ?? null,
    onUp: (up) => {
      if (up) seenUp();
      site.publish('state', state());
    },
    onRecords(records) {
      for (const record of records) if (record.receivedAt >= startedAt && record.event !== REPORT) site.publish('stored', record, { keep: true });
      site.publish('state', state());
    },
  });
  let receiver = null;

  async function stop() {
    follower.stop();
    await collector.stop(); // first, so that what it still delivers is taken
    for (const server of [receiver, site.server]) {
      server?.close();
      server?.closeAllConnections();
    }
    await inbox.stop();
  }

  try {
    await listen(site.server, port);
    await inbox.start();
    receiver = createReceiver({ secret: keys.get('secret'), viewer: urlOf(site.server) });
    await listen(receiver, receiverPort);
    receiverPort = receiver.address().port; // kept, should it be closed and opened again
    await collector.start();
    await isSeenUp; // the first page shall not show it as down
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `${urlOf(site.server)}/`,
    shop: `${urlOf(site.server)}/shop/`,
    collector: { url: collector.url(), writeKey: keys.get('writeKey'), start: collector.start, kill: collector.kill, state: collector.state },
    receiver: { // a test takes it away for a while
      url: urlOf(receiver),
      stop: () => new Promise((done) => { receiver.close(done); receiver.closeAllConnections(); }),
      start: () => listen(receiver, receiverPort),
    },
    data,
    adminToken: () => keys.get('adminToken') ?? null,
    stop,
  };
}

// Made once for a data folder: a shop keeps its key, and a consumer its secret.
function openKeys(path) {
  let keys;
  try {
    keys = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if (error.code !== 'ENOENT') throw new Error(`${path} is damaged (${error.message}): delete the folder to start afresh`);
    keys = { writeKey: `demo${randomBytes(12).toString('hex')}`, backendKey: `back${randomBytes(12).toString('hex')}`, secret: `whsec_${randomBytes(24).toString('base64')}` };
  }
  keys.backendKey ??= `back${randomBytes(12).toString('hex')}`; // a folder of an earlier demo has none
  const save = () => writeFileSync(path, `${JSON.stringify(keys, null, 2)}\n`, { mode: 0o600 });
  save();
  return { get: (name) => keys[name], set: (name, value) => { keys[name] = value; save(); } };
}

// A TOML basic string is written as JSON writes it.
const toml = ({ listen, rules, data, writeKey, backendKey, secret, hook }) => `# Written by the demo at each start of the collector.
listen = ${JSON.stringify(listen)}
data = ${JSON.stringify(data)}
${rules ? `rules = ${JSON.stringify(rules.folder)}\n` : ''}
[sources.web]
write_key = ${JSON.stringify(writeKey)}

[sources.backend]
write_key = ${JSON.stringify(backendKey)}
trust = "server"
${rules ? `\n${rules.destinations}` : ''}
[consumers.receiver]
kind = "webhook"
url = ${JSON.stringify(hook)}
secret = ${JSON.stringify(secret)}
allow_private = true # it listens on this machine
events = ["!${REPORT}"] # what became of each action stands with its firing; a shopper's clicks are what this shows
`;

const urlOf = (server) => `http://127.0.0.1:${server?.address()?.port ?? 0}`;

const listen = (server, port) => new Promise((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done));

// Asked before anything is started: a clear word beats a half-started demo.
async function mustBeFree(flag, port) {
  const probe = createServer();
  try {
    await listen(probe, port);
  } catch (error) {
    if (error.code !== 'EADDRINUSE') throw error;
    throw new Error(`Port ${port} is taken: another program, or another demo, listens there.\nStop that one, or choose another port: ${flag} ${port + 10} (make run ARGS='${flag} ${port + 10}').`);
  }
  await new Promise((done) => probe.close(done));
}

async function main() {
  const number = { type: 'string' };
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      data: { type: 'string' }, port: number, 'collector-port': number, 'receiver-port': number,
      json: { type: 'boolean' }, help: { type: 'boolean' },
    },
  });
  if (values.help || positionals.length !== 1) {
    console.log(USAGE);
    process.exit(values.help ? 0 : 2);
  }
  const port = (name) => {
    if (values[name] === undefined) return undefined;
    if (!/^\d{1,5}$/.test(values[name]) || values[name] > 65535) throw new Error(`--${name} wants a number from 0 to 65535`);
    return Number(values[name]);
  };
  const starting = startDemo({
    binary: positionals[0], data: values.data,
    port: port('port'), collectorPort: port('collector-port'), receiverPort: port('receiver-port'),
    rules: fileURLToPath(new URL('rules', import.meta.url)),
  });

  let leaving = false;
  const leave = async (signal) => {
    if (leaving) process.exit(130); // asked twice: the collector is killed as this process exits
    leaving = true;
    if (!values.json && signal === 'SIGINT') console.log('\nStopping.');
    await (await starting.catch(() => null))?.stop();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, leave);

  const demo = await starting;
  const { url, shop, collector, receiver, data } = demo;
  if (values.json) {
    console.log(JSON.stringify({
      ready: true, url, shop, data, pid: process.pid, writeKey: collector.writeKey, adminToken: demo.adminToken(),
      collector: { url: collector.url, pid: collector.state().pid }, receiver: { url: receiver.url },
    }));
  } else {
    const kept = relative('.', data) || '.';
    // A data folder whose token was never seen here: the collector has it as a hash alone.
    const signIn = demo.adminToken() ?? `none is known here; \`${positionals[0]} token add demo ${join(kept, 'collector')}\` makes one`;
    console.log(`\n  The demo is at  ${url}\n\n  Rules, and what they do:   ${collector.url}/console/rules\n  People, and what they do:  ${collector.url}/console\n  The admin token to sign in there:  ${signIn}\n\n  Ctrl-C stops it. Everything it keeps is in ${kept};\n  the write key and the admin token, for curl, are in ${join(kept, 'demo.json')}.\n`);
  }
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main().catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
}
