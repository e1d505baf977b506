// A person's and an account's page lead to why of every rule that can be about them, fired or not.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event, until } from './console.mjs';
import { leaving, order, quiet, withRules } from './rules.mjs';

const asked = (page) => page.locator('.asked-of li').evaluateAll((all) => all.map((one) => one.innerText.replace(/\s+/g, ' ').trim()));

test('of every rule that can be about somebody it is asked why, also of one that did not fire', async () => {
  await withRules(async (desk) => {
    await quiet(desk, 'acme', 'Acme Tools', 'u-1', 'A shopper', 11);
    await desk.send('wk_support', event('identify', 1, { userId: 'u-2', traits: { name: 'A stranger' } }));
    await order(desk, 'u-1', 20);
    const { id } = await desk.person('u-1', (profile) => profile.events >= 4);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/people/${id}`);
    await page.waitForSelector('.pulse[data-state="on"]');
    await until('a firing to be told', async () => (await asked(page))[0].startsWith('Second look fired 1 time'));
    assert.deepEqual((await asked(page)).slice(1), ['Churn not fired, of the account', 'Large order not fired', 'Cart abandoned disabled']);
    // It follows.
    await order(desk, 'u-1', 5000);
    await until('another to be told', async () => (await asked(page)).some((text) => /^Large order fired 1 time, just now$/.test(text)));
    await leaving(desk, 'acme', 'u-1');
    await until('that of the account, too', async () => /^Churn fired 1 time, of the account, just now$/.test((await asked(page))[0]));

    // Of somebody without an account nothing is asked about accounts; and no script is needed.
    const plain = await desk.signedIn({ javaScriptEnabled: false });
    const stranger = await desk.person('u-2');
    await plain.goto(`${desk.url}/console/people/${stranger.id}`);
    assert.deepEqual(await asked(plain), ['Large order not fired', 'Second look not fired', 'Cart abandoned disabled']);
    await plain.locator('.asked-of').getByRole('link', { name: 'Large order' }).click();
    await plain.getByRole('heading', { level: 1, name: 'Large order: why, or why not, for A stranger' }).waitFor();
    await plain.getByText('It was never evaluated for them.').waitFor();

    // Of an account the rules about accounts alone.
    await quiet(desk, 'globex', 'Globex', 'u-3', 'An engineer', 1);
    await desk.person('u-3', (profile) => profile.accounts.length > 0);
    await plain.goto(`${desk.url}/console/accounts/globex`);
    assert.deepEqual(await asked(plain), ['Churn not fired']);
    await plain.goto(`${desk.url}/console/accounts/acme`);
    assert.match((await asked(plain))[0], /^Churn fired 1 time, /);
    await plain.locator('.asked-of').getByRole('link', { name: 'Churn' }).click();
    await plain.getByRole('heading', { level: 1, name: 'Churn: why, or why not, for Acme Tools' }).waitFor();
    desk.isFaultless();
  });
});
