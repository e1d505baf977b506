// The rules of these folders can be used and their fixtures come out, and the page that explains rules is true as far as a machine can
// tell: its rules and fixtures run, and it names every key there is.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { rules } from './stage.mjs';

const page = readFileSync(new URL('README.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/^```toml\n(.*?)^```$/gms)].map(([, text]) => text);

function folder(t, files) {
  const dir = mkdtempSync(join(tmpdir(), 'headwater-rules-'));
  t.after(() => rmSync(dir, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  return dir;
}

// Of the demo's rules too. How many there are is said here: a fixture that is not found fails nothing else.
const FIXTURES = { bank: 10, cart: 9, churn: 9, payment: 4, signals: 10, '../demo/rules': 5 };

for (const [name, count] of Object.entries(FIXTURES)) {
  test(`the rules of ${name} can be used, and their fixtures come out`, () => {
    const dir = new URL(name, import.meta.url).pathname;
    const checked = rules('check', dir);
    assert.equal(checked.status, 0, checked.text);
    const tested = rules('test', dir);
    assert.equal(tested.status, 0, tested.text);
    assert.match(tested.text, new RegExp(`^${count} ran, 0 failed$`, 'm'));
  });
}

test('its rules can be used and its fixture comes out', (t) => {
  const [written, once, , , fixture] = blocks;
  const dir = folder(t, { 'rules.toml': written, 'once.toml': once, 'rules.test.toml': fixture, 'churn.md': '**{{ account.name }}**' });
  for (const command of ['check', 'test']) {
    const { status, text } = rules(command, dir);
    assert.equal(status, 0, text);
  }
});

test('what it calls the first ever fires once', (t) => {
  const test = `[[test]]
name = "two cards"
events = [{ at = "0s", track = "Card Added", user = "u-1" }, { at = "1d", track = "Card Added", user = "u-1" }]
expect = [{ rule = "first_card", at = "0s" }]`;
  const { status, text } = rules('test', folder(t, { 'rules.toml': blocks[2], 'first.test.toml': test, 'first-card.txt': '+++\nsubject = "Hello"\n+++\nHello' }));
  assert.equal(status, 0, text);
  assert.match(text, /^1 ran, 0 failed$/m);
});

test('it names every key, every function’s home and every member that a rule file may have', (t) => {
  const rule = (text) => `[rules.x]\non = "A"\n${text}`;
  for (const [where, wrong] of Object.entries({
    'a file': 'nonsense = 1',
    'a feature': '[features.x]\nnonsense = 1',
    'a score': '[scores.x]\nnonsense = 1',
    'a rule': rule('nonsense = 1'),
    'an action': rule('then = [{ nonsense = 1 }]'),
    'without': rule('without = { nonsense = 1 }'),
    'a sequence': rule('sequence = { nonsense = 1 }'),
    'crosses': '[rules.x]\ncrosses = { nonsense = 1 }',
    'a limit': rule('limit = { nonsense = 1 }'),
    'a cap': '[caps.email]\nnonsense = 1',
    'quiet hours': '[quiet_hours]\nnonsense = 1',
    'person': rule('if = "person.nonsense"'),
    'an expression': rule('if = "nonsense"'),
  })) {
    const { status, text } = rules('check', folder(t, { 'rules.toml': wrong }));
    assert.notEqual(status, 0, where);
    const [, known] = /(?:expected|there is) (.*)/.exec(text) ?? assert.fail(`${where}: ${text}`);
    for (const [, key] of known.matchAll(/`(\w+)`/g)) assert.match(page, new RegExp(`\\b${key}\\b`), `${where}: \`${key}\``);
  }
});

test('it names every kind of destination, and in its rows every key that each may have', (t) => {
  const table = page.split('## Destinations')[1].split('\n## ')[0];
  const rows = new Map();
  let kind;
  for (const line of table.split('\n').filter((line) => line.startsWith('| `"') || line.startsWith('| |'))) {
    kind = /^\| `"(\w+)"`/.exec(line)?.[1] ?? kind;
    rows.set(kind, `${rows.get(kind) ?? ''}${line}\n`);
  }
  const known = (config) => {
    const dir = folder(t, { 'rules.toml': '[rules.x]\non = "A"\nthen = []' });
    const file = join(folder(t, { 'headwater.toml': `[destinations.x]\n${config}` }), 'headwater.toml');
    const { status, text } = rules('check', dir, '--config', file);
    assert.notEqual(status, 0, config);
    return [.../expected one of (.*)/.exec(text)[1].matchAll(/`(\w+)`/g)].map(([, key]) => key);
  };
  assert.deepEqual([...rows.keys()].toSorted(), known('kind = 1').toSorted());
  for (const [kind, text] of rows) {
    for (const key of known(`kind = "${kind}"\nnonsense = 1`)) {
      // Of a secret, the two other ways are said once.
      const name = key.replace(/_(file|env)$/, '');
      if (key !== 'kind') assert.match(text, new RegExp(`\`${name}(\`| =)`), `${kind}: ${key}`);
      if (name !== key) assert.match(text, new RegExp(`\`${name}\`\\*`), `${kind}: ${name} is marked as a secret`);
    }
  }
});
