// The list of firings with its filters, which the address keeps, and bars that can be compared from one entry to the next.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event, until } from './console.mjs';
import { leaving, order, quiet, withRules } from './rules.mjs';

const rows = (page) => page.locator('.firing .title').evaluateAll((all) => all.map((one) => one.innerText.replace(/\s+/g, ' ').trim()));

async function filter(page, fields) {
  for (const [label, text] of Object.entries(fields)) {
    await (label === 'Rule' ? page.locator('select[name="rule"]').selectOption({ label: text }) : page.getByLabel(label, { exact: true }).fill(text));
  }
  await page.getByRole('button', { name: 'Filter' }).click();
}

test('firings are filtered by rule, person and account, by an address of one form, and followed', async () => {
  await withRules(async (desk) => {
    await quiet(desk, 'acme', 'Acme Tools', 'u-1', 'Ann Miller', 11);
    await quiet(desk, 'globex', 'Globex', 'u-2', 'Ann Smith', 11);
    for (const [account, user] of [['acme', 'u-1'], ['globex', 'u-2']]) {
      await leaving(desk, account, user);
      await order(desk, user, 2000);
    }
    const { id } = await desk.person('u-1', (profile) => profile.events >= 5);
    await desk.person('u-2', (profile) => profile.events >= 5);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/firings`);
    await until('all to be listed', async () => (await rows(page)).length === 6);
    await page.getByText('6 firings, all there are.').waitFor();

    await filter(page, { Rule: 'Large order' });
    await page.waitForURL(`${desk.url}/console/firings?rule=large_order`);
    assert.deepEqual(await rows(page), ['Ann Smith', 'Ann Miller']);
    await page.getByText('2 firings, all there are.').waitFor();
    assert.equal(await page.locator('select[name="rule"]').inputValue(), 'large_order', 'the form says what is listed');

    // By a name that two have: who asks chooses, and the rule stays.
    await filter(page, { Person: 'ann' });
    await page.getByRole('heading', { name: '2 fit “ann”. Which one?' }).waitFor();
    assert.equal(await page.locator('.firing').count(), 0, 'nobody’s are shown before');
    await page.locator('.choices li', { hasText: 'Acme Tools' }).getByRole('link').click();
    await page.waitForURL(`${desk.url}/console/firings?rule=large_order&who=${id}`);
    await page.getByRole('heading', { level: 1, name: 'Firings: Large order, Ann Miller' }).waitFor();
    assert.equal(await page.locator('.firing').count(), 1);

    // It follows what it lists, and nothing else.
    await page.waitForSelector('.pulse[data-state="on"]');
    await order(desk, 'u-2', 3000);
    await order(desk, 'u-1', 3000);
    await page.getByText('2 firings, all there are.').waitFor();
    assert.equal(await page.locator('.firing').count(), 2);
    assert.equal(await page.locator('#said').innerText(), 'Large order fired for Ann Miller');

    // Each part can be left out again.
    await page.getByRole('link', { name: 'Anybody' }).click();
    await page.waitForURL(`${desk.url}/console/firings?rule=large_order`);
    await filter(page, { Rule: 'all', 'or account': 'acme to' });
    await page.waitForURL(`${desk.url}/console/firings?account=acme`);
    assert.deepEqual(await rows(page), ['Churn by Ann Miller']);
    await page.getByRole('link', { name: 'All firings' }).click();
    await page.waitForURL(`${desk.url}/console/firings`);
    assert.equal(await page.locator('.firing').count(), 10);
    desk.isFaultless();
  });
});

test('a filter that cannot be meant is said, with the form as it was, and a long list says what is shown of it', async () => {
  await withRules(async (desk) => {
    await desk.send('wk_support', event('identify', 1, { userId: 'u-2', traits: { name: 'A colleague' } }));
    for (let i = 0; i < 31; i += 1) await order(desk, 'u-2', 20);
    await desk.person('u-2', (profile) => profile.events >= 32);
    const page = await desk.signedIn({ javaScriptEnabled: false });
    for (const [query, status, said] of [
      ['who=u-2&account=acme', 400, 'Firings are looked for by a person or by an account: leave one of them empty.'],
      ['rul=churn', 400, 'There is no filter “rul”: there are “rule”, “who” and “account”.'],
      ['rule=churn&rule=large_order', 400, '“rule” is there twice: give it once.'],
      ['before=<b>', 400, '“<b>” is no place in this list'],
      ['rule=none', 404, 'There is no rule “none”, and none of this name has fired.'],
      ['who=zed', 404, '“zed”: nobody’s name, e-mail or id begins with this.'],
      ['account=zed', 404, '“zed”: no account’s name or id begins with this.'],
    ]) {
      const answer = await page.goto(`${desk.url}/console/firings?${query}`);
      assert.equal(answer.status(), status, query);
      assert.equal(answer.headers()['content-security-policy'].includes("script-src 'self'"), true);
      await page.getByText(said).waitFor();
      assert.equal(await page.locator('.firing').count(), 0, query);
    }
    await page.goto(`${desk.url}/console/firings?who=u-2&account=acme`);
    assert.deepEqual([await page.getByLabel('Person', { exact: true }).inputValue(), await page.getByLabel('or account').inputValue()], ['u-2', 'acme']);
    assert.equal((await page.goto(`${desk.url}/console/firings?rule=churn`)).status(), 200);
    await page.getByText('It has not fired yet.').waitFor();

    await page.goto(`${desk.url}/console/firings?rule=second_look`);
    await page.getByText('The latest 30 firings; there are older ones.').waitFor();
    await page.getByRole('link', { name: 'Older' }).click();
    await page.getByText('1 firing further back, the oldest there are.').waitFor();
    assert.equal(await page.locator('select[name="rule"]').inputValue(), 'second_look', 'the filter stays');
    desk.isFaultless();
  });
});

test('a bar is as long in one entry as in the next for the same number', async () => {
  await withRules(async (desk) => {
    await quiet(desk, 'acme', 'Acme Tools', 'u-1', 'A shopper', 11);
    await leaving(desk, 'acme', 'u-1');
    // The gap closes: what is left of the score is far less.
    await desk.send('wk_support', event('track', 0, { userId: 'u-1', event: 'Report Built', context: { groupId: 'acme' } }));
    await desk.person('u-1', (profile) => profile.events >= 5);
    const page = await desk.signedIn();
    const bars = (entries) => page.locator(entries).evaluateAll((all) => all.map((entry) => Object.fromEntries([...entry.querySelectorAll('.terms li')].map((term) => {
      const { x, width } = term.querySelector('.bar .share');
      return [`${term.querySelector('.term').textContent} ${term.querySelector('.brings').textContent}`, [x.baseVal.value, width.baseVal.value]];
    }))));
    for (const [path, entries] of [['rules/churn/why?who=acme', '.looked > li'], ['accounts/acme', '.measured']]) {
      await until(`${path} to have two entries`, async () => {
        await page.goto(`${desk.url}/console/${path}`);
        return (await bars(entries)).length >= 2;
      });
      const all = await bars(entries);
      const drawn = all.map((one) => one['Cancel page +0.5']).filter(Boolean);
      assert.ok(drawn.length >= 2, JSON.stringify(all));
      for (const one of drawn) assert.deepEqual(one, drawn[0], path);
      const gaps = all.map((one) => one['Core gap +0.5']).filter(Boolean);
      assert.deepEqual(gaps[0], drawn[0], 'another term of as much');
      const ends = await page.locator('.ends').evaluateAll((all) => all.map((one) => one.textContent.trim().replace(/\s+/g, ' ')));
      assert.ok(ends.length >= 2 && ends.every((text) => text === '−0.1 1'), ends.join(' | '));
    }
    desk.isFaultless();
  });
});

test('an account whose id begins like another one’s, or ends with a space, is not taken for it', async () => {
  await withRules(async (desk) => {
    await quiet(desk, 'acme', 'Plain Acme', 'u-1', 'Ann Miller', 11);
    await quiet(desk, 'acme ', 'Spaced Acme', 'u-2', 'Ben Smith', 11);
    for (const [account, user] of [['acme', 'u-1'], ['acme ', 'u-2']]) {
      await leaving(desk, account, user);
      await desk.person(user, (profile) => profile.events >= 4);
    }
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/firings?account=acme%20`);
    await page.getByRole('heading', { level: 1, name: 'Firings: Spaced Acme' }).waitFor();
    await until('its firing', async () => (await rows(page)).length === 1);
    assert.deepEqual(await rows(page), ['Churn by Ben Smith']);
    await page.goto(`${desk.url}/console/rules/churn/why?who=acme%20`);
    await page.getByRole('heading', { level: 1, name: /for Spaced Acme/ }).waitFor();
    await page.goto(`${desk.url}/console/firings?account=acme`);
    await page.getByRole('heading', { level: 1, name: 'Firings: Plain Acme' }).waitFor();
    // Where it is the only one there is, too.
    await quiet(desk, 'only ', 'Only One', 'u-3', 'Cleo Jones', 11);
    await desk.person('u-3', (profile) => profile.events >= 1);
    for (const [address, status] of [['firings?account=only%20', 200], ['firings?account=only', 200], ['rules/churn/why?who=only', 200],
      ['rules/churn/why?who=only%20', 200], ['rules/churn/why?who=only&who=acme', 400], ['rules/churn/why?x=1', 400]]) {
      assert.equal((await page.goto(`${desk.url}/console/${address}`)).status(), status, address);
    }
  });
});
