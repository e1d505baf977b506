// A person on a page that stays open: found, followed, taken apart and put together again.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { event, fill, until, withConsole } from './console.mjs';

const PROMISED_MS = 100;
const GENEROUS_MS = 2000; // what is broken takes seconds or for ever; a debug build beside compilers took 250 ms
const ROUNDS = 15;

test('people are found as one types, and a page shows what happens while it happens', async () => {
  await withConsole(async (desk) => {
    const { id } = await fill(desk);
    const page = await desk.signedIn();
    // The search has the focus, once the page is drawn.
    await page.locator('#q:focus').waitFor();
    await page.keyboard.type('SHOP');
    await page.locator('#found a', { hasText: 'A shopper' }).waitFor();
    assert.equal(new URL(page.url()).searchParams.get('q'), 'SHOP', 'the address can be passed on');
    await page.fill('#q', 'acme');
    await page.locator('#found a', { hasText: 'Acme Tools' }).waitFor();
    await page.fill('#q', 'u-1042');
    await page.locator('#found a', { hasText: 'A shopper' }).click();
    await page.waitForURL(`${desk.url}/console/people/${id}`);
    await page.waitForSelector('.pulse[data-state="on"]');
    await page.getByRole('heading', { level: 1, name: 'A shopper' }).waitFor();
    assert.match(await page.innerText('[data-zone]'), /where they are \(America\/New_York\)/);

    const open = page.locator('.event', { hasText: 'Card Updated' }).locator('details');
    await open.locator('summary').click();
    assert.match(await open.locator('pre').innerText(), /"brand": "visa"/);

    const took = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const name = `Clicked ${round}`;
      const seen = page.evaluate((name) => new Promise((resolve) => {
        const look = () => [...document.querySelectorAll('.event .what')].some((what) => what.textContent === name) && (resolve(Date.now()), true);
        if (!look()) new MutationObserver((_, observer) => look() && observer.disconnect()).observe(document.body, { childList: true, subtree: true });
      }), name);
      await desk.send('wk_web', event('track', 0, { userId: 'u-1042', event: name }));
      const receipt = Date.now();
      took.push(Math.max(0, (await seen) - receipt));
    }
    took.sort((a, b) => a - b);
    const median = took[Math.floor(ROUNDS / 2)];
    console.log(`  from the receipt to the page: median ${median} ms, worst ${took.at(-1)} ms of ${ROUNDS} (promised: ${PROMISED_MS} ms)`);
    assert.ok(median <= GENEROUS_MS, `${median} ms`);
    assert.equal(await open.getAttribute('open'), '', 'what was opened stays open');
    assert.match(await page.innerText('#said'), /^Clicked \d+, web$/, 'who does not see the page is told');
    assert.match(await page.innerText('.chapter h3'), /^Web, \d+ minutes: Billing, Card Updated/);
    desk.isFaultless();
  });
});

test('an address that nothing is sent to says so where the person is known by it', async () => {
  await withConsole(async (desk) => {
    const { id } = await fill(desk);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/people/${id}`);
    const known = page.locator('.identifiers li', { hasText: 'shopper@example.com' });
    assert.equal((await known.innerText()).includes('suppression'), false);
    const suppressions = [{ address: 'Shopper@example.com', reason: 'bounced' }];
    const order = { method: 'POST', headers: { authorization: `Bearer ${desk.token}` }, body: JSON.stringify({ suppressions }) };
    assert.equal((await fetch(`${desk.url}/v1/suppressions/add`, order)).status, 200);
    // An open page hears of it with what the person does next.
    await desk.send('wk_web', event('track', 0, { userId: 'u-1042', event: 'Came Back' }));
    await known.getByText(/^On the suppression list: bounced, since \S/).waitFor();
    assert.equal(await page.locator('.identifiers', { hasText: 'On the suppression list' }).locator('time').count(), 1, 'no other is');
    desk.isFaultless();
  });
});

test('a timeline is filtered, paged, and read without scripts', async () => {
  await withConsole(async (desk) => {
    const { id } = await fill(desk);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/people/${id}`);
    await page.waitForSelector('.pulse[data-state="on"]');
    const followed = page.waitForResponse(/live\?source=payments/);
    await page.selectOption('select[name="source"]', 'payments');
    await followed;
    assert.match(page.url(), /source=payments/);
    assert.deepEqual(await page.locator('.event .what').allInnerTexts(), ['Payment Failed', 'Identified as u-1042']);
    await desk.send('wk_web', event('track', 0, { userId: 'u-1042', event: 'Of another source' }));
    await desk.send('wk_payments', event('track', 0, { userId: 'u-1042', event: 'Payment Succeeded' }));
    await page.locator('.event', { hasText: 'Payment Succeeded' }).waitFor();
    assert.equal(await page.locator('.event', { hasText: 'Of another source' }).count(), 0, 'the filter counts live too');

    const many = Array.from({ length: 60 }, (_, i) => event('track', 0, { userId: 'u-1042', event: `Step ${i}` }));
    await desk.send('wk_web', ...many);
    await desk.person(id, (profile) => profile.events >= 80);
    const plain = await desk.signedIn({ javaScriptEnabled: false });
    await plain.goto(`${desk.url}/console/people/${id}`);
    const seen = await plain.locator('.event').evaluateAll((events) => events.map((event) => event.id));
    await plain.getByRole('link', { name: 'Older' }).click();
    await plain.waitForURL(/before=/);
    seen.push(...(await plain.locator('.event').evaluateAll((events) => events.map((event) => event.id))));
    await plain.getByRole('link', { name: 'Older' }).click();
    await plain.getByRole('link', { name: 'Back to the latest' }).waitFor();
    await until('the last page', async () => (await plain.getByRole('link', { name: 'Older' }).count()) === 0);
    seen.push(...(await plain.locator('.event').evaluateAll((events) => events.map((event) => event.id))));
    assert.equal(new Set(seen).size, seen.length, 'no event on two pages');
    assert.equal(seen.length, (await desk.person(id)).events, 'and none on no page');
    await plain.fill('input[name="event"]', 'Ticket Opened');
    await plain.getByRole('button', { name: 'Filter' }).click();
    assert.deepEqual(await plain.locator('.event .what').allInnerTexts(), ['Ticket Opened']);
    await plain.fill('#find', 'colleague');
    await plain.press('#find', 'Enter');
    await plain.locator('#found a', { hasText: 'A colleague' }).waitFor();
    desk.isFaultless();
  });
});

test('a statement is taken back with a preview, and the undo makes one person of them again', async () => {
  await withConsole(async (desk) => {
    const { id } = await fill(desk);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/people/${id}`);
    const device = page.locator('.edges li', { hasText: 'anonymous:e2b04c33' });
    assert.match(await device.innerText(), /^accepted/);
    assert.equal(await page.locator('.graph svg path.accepted').count(), await page.locator('.edges li.accepted').count());
    await device.getByRole('link', { name: /Take back/ }).click();
    await page.getByRole('heading', { name: 'There would be 2 people' }).waitFor();
    assert.equal(await page.locator('.cards article').count(), 2);
    assert.ok((await desk.person('u-1042')).identifiers.some(({ value }) => value.startsWith('e2b04c33')), 'a preview changes nothing');
    await page.getByRole('button', { name: 'Take it back' }).click();
    await page.getByRole('status').getByText('Taken back').waitFor();
    assert.match(await page.locator('.edges li.retracted').innerText(), /^retracted/);
    assert.equal(await page.locator('.graph svg path.retracted').count(), 1);
    assert.equal(await page.locator('.graph svg text.word.retracted').count(), 1, 'a stroke has its word');
    const apart = await desk.person('u-1042');
    assert.ok(!apart.identifiers.some(({ value }) => value.startsWith('e2b04c33')));
    const lines = await page.locator('.event').count();

    await page.getByRole('link', { name: 'Undo…' }).click();
    await page.getByRole('heading', { name: 'There would be one person' }).waitFor();
    await page.getByRole('button', { name: 'Merge them' }).click();
    await page.getByRole('status').getByText('Merged').waitFor();
    const together = await desk.person('u-1042');
    assert.ok(together.identifiers.some(({ value }) => value.startsWith('e2b04c33')));
    assert.equal(together.id, id, 'the address stays');
    assert.ok((await page.locator('.event').count()) >= lines);
    desk.isFaultless();
  });
});

test('two people are merged after what would stay is shown side by side', async () => {
  await withConsole(async (desk) => {
    const { id } = await fill(desk);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/people/${id}`);
    await page.getByRole('link', { name: 'Merge with another person…' }).click();
    await page.fill('#q', 'colleague');
    await page.locator('#found a', { hasText: 'A colleague' }).click();
    const row = page.locator('tbody tr', { hasText: 'Name' });
    const cells = await row.locator('td').allInnerTexts();
    assert.deepEqual(cells.slice(0, 2), ['A shopper', 'A colleague']);
    assert.ok(cells.slice(0, 2).includes(cells[2]), 'one of the two stays');
    await page.getByRole('button', { name: 'Merge them' }).click();
    await page.getByRole('status').getByText('Merged').waitFor();
    assert.equal((await desk.person('u-2001')).id, (await desk.person('u-1042')).id);
    await page.goto(`${desk.url}/console/accounts/acme`);
    assert.equal(await page.locator('.profile .people li').count(), 1);
    assert.match(await page.innerText('.profile .people li'), /main user/);
    desk.isFaultless();
  });
});

test('the live view shows what comes in, and of whom', async () => {
  await withConsole(async (desk) => {
    const { id } = await fill(desk);
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/live`);
    await page.waitForSelector('.pulse[data-state="on"]');
    const before = await page.locator('#rows li').count();
    await desk.send('wk_payments', event('track', 0, { userId: 'u-1042', event: 'Refund Issued' }));
    const row = page.locator('#rows li').first();
    await row.getByText('Refund Issued').waitFor();
    assert.equal(await row.locator('a').getAttribute('href'), `/console/people/${id}`);
    assert.match(await row.innerText(), /payments/);
    assert.equal(await page.locator('#rows li').count(), before + 1);
    desk.isFaultless();
  });
});

test('the state is made anew from the log at a click, and the pages go on', async () => {
  await withConsole(async (desk) => {
    const { id } = await fill(desk);
    const page = await desk.signedIn();
    await page.getByText('Up to date with everything that is stored.').waitFor();
    await page.getByRole('button', { name: 'Make it anew from the log' }).click();
    await page.getByText('Up to date with everything that is stored.').waitFor();
    await page.locator('.people a', { hasText: 'A shopper' }).click();
    await page.waitForURL(`${desk.url}/console/people/${id}`);
    assert.equal(await page.locator('.event').count(), 19);
    desk.isFaultless();
  });
});
