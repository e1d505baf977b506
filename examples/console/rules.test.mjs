// A rule on the pages, from an event to who reads why: real Chromium, the real collector, a channel that takes its messages.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event, until } from './console.mjs';
import { leaving, order, quiet, withRules } from './rules.mjs';

test('a rule fires on an open page, says why, and is stopped and let go on', async () => {
  await withRules(async (desk, channel) => {
    await quiet(desk, 'acme', 'Acme Tools', 'u-1', 'A shopper', 11);
    const firings = await desk.signedIn();
    await firings.goto(`${desk.url}/console/firings`);
    await firings.getByText('No rule has fired yet.').waitFor();
    await firings.waitForSelector('.pulse[data-state="on"]');

    // It appears, and what becomes of its message too.
    await leaving(desk, 'acme', 'u-1');
    const row = firings.locator('.firing', { hasText: 'Churn' });
    await row.locator('.deed.accepted').waitFor();
    assert.match(await row.innerText(), /Churn for Acme Tools by A shopper\s+Churn risk 0\.9, above 0\.7, after Viewed Cancel/);
    assert.match(await row.locator('.deed').innerText(), /^✓ Slack message sent [\d.]+ (ms|s)$/);
    assert.equal(channel.told.length, 1);
    assert.equal(await firings.locator('#said').innerText(), 'Churn fired for Acme Tools');
    assert.equal(await row.locator('.measured').isVisible(), false, 'reasons are shown to who asks');
    await row.getByText('Why', { exact: false }).first().click();
    assert.deepEqual(await row.locator('.term').allInnerTexts(), ['Core gap', 'Cancel page', 'Paid lately']);
    assert.deepEqual(await row.locator('.brings').allInnerTexts(), ['+0.5', '+0.5', '−0.1']);
    // Bars to both sides of 0: what takes ends where what adds begins, and each is as long as its number says.
    const [gap, looks, paid] = await row.locator('.bar .share').evaluateAll((bars) => bars.map((bar) => ({ from: bar.x.baseVal.value, to: bar.x.baseVal.value + bar.width.baseVal.value })));
    assert.equal(paid.to, gap.from);
    assert.deepEqual(gap, looks);
    assert.ok(Math.abs((gap.to - gap.from) / (paid.to - paid.from) - 5) < 0.1);

    // Another one does not close what is read.
    await order(desk, 'u-1', 1500);
    await firings.locator('.firing', { hasText: 'Large order' }).locator('.deed.accepted').waitFor();
    assert.equal(await row.locator('.measured').isVisible(), true);

    // The rule, and the switch.
    const rule = await desk.signedIn();
    await rule.goto(`${desk.url}/console/firings`);
    await rule.locator('.firing', { hasText: 'Large order' }).getByRole('link', { name: 'Large order', exact: true }).click();
    await rule.getByRole('heading', { level: 1, name: 'Large order' }).waitFor();
    assert.deepEqual(await rule.locator('.standing').innerText(), 'on');
    await rule.getByRole('button', { name: 'Stop this rule' }).click();
    await rule.getByText('by first').waitFor();
    assert.deepEqual(await rule.locator('.standing').innerText(), 'stopped');
    await rule.waitForSelector('.pulse[data-state="on"]');
    const sent = channel.told.length;
    await order(desk, 'u-1', 1600);
    await rule.locator('.deed.pending').waitFor();
    const pending = rule.locator('.firing', { has: rule.locator('.deed.pending') });
    await pending.locator('summary').first().click();
    assert.match((await pending.locator('.facts').innerText()).replace(/\s+/g, ' '), /Slack message waiting: (?!waits)\S.*; of no use after /);
    await pending.locator('summary').first().click();
    assert.equal(channel.told.length, sent, 'nothing is sent while it is stopped');
    await rule.getByRole('button', { name: 'Resume' }).click();
    await rule.getByRole('button', { name: 'Stop this rule' }).waitFor();
    assert.deepEqual(await rule.locator('.standing').innerText(), 'on');
    await order(desk, 'u-1', 1700);
    await rule.locator('.firing:first-child .deed.accepted').waitFor();

    // All of them, each with what it waits for, under which condition, and what it does.
    await rule.goto(`${desk.url}/console/rules`);
    const told = async (name) => (await rule.locator('.rules > li', { hasText: name }).locator('.tells').innerText()).replace(/\s+/g, ' ');
    assert.equal(await told('Large order'), 'When Order Completed If Value is more than 1000 and orders is at least 0 Then Send a Slack message: order, via success');
    assert.equal(await told('Churn'), 'When The score churn risk rises above 0.7 (again only after falling below 0.5) Then Send a Slack message: churn, via success');
    assert.equal(await told('Cart abandoned'), 'When Product Added is not followed by Order Completed within 1 hour Then Emit the event Cart Abandoned');
    await rule.getByText('Stop all rules…').click();
    await rule.getByRole('button', { name: /^Stop all/ }).click();
    await rule.getByText('All rules are stopped').waitFor();
    assert.deepEqual(await rule.locator('.standing').allInnerTexts(), ['stopped', 'stopped', 'stopped\ndry run\nrollout 20 %', 'disabled']);
    await rule.getByRole('button', { name: 'Resume all rules' }).click();
    await rule.getByText('Stop all rules…').waitFor();

    // Why, and why not.
    await rule.goto(`${desk.url}/console/rules/large_order`);
    await order(desk, 'u-1', 20);
    await desk.person('u-1', (profile) => profile.events >= 8);
    await rule.getByLabel('Person').fill('u-1');
    await rule.getByRole('button', { name: 'Ask why' }).click();
    await rule.getByRole('heading', { level: 1, name: 'Large order: why, or why not, for A shopper' }).waitFor();
    const looked = rule.locator('.looked > li');
    assert.match(await looked.first().innerText(), /^Its conditions do not hold after Order Completed \(value: 20.*✕?.*not met Value is more than 1000/s);
    assert.match(await looked.nth(1).innerText(), /^It fired after Order Completed.*Slack message sent: .*Orders\s+2/s, 'with what came of it');

    assert.doesNotMatch(await rule.locator('main').innerText(), /UTC|GMT|\u0002/, 'every moment is in the reader’s own time');

    // Of a rule about accounts by the account's id, as its firings link to it.
    await rule.goto(`${desk.url}/console/firings?account=acme`);
    await rule.locator('.firing', { hasText: 'Churn' }).locator('summary').first().click();
    await rule.getByRole('link', { name: 'Every time this rule was evaluated for Acme Tools' }).click();
    await rule.getByRole('heading', { level: 1, name: 'Churn: why, or why not, for Acme Tools' }).waitFor();
    assert.match(await rule.locator('.looked > li.fired').innerText(), /^It fired after Viewed Cancel.*, of acme\s.*Slack message sent: .*Core gap/s);
    await rule.goto(`${desk.url}/console/rules/churn/why?who=nobody`);
    await rule.getByText('“nobody”: no account’s name or id begins with this, nor anybody’s name, e-mail or id.').waitFor();

    // The person's page, which follows.
    const { id } = await desk.person('u-1');
    await rule.goto(`${desk.url}/console/people/${id}`);
    await rule.waitForSelector('.pulse[data-state="on"]');
    const score = rule.locator('#signals .measured', { hasText: 'Loyalty' }).first();
    assert.deepEqual(await score.locator('.term').allInnerTexts(), ['Often', 'Much']);
    assert.equal(await rule.locator('#signals .firing').count(), 5, 'the latest, and a link to the rest');
    assert.equal(await score.locator('.brings').first().innerText(), '+1.6');
    // Orders of one minute are told apart: by their seconds, and to the millisecond by who points at one.
    const at = rule.locator('.event time').first();
    assert.match(await at.innerText(), /^\d+:\d\d:\d\d/);
    assert.match(await at.getAttribute('title'), /:\d\d\.\d{3}/);
    await order(desk, 'u-1', 30);
    await until('the score to follow', async () => await score.locator('.brings').first().innerText() === '+2');
    await rule.getByRole('link', { name: 'All firings' }).click();
    await rule.getByRole('heading', { level: 1, name: 'Firings: A shopper' }).waitFor();
    desk.isFaultless();
  });
});

test('a list goes on where a page ends, and a rule is switched by its own session only', async () => {
  await withRules(async (desk) => {
    await desk.send('wk_support', event('identify', 1, { userId: 'u-2', traits: { name: 'A colleague' } }));
    for (let i = 0; i < 17; i += 1) await order(desk, 'u-2', 2000 + i);
    const { id } = await desk.person('u-2', (profile) => profile.events >= 18);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/firings`);
    assert.equal(await page.locator('.firing').count(), 30);
    await page.getByRole('link', { name: 'Older' }).click();
    await page.getByRole('link', { name: 'Back to the latest' }).waitFor();
    assert.equal(await page.locator('.firing').count(), 4);
    assert.equal(await page.locator('.pulse').count(), 0, 'what is past is not followed');

    // Of somebody who is erased nothing stays on a page that is open.
    const open = await desk.signedIn();
    await open.goto(`${desk.url}/console/firings?who=u-2`);
    await open.waitForSelector('.pulse[data-state="on"]');
    const erased = await fetch(`${desk.url}/v1/people/${id}/erase`, {
      method: 'POST', headers: { authorization: `Bearer ${desk.token}`, 'content-type': 'application/json' }, body: JSON.stringify({ confirm: id }),
    });
    assert.equal(erased.status, 200, await erased.text());
    await open.getByText('Nobody is known by this any more.').waitFor();
    assert.equal(await open.locator('.firing').count(), 0);

    const status = await page.evaluate(async () => {
      const answer = await fetch('/console/rules/churn', { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'on=no&csrf=0' });
      return answer.status;
    });
    assert.equal(status, 403);
    await page.goto(`${desk.url}/console/rules/churn`);
    assert.equal(await page.locator('.standing').innerText(), 'on');
    assert.equal((await page.goto(`${desk.url}/console/rules/none`)).status(), 404);
    assert.equal((await page.goto(`${desk.url}/console/firings?before=x`)).status(), 400);
    desk.isFaultless();
  });
});

test('a rule tells what keeps it back, and what came of its tests', async () => {
  await withRules(async (desk) => {
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/rules/large_order`);
    const bounds = await page.locator('.bounds').innerText();
    assert.match(bounds, /^Limit\s+No limit\.\s+From\s+Any source\.\s+Late\s+.*recorded.*\s+Rollout\s+All people\.$/);
    assert.equal(await page.locator('.deeds-of p').innerText(),
      'Expires after 15 minutes. Cap on slack: at most 100 times in 7 days per person, all rules together.');
    // They are run for the first who asks.
    await until('the tests to be run', async () => {
      if (await page.locator('.tests li').count()) return true;
      await page.reload();
      return false;
    });
    assert.deepEqual(await page.locator('.tests .word').allInnerTexts(), ['passes', 'fails']);
    const failed = page.locator('.tests li').nth(1);
    assert.match(await failed.innerText(), /an order of ten is expected to be large\s+orders\.test\.toml:\d+\s+Did not fire: \{ rule = "large_order", user = "u-1" \}\nat 0s: its conditions do not hold\n\s*not met: event\.properties\.value > 1000 \(event\.properties\.value = 10\)$/);
    await page.goto(`${desk.url}/console/rules/second_look`);
    assert.match(await page.locator('.bounds').innerText(), /Rollout\s+20 % of all people, always the same ones\.\s+Dry run\s+Firings are recorded/);
    assert.equal(await page.locator('.tests li').count(), 2);
    await page.goto(`${desk.url}/console/rules/churn`);
    await page.getByText('No test expects this rule to fire.').waitFor();
    desk.isFaultless();
  });
});

test('what events say is shown as text on every page', async () => {
  await withRules(async (desk) => {
    const name = '<script>alert("in")</script><img src=x onerror=alert(1)>';
    const account = `"'><script>alert(2)</script>`;
    await quiet(desk, account, name, name, name, 11);
    await leaving(desk, account, name);
    await order(desk, name, 5000);
    const { id } = await desk.person(name, (profile) => profile.events >= 5);
    const page = await desk.signedIn();
    const own = encodeURIComponent(name);
    for (const path of [
      'firings', 'rules', 'rules/churn', `rules/churn/why?who=${own}`, `firings?who=${own}`, `firings?account=${encodeURIComponent(account)}`,
      `people/${id}`, `accounts/${encodeURIComponent(account)}`,
    ]) {
      await page.goto(`${desk.url}/console/${path}`);
      if (path !== 'rules') {
        await until(`${path} to show the name`, async () => (await page.locator('main').innerText()).includes(name));
      }
      assert.equal(await page.locator('main script, main img[src="x"]').count(), 0, path);
    }
    desk.isFaultless();
  });
});

test('the live page says what became of an action in words, and of whom', async () => {
  await withRules(async (desk) => {
    await order(desk, 'u-1', 1500);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/live`);
    const row = page.locator('.rows li', { hasText: 'Large order: Slack message sent' });
    await row.waitFor();
    assert.doesNotMatch(await page.innerText('.rows'), /Action Done|nobody/);
    assert.equal(await row.getByRole('link').getAttribute('href'), await page.locator('.rows li', { hasText: 'Order Completed' }).getByRole('link').getAttribute('href'));
    desk.isFaultless();
  });
});
