// What operators look at: how consumers stand, and the addresses that nothing is sent to. No more than the terminal shows.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { event, until, withConsole } from './console.mjs';

const post = async (desk, path, order) => {
  const answer = await fetch(desk.url + path, { method: 'POST', headers: { authorization: `Bearer ${desk.token}`, 'content-type': 'application/json' }, body: JSON.stringify(order) });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
};
const plain = (text) => text.replace(/\s+/g, ' ').trim();

test('each consumer says how far it is, how it stands and why, and the page follows', async () => {
  let status = 500;
  const receiver = createServer((request, answer) => {
    request.resume();
    request.on('end', () => answer.writeHead(status).end());
  });
  await new Promise((listening) => receiver.listen(0, '127.0.0.1', listening));
  const last = `[consumers.crm]
kind = "webhook"
url = "http://127.0.0.1:${receiver.address().port}/"
secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
allow_private = true
[consumers.reader]
kind = "pull"
`;
  try {
    await withConsole(async (desk) => {
      await desk.send('wk_web', event('page', 1, { userId: 'u-1', name: 'Home' }), event('page', 1, { userId: 'u-1', name: 'Home' }));
      await post(desk, '/v1/consumers/reader/pause', { reason: '<b>a move</b>' });
      const page = await desk.signedIn();
      await page.getByRole('navigation').getByRole('link', { name: 'Consumers' }).click();
      const [crm, reader] = [page.locator('#consumer-crm'), page.locator('#consumer-reader')];
      await until('the failing one to back off', async () => /backing off/.test(await crm.innerText()) || (await page.reload(), false));
      assert.match(plain(await crm.innerText()), /^crm webhook backing off Failed \d+ times? in a row, the last time: .*500.*\. Next attempt .*\. Behind 2 events, the oldest for [\d.]+ \w+ Cursor 0 of 2/);
      const told = plain(await reader.innerText());
      assert.match(told, /^reader pull paused Paused by the operator since .*: <b>a move<\/b>\. Behind 2 events/);
      assert.doesNotMatch(told, /UTC/, 'in the reader’s own time');
      assert.equal(await page.locator('main b').count(), 0);
      // The same as on the terminal.
      const listed = await (await fetch(`${desk.url}/v1/consumers`, { headers: { authorization: `Bearer ${desk.token}` } })).json();
      assert.deepEqual(listed.consumers.map((it) => it.state), ['backing_off', 'paused']);
      // It follows, without anybody’s doing.
      status = 200;
      await post(desk, '/v1/consumers/crm/resume', {});
      await crm.locator('.tag.on', { hasText: 'drained' }).waitFor();
      assert.match(plain(await crm.innerText()), /^crm webhook drained Behind nothing Cursor 2 of 2$/);
      desk.isFaultless();
    }, { last });
  } finally {
    receiver.closeAllConnections();
    receiver.close();
  }
});

test('a console without consumers says how to make one', async () => {
  await withConsole(async (desk) => {
    const page = await desk.signedIn();
    await page.goto(`${desk.url}/console/consumers`);
    await page.getByText('There are none.').waitFor();
    desk.isFaultless();
  });
});

test('the suppression list says whether an address is on it, why and since when, and shows a page of the rest', async () => {
  await withConsole(async (desk) => {
    const page = await desk.signedIn();
    await page.getByRole('navigation').getByRole('link', { name: 'Suppressions' }).click();
    await page.getByText('Nothing is on the list.').waitFor();
    const many = Array.from({ length: 52 }, (_, i) => ({ address: `a${i}@b.example`, reason: 'unsubscribed' }));
    await post(desk, '/v1/suppressions/add', { suppressions: many });
    await desk.send('wk_support', event('identify', 1, { userId: 'u-1', traits: { email: 'shopper@example.com' } }), event('identify', 1, { userId: 'u-2', traits: { email: 'gone@example.com' } }));
    const { id } = await desk.person('u-1', (profile) => profile.identifiers.length > 1);
    const gone = await desk.person('u-2', (profile) => profile.identifiers.length > 1);
    await post(desk, '/v1/suppressions/add', { suppressions: [{ address: 'gone@example.com' }, { address: 'Shopper@Example.com', reason: 'bounced' }, { address: '+491701234567', reason: 'unsubscribed' }] });
    await post(desk, `/v1/people/${gone.id}/erase`, { confirm: gone.id });

    await page.reload();
    await page.getByText('55 addresses', { exact: true }).waitFor();
    assert.equal(await page.locator('.suppressed li').count(), 50, 'as many as the terminal lists');
    await page.getByText('The latest 50 addresses; there may be older ones.').waitFor();
    const rows = (await page.locator('.suppressed li').allInnerTexts()).map(plain);
    assert.ok(rows.some((row) => /^shopper@example\.com bounced by first just now$/.test(row)), rows.slice(0, 4).join(' | '));
    assert.ok(rows.some((row) => /^of somebody who was erased manual by first/.test(row)));
    assert.doesNotMatch(rows.join(' '), /gone@/);
    await page.getByRole('link', { name: 'Older' }).click();
    await page.getByText('5 addresses further back, the oldest there are.').waitFor();
    await page.getByRole('link', { name: 'Back to the latest' }).click();
    await page.selectOption('select[name="reason"]', 'bounced');
    await page.getByRole('button', { name: 'Filter' }).click();
    await page.getByText('1 address for this reason.').waitFor();

    // One address, as it is written; also of somebody who was erased, as who asks knows it.
    const look = async (text) => {
      await page.getByLabel('Is this address on it?').fill(text);
      await page.getByRole('button', { name: 'Look' }).click();
      return plain(await page.locator('.notice, .problem').first().innerText());
    };
    assert.match(await look(' SHOPPER@example.com'), /^Nothing is sent to SHOPPER@example\.com: bounced, since .*, by first\. There is no such mailbox\./);
    assert.equal(await page.locator('.suppressed li').count(), 0, 'and nobody else’s');
    await page.getByRole('link', { name: 'Whose address is it?' }).click();
    await page.locator('#found a').first().waitFor();
    await page.goto(`${desk.url}/console/suppressions`);
    assert.match(await look('gone@example.com'), /^Nothing is sent to gone@example\.com: manual/);
    assert.equal(await look('someone@example.com'), 'someone@example.com is not on the list.');
    assert.match(await look('<b>x</b>'), /^“<b>x<\/b>” cannot be on the list: it is neither an e-mail address nor/);
    assert.equal(await page.locator('main b').count(), 0);
    for (const query of ['reason=x', 'before=x', 'adress=a@b.example', 'address=x']) {
      assert.equal((await page.goto(`${desk.url}/console/suppressions?${query}`)).status(), 400, query);
      assert.equal(await page.locator('.suppressed li').count(), 0, query);
    }
    // A person’s page leads to it.
    await page.goto(`${desk.url}/console/people/${id}`);
    await page.getByRole('link', { name: 'On the suppression list' }).click();
    await page.getByText('Nothing is sent to shopper@example.com').waitFor();
    desk.isFaultless();
  });
});
