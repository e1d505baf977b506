// What an operator is given must be true: every metric is in the guide and the reverse, every rule and panel asks for
// metrics that a real collector has, every alert is tested and explained. Prometheus' own promtool reads the rules.
// It does not know what a metric means.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';

const BINARY = process.env.HEADWATER ?? new URL('../../target/debug/headwater', import.meta.url).pathname;
const PROMTOOL = process.env.PROMTOOL || 'promtool';
const PATIENCE_MS = 30_000;
const here = (name) => new URL(name, import.meta.url).pathname;
const read = (name) => readFileSync(here(name), 'utf8');

/** A collector whose every metric has a value: a device that lost a number, a destination that refuses, a
 * webhook that is forged, a rule. Its page. */
async function scrape(t) {
  assert.ok(existsSync(BINARY), `${BINARY} is missing: run \`make build\`, or set HEADWATER`);
  const data = mkdtempSync(join(tmpdir(), 'headwater-operations-'));
  const destination = createServer((request, response) => request.resume().on('end', () => response.writeHead(400).end()));
  destination.listen(0, '127.0.0.1');
  await once(destination, 'listening');
  const config = join(data, 'headwater.toml');
  const url = `http://127.0.0.1:${destination.address().port}/`;
  mkdirSync(join(data, 'rules'));
  writeFileSync(join(data, 'rules', 'a.toml'), '[rules.a]\non = "A"\nlimit = { times = 1, within = "1d" }\nthen = [{ emit = "B" }]\n[rules.b]\non = "D"\nfrom = "server"\ndecision = "review"\nthen = []\n');
  writeFileSync(config, `rules = "${join(data, 'rules')}"\n[sources.web]\nwrite_key = "k"\n[sources.shop]\nwrite_key = "s"\ntrust = "server"\n[consumers.crm]\nkind = "webhook"\nurl = "${url}"
secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDC2FVsBQIhrs="\nallow_private = true
[inbound.stripe]\nkind = "stripe"\nsecret = "whsec_0123456789abcdef"\n`);
  const args = ['serve', '--config', config, '--data', join(data, 'data'), '--listen', '127.0.0.1:0'];
  const collector = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, HEADWATER_LOG: 'error' } });
  const ended = once(collector, 'exit');
  t.after(async () => {
    collector.kill('SIGKILL');
    await ended;
    destination.close();
    rmSync(data, { recursive: true, force: true });
  });
  const gone = ended.then(() => assert.fail('the collector ended before it served'));
  const [line] = await Promise.race([once(createInterface({ input: collector.stdout }), 'line'), gone]);
  gone.catch(() => {}); // It ends at the end, too.
  const address = line.split(' ').at(-1);
  const numbered = (messageId, seq) => ({
    type: 'track', event: 'A', anonymousId: 'a', messageId, context: { headwater: { queue: 'q', seq } },
  });
  const batch = [numbered('1', 1), numbered('3', 3), { type: 'track' }];
  const answer = await fetch(`${address}/v1/batch`, { method: 'POST', body: JSON.stringify({ writeKey: 'k', batch }) });
  assert.equal(answer.status, 200);
  const forged = await fetch(`${address}/v1/in/stripe`, { method: 'POST', body: '{}' });
  assert.equal(forged.status, 401);
  const asked = { method: 'POST', headers: { authorization: `Basic ${btoa('s:')}` }, body: '{"event":"D","userId":"u","messageId":"d"}' };
  const decided = await (await fetch(`${address}/v1/decide?deadline_ms=2000`, asked)).json();
  assert.equal(decided.decision, 'review');
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const page = await (await fetch(`${address}/metrics`)).text();
    const parked = Number(page.match(/^headwater_parked_events\{consumer="crm"\} (\d+)$/m)?.[1] ?? 0);
    const isDone = /^headwater_actions_total\{[^}]*outcome="accepted"[^}]*\} [1-9]/m.test(page);
    if (parked >= 2 && isDone) return page;
    assert.ok(Date.now() < end, `the events were not parked, or the rule did nothing, in time:\n${page}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Names of samples, and of metrics as people say them, on a page. */
function names(page) {
  const samples = new Set(page.split('\n').filter((line) => line && !line.startsWith('#')).map((line) => line.split(/[{ ]/)[0]));
  const suffix = { counter: '_total', info: '_info' };
  const metrics = new Map([...page.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name + (suffix[type] ?? ''), name]));
  return { samples, metrics };
}

const asked = (expression) => expression.match(/\b(?:headwater|process)_[a-z0-9_]+/g) ?? [];

const rules = () => [...read('prometheus/alerts.yml').matchAll(/- alert: (\S+)\n\s+expr: ((?:.|\n)+?)\n\s+(?:for|labels):/g)]
  .map(([, alert, expression]) => ({ alert, expression }));

const panels = () => JSON.parse(read('grafana/headwater.json')).panels.filter(({ type }) => type !== 'row');

test('the guide, the rules and the dashboard speak of the metrics that there are', async (t) => {
  const page = await scrape(t);
  const { samples, metrics } = names(page);
  for (const [metric, name] of metrics) {
    assert.match(page, new RegExp(`^# HELP ${name} \\S`, 'm'), `${metric} has a help text`);
  }
  const documented = [...read('README.md').matchAll(/^\| `((?:headwater|process)_\w+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(documented.toSorted(), [...metrics.keys()].toSorted(), 'the table of the guide');

  assert.ok(rules().length > 10 && panels().length > 20);
  for (const { alert, expression } of rules()) {
    assert.ok(asked(expression).length > 0 || /^up\{/.test(expression), `${alert} asks for something`);
    for (const name of asked(expression)) assert.ok(samples.has(name), `${alert} asks for ${name}`);
  }
  for (const { title, targets } of panels()) {
    assert.ok(targets.length > 0, `${title} asks for something`);
    for (const { expr } of targets) {
      assert.ok(asked(expr).length > 0, title);
      for (const name of asked(expr)) assert.ok(samples.has(name), `panel "${title}" asks for ${name}`);
    }
  }
});

test('the dashboard has a row of rules, with all that they are measured by', () => {
  const { panels: all } = JSON.parse(read('grafana/headwater.json'));
  const row = all.findIndex(({ type, title }) => type === 'row' && title === 'Rules');
  const end = all.findIndex(({ type }, at) => type === 'row' && at > row);
  const shown = new Set(all.slice(row + 1, end).flatMap(({ targets }) => targets.flatMap(({ expr }) => asked(expr))));
  const documented = [...read('README.md').matchAll(/^\| `(headwater_(?:firings|actions?|rule|decisions?)_\w+)` \|/gm)].map(([, name]) => name);
  assert.ok(documented.length > 6);
  // That more is sent than may be is an alert, which pages.
  for (const name of documented.filter((it) => it !== 'headwater_action_ceiling_minutes_total')) {
    assert.ok(shown.has(name) || shown.has(`${name}_bucket`), `${name} is on the dashboard, under rules`);
  }
});

test('every alert is tested, and the guide says what to do', () => {
  const guide = read('README.md');
  const tests = read('prometheus/alerts.test.yml');
  for (const { alert } of rules()) {
    assert.match(guide, new RegExp(`^\\| \`${alert}\` \\| .{25}`, 'm'), `${alert} in the guide`);
    assert.match(tests, new RegExp(`alertname: ${alert}\\n\\s+exp_alerts:\\n\\s+- `), `${alert} is seen to fire`);
  }
  const explained = [...guide.matchAll(/^\| `(Headwater\w+)` \|/gm)].map(([, name]) => name);
  assert.deepEqual(explained, rules().map(({ alert }) => alert), 'in the same order, and no other');
});

function promtool(...args) {
  const { error, status, stdout, stderr } = spawnSync(PROMTOOL, args, { encoding: 'utf8' });
  assert.equal(error, undefined, `promtool is missing (apt-get install prometheus), or set PROMTOOL: ${error}`);
  assert.equal(status, 0, `promtool ${args.join(' ')}:\n${stdout}${stderr}`);
}

test('promtool reads the rules and finds that they fire when they should', () => {
  promtool('check', 'config', here('prometheus/prometheus.yml'));
  promtool('test', 'rules', here('prometheus/alerts.test.yml'));
});

test('promtool reads every query of the dashboard', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'headwater-dashboard-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const queries = panels().flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const replaced = queries.map((query) => query.replaceAll('$__rate_interval', '1m').replaceAll('$instance', '.*'));
  for (const query of replaced) assert.doesNotMatch(query, /\$/, 'a variable that the dashboard has not');
  const records = replaced.map((query, n) => `  - { record: "q:${n}", expr: ${JSON.stringify(query)} }`);
  const file = join(folder, 'queries.yml');
  writeFileSync(file, `groups:\n- name: q\n  rules:\n${records.join('\n')}\n`);
  promtool('check', 'rules', file);
});

test('the dashboard is one that Grafana takes', () => {
  const dashboard = JSON.parse(read('grafana/headwater.json'));
  assert.equal(typeof dashboard.title, 'string');
  assert.ok(dashboard.schemaVersion >= 36);
  const ids = dashboard.panels.map(({ id }) => id);
  assert.equal(new Set(ids).size, ids.length, 'ids differ');
  const variables = dashboard.templating.list.map(({ name }) => name);
  const taken = new Set();
  for (const { title, gridPos: { x, y, w, h }, targets = [], datasource } of dashboard.panels) {
    assert.ok(x >= 0 && x + w <= 24 && w > 0 && h > 0, `${title} is on the grid`);
    for (let column = x; column < x + w; column++) {
      for (let row = y; row < y + h; row++) {
        assert.ok(!taken.has(`${column} ${row}`), `${title} lies on another panel`);
        taken.add(`${column} ${row}`);
      }
    }
    for (const target of targets) {
      assert.deepEqual(target.datasource, datasource);
      assert.ok(variables.includes('datasource') && datasource.uid === '${datasource}');
    }
  }
});

test('systemd takes the unit', (t) => {
  const analyze = (...args) => spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  if (analyze('--version').error) return t.skip('no systemd here');
  const folder = mkdtempSync(join(tmpdir(), 'headwater-unit-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const unit = join(folder, 'headwater.service');
  // The commands must be there: as if it were installed.
  writeFileSync(unit, read('headwater.service').replaceAll('/usr/local/bin/headwater', BINARY));
  const { status, stderr } = analyze('verify', '--man=no', unit);
  assert.equal(stderr, '');
  assert.equal(status, 0);
});

test('the unit and the image call the collector as it wants to be called', () => {
  const { stdout: help, status } = spawnSync(BINARY, ['serve', '--help'], { encoding: 'utf8' });
  assert.equal(status, 0);
  const unit = read('headwater.service');
  const started = /^ExecStart=\/usr\/local\/bin\/headwater (.*)$/m.exec(unit)[1].split(' ');
  const checked = /^ExecReload=\/usr\/local\/bin\/headwater check (.*)$/m.exec(unit)[1];
  assert.equal(`serve ${checked}`, started.join(' '), 'what is checked is what is served');
  const image = JSON.parse(/^CMD (.*)$/m.exec(read('Dockerfile'))[1]);
  for (const [command, ...rest] of [started, image]) {
    assert.equal(command, 'serve');
    const flags = rest.filter((word) => word.startsWith('-'));
    assert.ok(flags.length > 0);
    for (const flag of flags) assert.match(help, new RegExp(`^\\s+${flag} `, 'm'), `${flag} is known`);
  }
  assert.match(read('Dockerfile'), /cargo build .*--no-default-features --target \S+-musl/, 'no C of another libc in it');
  // The collector's own limits: 4,096 connections, and 15 s to drain.
  assert.ok(Number(/^LimitNOFILE=(\d+)$/m.exec(unit)[1]) > 4096 + 100);
  assert.ok(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)[1]) > 15 + 5);
});
