// The success team hears of an account that is about to leave, with the reasons and with something to say.
// On the wall clock, with a real collector and real receiving ends; `../rules.test.mjs` runs the fixtures, on virtual time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { play } from './play.mjs';

test('two accounts, each told once, for reasons of its own', { timeout: 60_000 }, async () => {
  const { quiet, firings, received } = await play(() => {});
  assert.deepEqual(quiet, [], 'before anyone looks for the way out there is nothing to say');
  assert.equal(received.length, 2);
  const [acme, globex] = received.map(({ text }) => text);
  for (const [text, name] of [[acme, 'Acme'], [globex, 'Globex']]) {
    assert.match(text, new RegExp(`^${name} is about to leave$`, 'm'));
    assert.match(text, /plan Team · 2 people/);
    assert.match(text, new RegExp(`Main user of ${name}`));
    assert.match(text, /What to say: .*fifteen minutes/s);
    assert.match(text, /core feature unused \+0.25/);
    assert.match(text, /pricing and cancellation seen \+0.25/);
  }
  assert.match(acme, /risk 75 %/);
  assert.match(acme, /three short logins \+0.25/);
  assert.doesNotMatch(acme, /not opened|private address/);
  assert.match(globex, /risk 90 %/);
  assert.match(globex, /emails not opened \+0.15/);
  assert.match(globex, /main user took a private address \+0.25/);
  assert.doesNotMatch(globex, /short logins/);
  assert.deepEqual(firings.map(({ rule, account }) => `${rule} of ${account}`).sort(), [
    'churn of acme', 'churn of globex', 'main_user_changes_address of globex',
  ]);
});
