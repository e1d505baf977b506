// The console for a test: a collector of its own, a shop's worth of events through its API, a browser that notes what must not be.
// Promises to end all of it, to wait on conditions, and that no page asked another host for anything. Knows no test.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { createCollector } from '../demo/collector.mjs';

const BINARY = process.env.HEADWATER ?? new URL('../../target/debug/headwater', import.meta.url).pathname;
const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

const STRIPE_SECRET = 'whsec_0123456789abcdef0123456789abcdef';
const ZENDESK_SECRET = 'dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==';
const mac = (secret, text) => createHmac('sha256', secret).update(text);

const toml = (folder) => (listen) => `listen = "${listen}"
data = "${folder}/data"
[sources.web]
write_key = "wk_web"
[sources.app]
write_key = "wk_app"
[sources.payments]
write_key = "wk_payments"
trust = "server"
[sources.support]
write_key = "wk_support"
trust = "server"
[inbound.stripe]
kind = "stripe"
secret = "${STRIPE_SECRET}"
[inbound.zendesk]
kind = "zendesk"
secret = "${ZENDESK_SECRET}"
`;

/** Starts a collector and a browser, calls `story` with them, and ends both. `first` and `last` are put around the configuration. */
export async function withConsole(story, { first = '', last = '' } = {}) {
  for (const [path, advice] of [[BINARY, 'run `make build`, or set HEADWATER'], [CHROMIUM, 'install Chromium, or set CHROMIUM']]) {
    assert.ok(existsSync(path), `${path} is missing: ${advice}`);
  }
  const folder = mkdtempSync(join(tmpdir(), 'headwater-console-'));
  let token = '';
  const collector = createCollector({
    binary: BINARY, config: join(folder, 'headwater.toml'), toml: (listen) => first + toml(folder)(listen) + last, port: 0, logFile: join(folder, 'collector.log'),
    onChange: () => {}, onAdminToken: (printed) => { token = printed; },
  });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  try {
    await collector.start();
    await story(new Console(collector.url(), token, browser, `${folder}/data`));
  } finally {
    await browser.close();
    await collector.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

class Console {
  /** What pages did that they must not: asked elsewhere, broke the policy, threw. */
  faults = [];

  constructor(url, token, browser, data) {
    Object.assign(this, { url, token, browser, data });
  }

  /** What `headwater` prints, asked with these words and the data folder. */
  command(...words) {
    return execFileSync(BINARY, [...words, this.data], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  }

  /** A page in a browser without history; what it must not do is noted. */
  async page(options = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 860 }, timezoneId: 'Europe/Berlin', locale: 'en-GB', ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on('request', (request) => {
      if (!request.url().startsWith(this.url)) this.faults.push(`asked ${request.url()}`);
    });
    page.on('pageerror', (error) => this.faults.push(`threw ${error}`));
    page.on('dialog', (dialog) => {
      this.faults.push(`said ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('console', (message) => {
      if (/content security policy/i.test(message.text())) this.faults.push(message.text());
    });
    return page;
  }

  /** A page of someone who is signed in. */
  async signedIn(options = {}, token = this.token) {
    const page = await this.page(options);
    await page.goto(`${this.url}/console/sign-in`);
    await page.fill('#token', token);
    await Promise.all([page.waitForURL(`${this.url}/console`), page.click('main button')]);
    return page;
  }

  /** Sends a batch as the source of this key, and waits for its receipt. */
  async send(key, ...batch) {
    const answer = await fetch(`${this.url}/v1/batch?receipt=1`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${key}:`).toString('base64')}`, 'content-type': 'application/json' },
      body: JSON.stringify({ batch, sentAt: new Date().toISOString() }),
    });
    const receipt = await answer.json();
    assert.equal(receipt.accepted, batch.length, JSON.stringify(receipt));
  }

  /** Posts as Stripe does, signed; gives the answer. */
  async stripe(payload) {
    const [at, body] = [Math.floor(Date.now() / 1000), JSON.stringify(payload)];
    return this.delivered('stripe', body, { 'stripe-signature': `t=${at},v1=${mac(STRIPE_SECRET, `${at}.${body}`).digest('hex')}` });
  }

  /** Posts as Zendesk does, signed; gives the answer. */
  async zendesk(call, payload) {
    const [at, body] = [new Date().toISOString(), JSON.stringify(payload)];
    return this.delivered('zendesk', body, {
      'x-zendesk-webhook-invocation-id': call, 'x-zendesk-webhook-signature-timestamp': at,
      'x-zendesk-webhook-signature': mac(ZENDESK_SECRET, `${at}${body}`).digest('base64'),
    });
  }

  async delivered(to, body, headers) {
    const answer = await fetch(`${this.url}/v1/in/${to}`, { method: 'POST', headers, body });
    const said = await answer.json();
    assert.equal(said.accepted, 1, JSON.stringify(said));
  }

  /** What the API knows of somebody, once it knows anybody. */
  async person(who, isSo = () => true) {
    return until(`${who} to be known`, async () => {
      const answer = await fetch(`${this.url}/v1/people/${encodeURIComponent(who)}`, { headers: { authorization: `Bearer ${this.token}` } });
      const profile = answer.ok ? await answer.json() : null;
      return profile && isSo(profile) ? profile : null;
    });
  }

  /** Asserts that no page did anything it must not. */
  isFaultless() {
    assert.deepEqual(this.faults, []);
  }
}

/** Waits until `condition` gives something, and gives it. */
export async function until(what, condition, patienceMs = 20_000) {
  const end = Date.now() + patienceMs;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) assert.fail(`waited ${patienceMs} ms for ${what}`);
    await new Promise((next) => setTimeout(next, 20));
  }
}

let made = 0;

/** An event, some minutes ago. */
export function event(type, minutesAgo, more) {
  made += 1;
  const timestamp = new Date(Date.now() - minutesAgo * 60_000).toISOString();
  return { type, timestamp, messageId: `console-${made}-${process.pid}`, ...more };
}

const CONTEXT = { timezone: 'America/New_York', locale: 'en-US', os: { name: 'macOS' }, location: { country: 'US' } };

/** A shopper who comes by the web, signs in, pays, fails to pay, and asks for help; two colleagues; a stranger. */
export async function fill(desk) {
  const web = { anonymousId: '7c1f9a52-0b7e-4a51-9d0e-2f6f7b1f1a01', context: { ...CONTEXT, campaign: { name: 'autumn', source: 'newsletter' } } };
  const app = { anonymousId: 'e2b04c33-5d6e-4b0b-8f43-8a6f6f0d7b02', context: { ...CONTEXT, app: { version: '4.2.0' }, os: { name: 'iOS' } } };
  const known = { userId: 'u-1042' };
  await desk.send('wk_web',
    event('page', 2930, { ...web, name: 'Home', properties: { path: '/' } }),
    event('page', 2927, { ...web, name: 'Pricing', properties: { path: '/pricing' } }),
    event('track', 2925, { ...web, event: 'Plan Compared', properties: { left: 'team', right: 'business' } }),
    event('page', 2921, { ...web, name: 'Pricing', properties: { path: '/pricing' } }),
    event('page', 1502, { ...web, name: 'Pricing', properties: { path: '/pricing' } }),
    event('track', 1498, { ...web, event: 'Trial Started', properties: { plan: 'business', seats: 12 } }),
    event('identify', 1497, { ...web, ...known, traits: { name: 'A shopper', email: 'shopper@example.com', role: 'Head of operations', plan: 'trial', newsletter: true } }),
    event('group', 1496, { ...web, ...known, groupId: 'acme', traits: { name: 'Acme Tools', plan: 'business', seats: 12, industry: 'Hardware' } }),
    event('page', 1490, { ...web, ...known, name: 'Getting started', properties: { path: '/start' } }));
  await desk.send('wk_app',
    event('identify', 205, { ...app, ...known, traits: { email: 'shopper@example.com', phone: '+1 202 555 0123' } }),
    event('screen', 204, { ...app, ...known, name: 'Dashboard' }),
    event('track', 201, { ...app, ...known, event: 'Report Exported', properties: { format: 'csv', rows: 1840 } }));
  await desk.send('wk_payments',
    event('identify', 121, { ...known, traits: { email: 'shopper@example.com', plan: 'business' }, context: { externalIds: [{ id: 'cus_N42', type: 'stripe_customer_id', collection: 'users', encoding: 'none' }] } }),
    event('track', 120, { ...known, event: 'Payment Failed', properties: { amount: 348, currency: 'USD', reason: 'card_declined' } }));
  await desk.send('wk_support',
    event('identify', 110, { ...known, traits: { email: 'shopper@example.com' } }),
    event('track', 110, { ...known, event: 'Ticket Opened', properties: { subject: 'Why was my card declined?', priority: 'high' } }));
  await desk.send('wk_web',
    event('page', 14, { ...web, ...known, name: 'Billing', properties: { path: '/billing' } }),
    event('track', 9, { ...web, ...known, event: 'Card Updated', properties: { brand: 'visa' } }),
    event('track', 3, { ...web, ...known, event: 'Order Completed', properties: { value: 348, currency: 'USD', coupon: 'WELCOME' } }),
    event('identify', 900, { anonymousId: '11111111-2222-4333-8444-555555555501', userId: 'u-2001', traits: { name: 'A colleague', email: 'colleague@example.com', plan: 'business' } }),
    event('group', 899, { anonymousId: '11111111-2222-4333-8444-555555555501', userId: 'u-2001', groupId: 'acme' }),
    event('track', 880, { anonymousId: '11111111-2222-4333-8444-555555555501', userId: 'u-2001', event: 'Report Viewed', properties: { report: 'Stock' } }),
    event('page', 6, { anonymousId: 'b9d1c0aa-3333-4c3c-8d3d-777777777703', name: 'Home', properties: { path: '/' } }));
  return desk.person('u-1042', (profile) => profile.events >= 19);
}
