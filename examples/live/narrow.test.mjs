// The live view in a hand and on a desk: nothing stands beyond the window's edge, and no text is cut.

import assert from 'node:assert/strict';
import { test } from 'node:test';
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
      for (const width of [320, 390, 768, 1280]) {
        await page.setViewportSize({ width, height: 780 });
        if (width <= 1000) await page.click('#tab-stream');
        assert.deepEqual(await page.evaluate(tooWide), [], `${state}, ${width} px`);
      }
    }
  });
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
