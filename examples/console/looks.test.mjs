// The pages in a hand and on a desk, in light and in dark, by keyboard and by ear.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fill } from './console.mjs';
import { leaving, order, quiet, withRules } from './rules.mjs';

const PATHS = (id) => ({
  home: '/console?q=s',
  person: `/console/people/${id}`,
  account: '/console/accounts/acme',
  live: '/console/live',
  merge: `/console/people/${id}/merge?with=u-2001`,
  unmerge: `/console/people/${id}/unmerge?a=${encodeURIComponent('user:u-1042')}&b=${encodeURIComponent('email:shopper@example.com')}`,
  'sign-in': '/console/sign-in',
  nobody: '/console/people/nobody',
  firings: '/console/firings',
  rules: '/console/rules',
  rule: '/console/rules/churn',
  stopped: '/console/rules/large_order',
  why: '/console/rules/churn/why?who=u-1042',
  'why for nobody': '/console/rules/churn/why?who=nobody',
  'why for several': '/console/rules/large_order/why?who=a',
  'firings of one rule': '/console/firings?rule=churn&account=acme',
  'firings of nobody': '/console/firings?rule=churn&who=nobody',
  consumers: '/console/consumers',
  suppressions: '/console/suppressions',
  'a suppressed address': '/console/suppressions?address=shopper@example.com',
  'no address': '/console/suppressions?address=nobody',
});

/** Somebody of whom everything is known, and rules that made something of it: one of them stopped, with something still to be done. */
async function filled(desk) {
  const { id, events } = await fill(desk);
  await quiet(desk, 'globex', 'Globex & Sons Trading', 'u-4', 'An engineer with a name that goes on for longer than a line', 20);
  await leaving(desk, 'acme', 'u-1042');
  await order(desk, 'u-1042', 2400);
  const page = await desk.signedIn();
  await page.goto(`${desk.url}/console/rules/large_order`);
  await page.getByRole('button', { name: 'Stop this rule' }).click();
  await page.getByRole('button', { name: 'Resume' }).waitFor();
  await order(desk, 'u-1042', 1200);
  await page.close();
  const suppressions = [{ address: 'shopper@example.com' }, { address: 'somebody.with.a.name.that.goes.on@a-company-with-a-long-name.example', reason: 'unsubscribed' }];
  await fetch(`${desk.url}/v1/suppressions/add`, { method: 'POST', headers: { authorization: `Bearer ${desk.token}`, 'content-type': 'application/json' }, body: JSON.stringify({ suppressions }) });
  return desk.person('u-1042', (profile) => profile.id === id && profile.events >= events + 3);
}

/** Everything that is behind a word is open. */
function openAll() {
  for (const details of document.querySelectorAll('details')) details.open = true;
}

test('nothing is cut at any width, and every text can be read in light and in dark', async () => {
  await withRules(async (desk) => {
    const { id } = await filled(desk);
    for (const colorScheme of ['light', 'dark']) {
      const page = await desk.signedIn({ colorScheme, reducedMotion: 'reduce' });
      for (const [name, path] of Object.entries(PATHS(id))) {
        await page.goto(desk.url + path);
        await page.evaluate(openAll);
        for (const width of [320, 360, 768, 1440]) {
          await page.setViewportSize({ width, height: 800 });
          assert.deepEqual(await page.evaluate(tooWide), [], `${name}, ${width} px`);
        }
        assert.deepEqual(await page.evaluate(pale), [], `${name}, ${colorScheme}`);
      }
    }
    desk.isFaultless();
  });
});

test('every field has a label, headings have an order, and the keyboard reaches everything it should', async () => {
  await withRules(async (desk) => {
    const { id } = await filled(desk);
    const page = await desk.signedIn();
    for (const [name, path] of Object.entries(PATHS(id))) {
      await page.goto(desk.url + path);
      assert.deepEqual(await page.evaluate(unsaid), [], name);
    }
    await page.goto(`${desk.url}/console/people/${id}`);
    await page.keyboard.press('Tab');
    const skip = page.getByRole('link', { name: 'Skip to the content' });
    assert.ok(await skip.evaluate((link) => link === document.activeElement && link.getBoundingClientRect().top >= 0), 'the first stop');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
    const stops = [];
    for (let i = 0; i < 12; i += 1) {
      await page.keyboard.press('Tab');
      stops.push(await page.evaluate(() => {
        const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
        return { in: document.activeElement.closest('main') !== null, shown: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 };
      }));
    }
    assert.ok(stops.every((stop) => stop.in && stop.shown), JSON.stringify(stops));
    await page.keyboard.press('Escape');
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('/');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'find');
    desk.isFaultless();
  });
});

test('what is read has the room: names on an account in a hand, why a rule fired right below what it says', async () => {
  await withRules(async (desk) => {
    const { id } = await filled(desk);
    const page = await desk.signedIn();
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(`${desk.url}/console/accounts/acme`);
    const lines = page.locator('.event summary', { has: page.locator('.source strong') });
    assert.ok(await lines.count() > 0, 'the timeline is of several');
    for (const line of await lines.all()) {
      const [what, source] = [await line.locator('.what').boundingBox(), await line.locator('.source').boundingBox()];
      assert.ok(source.y >= what.y + what.height - 1, 'who it was stands below what was done');
    }
    await page.setViewportSize({ width: 1400, height: 900 });
    await page.goto(`${desk.url}/console/firings`);
    for (const firing of await page.locator('.firing').all()) {
      const [gist, why] = [await firing.locator('.gist').boundingBox(), await firing.locator('.why > summary').boundingBox()];
      assert.ok(why.y - gist.y - gist.height < 12, 'no gap above the reasons');
      assert.ok((await firing.locator('.came-of').boundingBox()).x > gist.x, 'what was done stands on the right');
    }
    // The reasons take the whole width, and stand on nothing.
    const first = page.locator('.firing').first();
    await first.locator('.why > summary').click();
    const [row, reasons, came] = [await first.boundingBox(), await first.locator('.reasons').boundingBox(), await first.locator('.came-of').boundingBox()];
    assert.ok(reasons.width > row.width * 0.8 && reasons.y >= came.y + came.height - 1, JSON.stringify({ row, reasons, came }));
    await page.goto(`${desk.url}/console/people/${id}`);
    const beside = await page.locator('.signals .firing').evaluateAll((all) => all.map((one) => getComputedStyle(one).gridTemplateColumns.split(' ').length));
    assert.ok(beside.length > 0 && beside.every((columns) => columns === 1), `${beside}`);
    desk.isFaultless();
  });
});

/** In the page: what reaches beyond the window. */
function tooWide() {
  const found = [];
  if (document.documentElement.scrollWidth > innerWidth) found.push(`the document has ${document.documentElement.scrollWidth} px`);
  for (const element of document.querySelectorAll('body *')) {
    const { width, right, left } = element.getBoundingClientRect();
    if (width === 0 || element.closest('.unseen, svg, .scroll')) continue;
    if (right > innerWidth + 0.5 || left < -0.5) found.push(`${element.tagName} ${element.className}: ${element.textContent.trim().slice(0, 40)}`);
  }
  return found;
}

/** In the page: texts with less than 4.5:1 to what is behind them. */
function pale() {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (color, under) => {
    canvas.fillStyle = under ? `rgb(${under.join(' ')})` : '#fff';
    canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const light = (color) => {
    const [r, g, b] = color.map((part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const chain = [];
    for (let one = element; one; one = one.parentElement) chain.unshift(getComputedStyle(one).backgroundColor);
    return chain.reduce((under, color) => rgb(color, under), null);
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const element = text.parentElement;
    if (!text.data.trim() || element.closest('script, datalist, option, .skip') || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const back = behind(element);
    const ink = rgb(element.closest('svg') ? style.fill : style.color, back);
    const [a, b] = [light(ink), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)}: ${text.data.trim().slice(0, 40)}`);
  }
  return found;
}

/** In the page: what a screen reader would have no words for, or in no order. */
function unsaid() {
  const found = [];
  for (const field of document.querySelectorAll('input:not([type="hidden"], [hidden]), select, textarea')) {
    if (!field.labels?.length) found.push(`no label: ${field.name}`);
  }
  for (const control of document.querySelectorAll('a, button, summary')) {
    if (!control.textContent.trim()) found.push(`no words: ${control.outerHTML.slice(0, 60)}`);
  }
  for (const image of document.querySelectorAll('img:not([alt]), svg:not([aria-label], [aria-hidden="true"])')) found.push(`no text: ${image.outerHTML.slice(0, 60)}`);
  const levels = [...document.querySelectorAll('h1, h2, h3, h4')].map((heading) => Number(heading.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) found.push(`${levels.filter((level) => level === 1).length} first headings`);
  levels.forEach((level, i) => {
    if (level > (levels[i - 1] ?? 0) + 1) found.push(`a heading of level ${level} after ${levels[i - 1] ?? 'nothing'}`);
  });
  const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
  for (const id of new Set(ids.filter((id, i) => ids.indexOf(id) !== i))) found.push(`twice: #${id}`);
  for (const element of document.querySelectorAll('[aria-labelledby], [aria-describedby], [aria-controls]')) {
    for (const name of ['aria-labelledby', 'aria-describedby', 'aria-controls']) {
      const id = element.getAttribute(name);
      if (id && !document.getElementById(id)) found.push(`${name} of nothing: ${id}`);
    }
  }
  if (!document.documentElement.lang || !document.title || document.querySelectorAll('main').length !== 1) found.push('no language, title or main part');
  return found;
}
