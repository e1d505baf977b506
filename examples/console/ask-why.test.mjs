// Who asks why a rule fired, or did not, names people as they know them: by a name, an address, an id, or by choosing.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event } from './console.mjs';
import { leaving, order, quiet, withRules } from './rules.mjs';

/** Two of one name, a third with an address, and an account of the first. */
async function three(desk) {
  await desk.send('wk_support',
    event('identify', 9, { userId: 'u-1', traits: { name: 'Ann Miller', email: 'ann@acme.example' } }),
    event('identify', 8, { userId: 'u-2', traits: { name: 'Ann Miller', email: 'miller@globex.example', city: 'Berlin' } }),
    event('identify', 7, { userId: 'u-3', traits: { name: 'Bob', email: 'bob@acme.example' } }),
    event('group', 6, { userId: 'u-1', groupId: 'acme', traits: { name: 'Acme Tools' } }),
    event('group', 6, { userId: 'u-3', groupId: 'acme' }));
  for (const who of ['u-1', 'u-2', 'u-3']) await order(desk, who, 20);
  await desk.person('u-3', (profile) => profile.events >= 3);
}

async function ask(page, label, text) {
  await page.getByLabel(label, { exact: true }).fill(text);
  await page.getByRole('button', { name: 'Ask why' }).click();
}

test('why is asked of somebody by a name, an address or an id, and of two of one name who asks chooses', async () => {
  await withRules(async (desk) => {
    await three(desk);
    const page = await desk.signedIn({ javaScriptEnabled: false });
    const heading = (name) => page.getByRole('heading', { level: 1, name: `Large order: why, or why not, for ${name}`, exact: true }).waitFor();
    const choices = page.locator('.choices li');
    await page.goto(`${desk.url}/console/rules/large_order`);
    await ask(page, 'Person', 'ann mil');
    await page.getByRole('heading', { level: 2, name: '2 fit “ann mil”. Which one?' }).waitFor();
    assert.equal(await page.getByLabel('Person', { exact: true }).inputValue(), 'ann mil', 'it can be made longer');
    const told = (await choices.allInnerTexts()).map((text) => text.replace(/\s+/g, ' '));
    assert.match(told[0], /Ann Miller u-1 · ann@acme\.example · Acme Tools .*\d/);
    assert.match(told[1], /Ann Miller u-2 · miller@globex\.example /);
    await choices.nth(1).getByRole('link').click();
    await heading('Ann Miller');
    assert.equal(await page.locator('.looked > li').count(), 1);
    const { id } = await desk.person('u-2');
    assert.ok(page.url().endsWith(`/console/rules/large_order/why?who=${id}`), page.url());

    // One who is meant alone is answered for, and the address says exactly whom.
    for (const text of ['bob', 'BOB@acme', 'email:bob@acme.example', 'u-3']) {
      await page.goto(`${desk.url}/console/rules/large_order`);
      await ask(page, 'Person', text);
      await heading('Bob');
    }
    await ask(page, 'Another person', 'berl');
    await heading('Ann Miller');

    // Of an account its people, where people are asked for.
    await ask(page, 'Another person', 'Acme T');
    await page.getByRole('heading', { name: '2 fit “Acme T”. Which one?' }).waitFor();
    assert.deepEqual((await choices.locator('strong').allInnerTexts()).sort(), ['Ann Miller', 'Bob']);
    await ask(page, 'Person', '<b>zed</b>');
    await page.getByText('“<b>zed</b>”: nobody’s name, e-mail or id begins with this.').waitFor();
    assert.equal(await page.locator('main b').count(), 0);
    desk.isFaultless();
  });
});

test('why is asked of an account by its name or by one of its people, and a list of many says that there are more', async () => {
  await withRules(async (desk) => {
    await quiet(desk, 'acme', 'Acme Tools', 'u-1', 'A shopper', 11);
    await leaving(desk, 'acme', 'u-1');
    for (let i = 10; i < 24; i += 1) await desk.send('wk_support', event('identify', 1, { userId: `many-${i}`, traits: { name: `Many ${i}` } }));
    await desk.person('many-23');
    const page = await desk.signedIn();
    const heading = (name) => page.getByRole('heading', { level: 1, name: `Churn: why, or why not, for ${name}`, exact: true }).waitFor();
    await page.goto(`${desk.url}/console/rules/churn`);
    await ask(page, 'Account', 'acme to');
    await heading('Acme Tools');
    assert.equal(await page.locator('.looked > li.fired').count(), 1);
    await ask(page, 'Another account', 'a sh');
    await heading('A shopper');
    assert.equal(await page.locator('.looked > li.fired').count(), 1, 'of an account of theirs');
    // Both begin like this: the account stands first.
    await ask(page, 'Another account', 'a');
    assert.deepEqual(await page.locator('.choices strong').allInnerTexts(), ['Acme Tools', 'A shopper']);
    await ask(page, 'Account', 'many');
    await page.getByRole('heading', { name: 'More than 12 fit “many”. Which one?' }).waitFor();
    assert.equal(await page.locator('.choices li').count(), 12);
    await page.getByText('There are more: type more of the name, the e-mail or the id.').waitFor();
    desk.isFaultless();
  });
});
