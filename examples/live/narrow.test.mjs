// The live view in a hand and on a desk: nothing stands beyond the window's edge, and no text is cut.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withLine } from '../e2e/line.mjs';

const PATIENCE = { timeout: 30_000 };

test('at every width, up and down, nothing is cut', async () => {
  await withLine(async (line) => {
    const page = await line.context.newPage();
    await page.goto(line.demo.url);
    await page.waitForSelector('#status[data-state="up"]', PATIENCE);
    await page.waitForSelector('#stream [data-state="delivered"]', { ...PATIENCE, state: 'attached' });
    for (const state of ['up', 'down']) {
      if (state === 'down') {
        await page.click('#kill');
        await page.waitForSelector('#status[data-state="down"]', PATIENCE);
      }
      for (const width of [320, 360, 390, 768, 1280]) {
        await page.setViewportSize({ width, height: 500 });
        if (width <= 1000) await page.click('#tab-stream');
        assert.deepEqual(await page.evaluate(tooWide), [], `${state}, ${width} px`);
        assert.deepEqual(await page.evaluate(misplaced), [], `${state}, ${width} px`);
        assert.equal(await page.locator('.people a:visible').count(), 3, `the way to the console, ${width} px`);
      }
    }
  }, { rules: fileURLToPath(new URL('../demo/rules', import.meta.url)) });
});

/** In the page: what reaches beyond the window, and what has less room than its text. */
function tooWide() {
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const { width, right } = element.getBoundingClientRect();
    if (width === 0 || element.closest('.hidden, svg')) continue;
    const said = `${element.id || element.className || element.tagName}: ${element.textContent.trim().slice(0, 40)}`;
    if (right > innerWidth + 0.5) found.push(`beyond the edge: ${said}`);
    const scrolls = getComputedStyle(element).overflowX !== 'visible' && element.tagName !== 'PRE';
    if (scrolls && element.scrollWidth > element.clientWidth + 1) found.push(`cut: ${said}`);
  }
  return found;
}

/** In the page: a document that is taller than the window, an option of the command that is broken in two, a time that does not say what it is. */
function misplaced() {
  const found = [];
  const { scrollHeight } = document.documentElement;
  if (scrollHeight > innerHeight + 1) found.push(`the document is ${scrollHeight} px high`);
  const texts = document.createTreeWalker(document.querySelector('#command'), NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const at = text.data.indexOf('--config');
    if (at < 0) continue;
    const range = document.createRange();
    range.setStart(text, at);
    range.setEnd(text, at + '--config'.length);
    if (range.getClientRects().length > 1) found.push('--config is in two lines');
  }
  const medians = [...document.querySelectorAll('.totals small')].filter((small) => small.innerText.includes('median'));
  if (medians.length !== 2) found.push(`${medians.length} medians`);
  return found;
}
