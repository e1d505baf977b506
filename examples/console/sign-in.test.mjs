// Who gets in, and what gets through: tokens, sessions, forms of others, and texts that would be a script.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { event, until, withConsole } from './console.mjs';

test('only the holder of a token gets in, guessing is slow, and signing out ends it', async () => {
  await withConsole(async (desk) => {
    const page = await desk.page();
    await page.goto(`${desk.url}/console/people/u-1042?type=track`);
    assert.equal(new URL(page.url()).pathname, '/console/sign-in', 'nothing is shown to a stranger');
    await page.fill('#token', 'hw_admin_wrong');
    await page.click('main button');
    await page.getByRole('alert').getByText('This token is not known here').waitFor();
    assert.equal(await page.getAttribute('#token', 'aria-describedby'), 'problem');

    await page.fill('#token', desk.token);
    await page.click('main button');
    await page.waitForURL(`${desk.url}/console/people/u-1042?type=track`); // the page that was asked for
    const [cookie] = await page.context().cookies(`${desk.url}/console`);
    assert.deepEqual(
      { httpOnly: cookie.httpOnly, sameSite: cookie.sameSite, path: cookie.path, secure: cookie.secure },
      { httpOnly: true, sameSite: 'Strict', path: '/console', secure: false },
    );
    assert.ok(!cookie.value.includes(desk.token) && cookie.value.length >= 43);

    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL(`${desk.url}/console/sign-in`);
    const again = await fetch(`${desk.url}/console`, { headers: { cookie: `hw_console=${cookie.value}` }, redirect: 'manual' });
    assert.equal(again.status, 303, 'the session is gone, not only the cookie');

    const tries = [];
    for (let i = 0; i < 5; i += 1) tries.push((await signIn(desk, 'wrong')).status);
    assert.deepEqual(tries.slice(0, 3), [403, 403, 403]);
    assert.equal(tries.at(-1), 429);
    assert.equal((await signIn(desk, desk.token)).status, 429, 'nor does the right one get in meanwhile');
    desk.isFaultless();
  });
});

test('what changes something counts only in a form of this session', async () => {
  await withConsole(async (desk) => {
    const [one, other] = [await session(desk), await session(desk)];
    assert.notEqual(one.csrf, other.csrf);
    const post = (csrf, headers = {}) =>
      fetch(`${desk.url}/console/rebuild`, { method: 'POST', redirect: 'manual', headers: { cookie: one.cookie, ...headers }, body: new URLSearchParams({ csrf }) });
    assert.equal((await post(one.csrf)).status, 303);
    assert.equal((await post('')).status, 403);
    assert.equal((await post(other.csrf)).status, 403);
    assert.equal((await post(one.csrf, { 'sec-fetch-site': 'cross-site' })).status, 403);
    const stranger = await fetch(`${desk.url}/console/rebuild`, { method: 'POST', redirect: 'manual', body: new URLSearchParams({ csrf: one.csrf }) });
    assert.equal(stranger.headers.get('location'), '/console/sign-in?next=');
    const elsewhere = await signIn(desk, desk.token, '//evil.example/console');
    assert.equal(elsewhere.headers.get('location'), '/console', 'signing in leads to our own pages only');
  });
});

test('a revoked token ends its sessions, open pages and all', async () => {
  await withConsole(async (desk) => {
    const token = desk.command('token', 'add', 'sales').trim();
    const known = async () => (await signIn(desk, token)).status === 303;
    await until('the new token to count', known);
    const page = await desk.signedIn({}, token);
    await page.goto(`${desk.url}/console/live`);
    await page.waitForSelector('.pulse[data-state="on"]');
    desk.command('token', 'revoke', 'sales');
    await until('the token not to count any more', async () => !(await known()));
    await desk.send('wk_web', event('track', 0, { userId: 'u-1', event: 'Seen by nobody' }));
    await page.waitForSelector('.pulse[data-state="off"]');
    assert.equal(await page.getByText('Seen by nobody').count(), 0);
    await page.reload();
    assert.equal(new URL(page.url()).pathname, '/console/sign-in');
    desk.isFaultless();
  });
});

test('a link on another site leads to the page, and a stranger to the sign-in', async () => {
  await withConsole(async (desk) => {
    const elsewhere = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(`<a href="${desk.url}/console/live">the live view</a>`));
    await new Promise((listening) => elsewhere.listen(0, '127.0.0.1', listening));
    const from = `http://localhost:${elsewhere.address().port}/`; // another site than 127.0.0.1
    try {
      for (const page of [await desk.signedIn(), await desk.page()]) {
        const isSignedIn = page.url() === `${desk.url}/console`;
        await page.goto(from);
        await page.getByRole('link').click();
        await page.getByRole('heading', { level: 1, name: isSignedIn ? 'Coming in' : 'Sign in' }).waitFor();
      }
    } finally {
      await new Promise((closed) => elsewhere.close(closed).closeAllConnections());
    }
    assert.deepEqual(desk.faults.filter((fault) => !fault.startsWith(`asked ${from}`)), []);
  });
});

test('every answer has the policy, and nothing is kept by anyone on the way', async () => {
  await withConsole(async (desk) => {
    const { cookie } = await session(desk);
    for (const path of ['/console', '/console/live', '/console/sign-in', '/console/people/nobody', '/console/nothing']) {
      const { headers } = await fetch(desk.url + path, { headers: { cookie } });
      const policy = headers.get('content-security-policy');
      for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]) {
        assert.ok(policy.split('; ').includes(part), `${path}: ${part}`);
      }
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
      assert.equal(headers.get('cache-control'), 'no-store');
    }
  });
});

const BAD = '"><img src=x onerror=alert(1)><script>alert(2)</script><hx-partial hx-target="body">{{7*7}}';

test('what sounds like a script is shown as text, also where it comes in live', async () => {
  await withConsole(async (desk) => {
    const shopper = { userId: `u-${BAD}`, anonymousId: 'device-1' };
    const traits = { name: `A shopper ${BAD}`, [BAD]: BAD, 'line\r\rdata: <b>': 'a\r\rdata: <b>forged</b>\r\r', email: 'x@example.com' };
    await desk.send('wk_web', event('identify', 3, { ...shopper, traits }), event('group', 2, { ...shopper, groupId: `acme ${BAD}`, traits: { name: BAD } }));
    await desk.send('wk_web', event('track', 1, { ...shopper, event: BAD, properties: { [BAD]: BAD } }));
    const { id } = await desk.person('email:x@example.com', (profile) => profile.events === 3);
    const page = await desk.signedIn();
    const isText = async (what) => {
      const found = await page.evaluate(() => ({
        images: document.querySelectorAll('main img').length,
        scripts: document.querySelectorAll('main script, main b, main hx-partial').length,
        text: document.body.innerText.includes('onerror=alert(1)'),
      }));
      assert.deepEqual(found, { images: 0, scripts: 0, text: true }, what);
    };
    const paths = {
      'a person': `/console/people/${id}`,
      'a search': `/console?q=${encodeURIComponent(BAD)}`,
      'a filter': `/console/people/${id}?event=${encodeURIComponent(BAD)}`,
      'an account': `/console/accounts/${encodeURIComponent(`acme ${BAD}`)}`,
      'the live view': '/console/live',
      'a decision': `/console/people/${id}/unmerge?a=${encodeURIComponent(`user:u-${BAD}`)}&b=${encodeURIComponent('email:x@example.com')}`,
    };
    for (const [what, path] of Object.entries(paths)) {
      const answer = await page.goto(desk.url + path);
      assert.equal(answer.status(), 200, what);
      await isText(what);
    }
    await page.goto(`${desk.url}/console/people/${id}`);
    await page.waitForSelector('.pulse[data-state="on"]');
    await desk.send('wk_web', event('track', 0, { ...shopper, event: `Live ${BAD}`, context: { traits } }));
    await page.locator('.event', { hasText: 'Live "><img' }).first().waitFor();
    await isText('what came in live');
    desk.isFaultless();
  });
});

function signIn(desk, token, next = '') {
  return fetch(`${desk.url}/console/sign-in`, { method: 'POST', redirect: 'manual', body: new URLSearchParams({ token, next }) });
}

/** The cookie of a new session, and what its forms carry. */
async function session(desk) {
  const cookie = (await signIn(desk, desk.token)).headers.get('set-cookie').split(';')[0];
  const page = await until('a page', async () => (await fetch(`${desk.url}/console`, { headers: { cookie } })).text());
  return { cookie, csrf: /name="csrf" value="([^"]+)"/.exec(page)[1] };
}
