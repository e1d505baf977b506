// What every story is played on: a collector with the story's rules, and the receiving ends, all on loopback and on free ports.
// Promises: nothing is left behind after `end()`; every wait has an end and says what it waited for; a webhook whose signature is
// wrong is answered 401 and is not among what was received. It knows no story.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Webhook } from 'standardwebhooks';
import { createCollector } from '../demo/collector.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
export const BINARY = resolve(process.env.HEADWATER ?? here('../../target/debug/headwater'));
const PYTHON = here('../../.build/smtp/bin/python');
const PATIENCE_MS = 30_000;
const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const ACCOUNT = `AC${'0'.repeat(32)}`;
const KEYS = { web: 'wk_web', backend: 'wk_backend' };

/** `headwater rules check|test FOLDER`: its exit code, and what it printed. */
export function rules(command, folder, ...more) {
  const { status, stdout, stderr } = spawnSync(BINARY, ['rules', command, folder, ...more], { encoding: 'utf8' });
  return { status, text: `${stdout}${stderr}` };
}

/** A time before now, or after, as events carry it. */
export const ago = ({ days = 0, hours = 0, minutes = 0, seconds = 0 }) =>
  new Date(Date.now() - (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000).toISOString();

/** A time zone in which it is this hour now. `Etc/GMT+3` is three hours behind Greenwich: the sign is POSIX's. */
export function zoneWhereItIs(hour) {
  const ahead = (hour - new Date().getUTCHours() + 24) % 24;
  return ahead <= 12 ? `Etc/GMT${ahead ? `-${ahead}` : ''}` : `Etc/GMT+${24 - ahead}`;
}

/**
 * Starts all of it.
 * @param {object} options
 * @param {string} options.folder         the story's rules and templates
 * @param {string[]} [options.slack]      names of destinations that are channels
 * @param {string[]} [options.webhooks]   … that take signed webhooks
 * @param {string[]} [options.texts]      … that send texts as Twilio does
 * @param {string[]} [options.mail]       … that are mail servers; they want `.build/smtp` (`make .build/smtp`)
 * @param {Record<string, (text: string) => string>} [options.edit]  what is changed in a copy of a rule file, by its name
 */
export async function stage({ folder, slack = [], webhooks = [], texts = [], mail = [], edit = {} }) {
  if (!existsSync(BINARY)) throw new Error(`${BINARY} is missing: run \`make build\`, or set HEADWATER`);
  const dir = mkdtempSync(join(tmpdir(), 'headwater-story-'));
  const play = join(dir, 'rules');
  cpSync(folder, play, { recursive: true, filter: (path) => !/\.m?js$|README\.md$/.test(path) });
  for (const [name, change] of Object.entries(edit)) {
    const text = readFileSync(join(play, name), 'utf8');
    const changed = change(text);
    if (changed === text) throw new Error(`${name} has nothing to change`);
    writeFileSync(join(play, name), changed);
  }

  const received = []; // { kind, name, at, … }: everything, in the order in which it came
  const webhook = new Webhook(SECRET);
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const at = performance.now();
    const body = Buffer.concat(chunks).toString('utf8');
    const [, kind, name] = request.url.split('/');
    if (kind === 'slack') {
      received.push({ kind, name, at, message: JSON.parse(body), text: textOf(JSON.parse(body)) });
      response.end('ok'); // as Slack's incoming webhooks answer
    } else if (kind === 'webhook') {
      let event;
      try {
        event = webhook.verify(body, request.headers);
      } catch {
        return void response.writeHead(401).end();
      }
      received.push({ kind, name, at, id: request.headers['webhook-id'], event });
      response.writeHead(204).end();
    } else if (kind === 'sms' && request.url.endsWith(`/2010-04-01/Accounts/${ACCOUNT}/Messages.json`)) {
      const login = `Basic ${Buffer.from(`${ACCOUNT}:twilio`).toString('base64')}`;
      if (request.headers.authorization !== login) return void response.writeHead(401).end('{"code":20003}');
      const form = new URLSearchParams(body);
      received.push({ kind, name, at, to: form.get('To'), text: form.get('Body') });
      const sid = `SM${String(received.length).padStart(32, '0')}`;
      response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify({ sid, status: 'queued' }));
    } else {
      response.writeHead(404).end();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const base = `http://127.0.0.1:${server.address().port}`;

  let python = null;
  let port = null;
  if (mail.length > 0) {
    if (!existsSync(PYTHON)) throw new Error(`${PYTHON} is missing: run \`make .build/smtp\``);
    python = spawn(PYTHON, [here('mail_server.py')], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: python.stdout });
    port = await new Promise((found, failed) => {
      python.once('error', failed);
      python.once('exit', () => failed(new Error('the mail server ended')));
      lines.on('line', (line) => {
        const said = JSON.parse(line);
        if (said.port) return found(said.port);
        received.push({ kind: 'mail', at: performance.now(), ...said });
      });
    });
  }

  const destinations = [
    ...slack.map((name) => `[destinations.${name}]\nkind = "slack"\nwebhook_url = "${base}/slack/${name}"\nallow_private = true\n`),
    ...webhooks.map((name) => `[destinations.${name}]\nkind = "webhook"\nurl = "${base}/webhook/${name}"\nsecret = "${SECRET}"\nallow_private = true\n`),
    ...texts.map((name) => `[destinations.${name}]\nkind = "sms"\napi_url = "${base}/sms/${name}"\naccount_sid = "${ACCOUNT}"\nauth_token = "twilio"\nfrom = "+15005550006"\nallow_private = true\n`),
    ...mail.map((name) => `[destinations.${name}]\nkind = "email"\nhost = "127.0.0.1"\nport = ${port}\ntls = "none"\nfrom = "Shop <hello@shop.example>"\nunsubscribe = "https://shop.example/u/{{ person.id }}"\n`),
  ];
  let token = null;
  const collector = createCollector({
    binary: BINARY,
    config: join(dir, 'headwater.toml'),
    toml: (listen) => `listen = "${listen}"\ndata = ${JSON.stringify(join(dir, 'data'))}\nrules = ${JSON.stringify(play)}
[sources.web]\nwrite_key = "${KEYS.web}"\n[sources.backend]\nwrite_key = "${KEYS.backend}"\ntrust = "server"\n${destinations.join('')}`,
    port: 0,
    logFile: join(dir, 'collector.log'),
    onChange: () => {},
    onAdminToken: (found) => { token = found; },
  });

  async function end() {
    await collector.stop();
    python?.removeAllListeners('exit');
    python?.stdin.end();
    server.close();
    server.closeAllConnections();
    rmSync(dir, { recursive: true, force: true });
  }

  let sent = 0;
  const complete = (event) => ({ messageId: `m-${++sent}`, type: 'track', ...event });

  async function ask(path, init) {
    const response = await fetch(`${collector.url()}${path}`, init);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** Sends events through a source, `web` or `backend`; the moment at which they were sent. */
  async function send(source, ...events) {
    const at = performance.now();
    await ask('/v1/batch', { method: 'POST', body: JSON.stringify({ writeKey: KEYS[source], batch: events.map(complete) }) });
    return at;
  }

  /** A page that is open, as the browser SDK listens: `next()` waits for what it is told, `heard()` is all of it. */
  function listen(anonymousId) {
    const heard = new Map();
    const ask = async (waitMs) => {
      const listener = { writeKey: KEYS.web, anonymousId, token: `token-of-${anonymousId}`.padEnd(22, '-'), waitMs };
      const response = await fetch(`${collector.url()}/v1/messages`, { method: 'POST', body: JSON.stringify(listener) });
      const { messages } = await response.json();
      for (const message of messages) if (!heard.has(message.id)) heard.set(message.id, { ...message, heardAt: performance.now() });
      return [...heard.values()];
    };
    return { next: () => ask(PATIENCE_MS), heard: () => ask(0) };
  }

  /** Asks for a decision about an event: the answer, its status, and how long it took. */
  async function decide(source, event, deadlineMs = 2000) {
    const at = performance.now();
    const response = await fetch(`${collector.url()}/v1/decide?deadline_ms=${deadlineMs}`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${KEYS[source]}:`).toString('base64')}`, 'content-type': 'application/json' },
      body: JSON.stringify(complete(event)),
    });
    const answer = await response.json();
    return { at, status: response.status, answer, tookMs: performance.now() - at };
  }

  /** The firings of a rule, of somebody, the latest first. */
  async function firings(query = {}) {
    const path = `/v1/firings?${new URLSearchParams({ limit: 100, ...query })}`;
    return (await ask(path, { headers: { authorization: `Bearer ${token}` } })).firings;
  }

  /** What is known of somebody. */
  const person = (who) => ask(`/v1/people/${encodeURIComponent(who)}`, { headers: { authorization: `Bearer ${token}` } });

  /** Puts an address on the suppression list. */
  const suppress = (reason, address) => ask('/v1/suppressions/add', {
    method: 'POST', headers: { authorization: `Bearer ${token}` }, body: JSON.stringify({ suppressions: [{ address, reason }] }),
  });

  async function until(what, look) {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = await look();
      if (found) return found;
      if (performance.now() > deadline) {
        const came = received.map((it) => `  ${it.kind} ${it.name ?? ''} ${it.text ?? it.subject ?? it.event?.rule ?? ''}`).join('\n');
        throw new Error(`waited in vain for ${what}; what came:\n${came}`);
      }
      await new Promise((tick) => setTimeout(tick, 5));
    }
  }

  /** Waits for something to be received. */
  const comes = (what, fits) => until(what, () => received.find(fits));

  try {
    await collector.start();
  } catch (error) {
    await end();
    throw error;
  }
  return { received, send, listen, decide, firings, person, suppress, until, comes, ask, end, token: () => token };
}

/** All texts of a Slack message, one a line. */
function textOf(message) {
  const texts = [];
  const gather = (value, key) => {
    if (typeof value === 'string' && (key === 'text' || key === 'alt_text')) texts.push(value);
    else if (value && typeof value === 'object') for (const [name, inner] of Object.entries(value)) gather(inner, name);
  };
  gather(message);
  return texts.join('\n');
}

/** Milliseconds, to be read. */
export const ms = (time) => `${Math.round(time)} ms`;

/** Plays a story if its file is the program: exit code 1 if it does not come out. */
export function main(url, play) {
  if (process.argv[1] && resolve(process.argv[1]) === fileURLToPath(url)) {
    play(console.log).then(
      () => console.log('\nThe story came out.'),
      (error) => { console.error(`\n${error.stack}`); process.exitCode = 1; },
    );
  }
}
