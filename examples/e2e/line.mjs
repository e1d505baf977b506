// The whole line for a test: collector, receiver, shop and a browser, each real; and the questions that tests ask of them.
// Promises to end all of it, and to wait on conditions, never for a time to pass. It does not know what a test is about.

import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { startDemo } from '../demo/demo.mjs';

const BINARY = process.env.HEADWATER ?? new URL('../../target/debug/headwater', import.meta.url).pathname;
const CHROMIUM = process.env.CHROMIUM || '/usr/bin/chromium';
const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

/** Starts everything, calls `story` with it, and ends everything; with `rules`, a folder, they react. */
export async function withLine(story, { rules } = {}) {
  for (const [path, advice] of [[BINARY, 'run `make build`, or set HEADWATER'], [CHROMIUM, 'install Chromium, or set CHROMIUM']]) {
    assert.ok(existsSync(path), `${path} is missing: ${advice}`);
  }
  const data = mkdtempSync(join(tmpdir(), 'headwater-e2e-'));
  const demo = await startDemo({ binary: BINARY, data, port: 0, collectorPort: 0, receiverPort: 0, rules });
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
  try {
    await story(new Line(demo, browser, await browser.newContext()));
  } finally {
    await browser.close();
    await demo.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

class Line {
  constructor(demo, browser, context) {
    Object.assign(this, { demo, browser, context });
  }

  /** A new tab on a page of the shop, with the SDK loaded. */
  async tab(path = '') {
    const page = await this.context.newPage();
    await this.go(page, path);
    return page;
  }

  async go(page, path) {
    await page.goto(this.demo.shop + path);
    await loaded(page);
  }

  /** What the collector has stored, oldest first. */
  async log() {
    const lines = [];
    for (let after = ''; ;) {
      const answer = await fetch(`${this.demo.collector.url}/v1/events?limit=500${after && `&after=${after}`}`, {
        headers: { authorization: `Bearer ${this.demo.adminToken()}` },
      });
      assert.equal(answer.status, 200);
      const records = (await answer.text()).split('\n').filter(Boolean).map((line) => JSON.parse(line));
      if (records.length === 0) return lines;
      lines.push(...records);
      after = records.at(-1).offset;
    }
  }

  /** What the receiver was given: `received` counts each event once, `deliveries` holds them. */
  async received() {
    return (await fetch(`${this.demo.receiver.url}/deliveries.json`)).json();
  }

  /** Waits until each of these message ids is in the log and at the receiver; then asserts that the log has each once. */
  async arrived(ids) {
    assert.ok(ids.length > 0 && ids.every(Boolean), 'a test without ids proves nothing');
    assert.equal(new Set(ids).size, ids.length, 'the SDK gave an id twice');
    await until(`${ids.length} events at the receiver`, async () => {
      const there = new Set((await this.received()).deliveries.map((delivery) => delivery.event.messageId));
      return ids.every((id) => there.has(id)) || `${ids.filter((id) => !there.has(id)).length} are missing`;
    });
    const log = await this.log();
    const stored = log.map((record) => record.messageId);
    assert.deepEqual(ids.filter((id) => stored.filter((other) => other === id).length !== 1), [], 'not exactly once in the log');
    assert.equal(new Set(stored).size, stored.length, 'an event is in the log twice');
    const { received, rejected } = await this.received();
    assert.deepEqual({ received, rejected }, { received: log.length, rejected: 0 }, 'the receiver has exactly what the log has');
    return log;
  }

  /** Numbers of the device's queue that are missing, as the collector counts them. */
  async missing() {
    const text = await (await fetch(`${this.demo.collector.url}/metrics`)).text();
    return Number(/^headwater_sequence_gaps\{source="web"\} (\d+)/m.exec(text)?.[1] ?? NaN);
  }
}

/** Calls track n times, each call awaited only at the end, and gives the ids in the order of the calls. */
export const track = (page, n, about) =>
  page.evaluate(
    async ([n, about]) => {
      const calls = Array.from({ length: n }, (_, i) => window.headwater.track('Tested', { about, i }));
      const committed = await Promise.all(calls);
      if (!committed.every((call) => call.durable)) throw new Error('not durable');
      return committed.map((call) => call.messageId);
    },
    [n, about],
  );

/** Asserts that these events are in the log in this order. */
export function inOrder(log, ids) {
  const at = new Map(log.map((record, i) => [record.messageId, i]));
  const places = ids.map((id) => at.get(id));
  assert.deepEqual(places, places.toSorted((a, b) => a - b), 'out of order');
  assert.equal(new Set(ids.map((id) => log[at.get(id)].orderKey)).size, 1, 'one device, one order key');
}

/** Every call of the shop's own pages, as its ledger has them, in order. Those made before the script was there have no id. */
export const shopCalls = (page) =>
  page.evaluate(() =>
    Object.entries(localStorage)
      .filter(([key]) => key.startsWith('headwater-demo:'))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, call]) => JSON.parse(call)),
  );

export const loaded = (page) => page.waitForFunction(() => !Array.isArray(window.headwater) && window.headwater?.track);

/** Waits until `condition` returns true; anything else it returns is said when patience ends. */
export async function until(what, condition, patienceMs = 30_000) {
  const end = Date.now() + patienceMs;
  for (;;) {
    const found = await condition();
    if (found === true) return;
    if (Date.now() > end) assert.fail(`waited ${patienceMs} ms for ${what}: ${found}`);
    await new Promise((next) => setTimeout(next, 25));
  }
}
