// The shop as files: every page carries the snippet, nothing asks another host, every link leads somewhere, and no page
// asks for a card. Reads text only; the browser tests click.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { extname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PRODUCTS } from './catalogue.js';

const shop = fileURLToPath(new URL('.', import.meta.url));
const live = fileURLToPath(new URL('../live/', import.meta.url));
const files = (folder) => readdirSync(folder, { recursive: true }).filter((name) => extname(name) && !name.endsWith('.test.mjs'));
const pages = files(shop).filter((name) => name.endsWith('.html'));
const text = (folder, name) => readFileSync(join(folder, name), 'utf8');
const snippet = (html) => /<!-- Headwater:[\s\S]*?<script async [^>]*><\/script>/.exec(html)?.[0];

test('there are the pages that a shop has', () => {
  assert.deepEqual(pages.toSorted(), ['cart.html', 'checkout.html', 'index.html', 'order.html', 'pricing.html', 'product.html', 'signin.html', 'support.html']);
});

test('every page has the same snippet, before any other script', () => {
  const first = snippet(text(shop, 'index.html'));
  assert.match(first, /<script async src="__COLLECTOR__\/headwater\.js" data-write-key="__WRITE_KEY__"><\/script>/);
  for (const page of pages) {
    const html = text(shop, page);
    assert.equal(snippet(html), first, page);
    assert.ok(html.indexOf(first) < html.indexOf('<script type="module"'), page);
  }
});

test('the snippet keeps early calls for the script to replay', () => {
  const [, source] = /<script>\s([\s\S]*?)<\/script>/.exec(text(shop, 'index.html'));
  const window = {};
  Object.defineProperty(globalThis, 'headwater', { // as in a page, where a property of window is a global
    get: () => window.headwater, configurable: true,
  });
  try {
    new Function('window', source)(window);
    window.headwater.track('Product Added', { quantity: 1 });
    window.headwater.identify('u1');
  } finally {
    delete globalThis.headwater;
  }
  assert.deepEqual([...window.headwater], [['track', 'Product Added', { quantity: 1 }], ['identify', 'u1']]);
});

test('no file of the shop or the live view names another host', () => {
  for (const folder of [shop, live]) {
    for (const name of files(folder)) {
      const found = text(folder, name).replaceAll('http://www.w3.org/', '').match(/(https?:)?\/\/[a-z0-9-]+\.[a-z][^\s"'`]*/gi);
      assert.equal(found, null, `${name}: ${found}`);
    }
  }
});

test('what the pages and modules name exists', () => {
  for (const name of files(shop).filter((n) => /\.(html|js)$/.test(n))) {
    for (const [, target] of text(shop, name).matchAll(/(?:(?:href|src)=|href: |from |\[)["']([a-z.\/-]+\.(?:html|js|css|svg))["']/g)) {
      assert.ok(existsSync(join(shop, target)), `${name} names ${target}`);
    }
  }
  for (const { id } of PRODUCTS) assert.ok(existsSync(join(shop, 'images', `${id}.svg`)), id);
});

test('every field has a label, and none is for a card', () => {
  for (const page of pages) {
    const html = text(shop, page);
    for (const [field] of html.matchAll(/<(?:input|select|textarea)\b[^>]*>/g)) {
      const id = /\bid="([^"]+)"/.exec(field)?.[1];
      const before = html.slice(0, html.indexOf(field));
      const wrapped = before.lastIndexOf('<label') > before.lastIndexOf('</label>');
      assert.ok(wrapped || html.includes(`for="${id}"`), `${page}: ${field}`);
    }
  }
  for (const name of files(shop)) assert.doesNotMatch(text(shop, name), /cc-(number|csc|exp)|card.?number|cvc/i, name);
});

test('events bear the names of the e-commerce specification', () => {
  const used = new Set(files(shop).filter((n) => n.endsWith('.js')).flatMap((n) => [...text(shop, n).matchAll(/track\((?:[^'()]*\? )?'([^']+)'(?: : '([^']+)')?/g)].flatMap((m) => m.slice(1).filter(Boolean))));
  for (const name of ['Products Searched', 'Product List Viewed', 'Product List Filtered', 'Product Clicked', 'Product Viewed', 'Product Added', 'Product Removed',
    'Cart Viewed', 'Checkout Started', 'Checkout Step Viewed', 'Checkout Step Completed', 'Payment Info Entered', 'Order Completed']) assert.ok(used.has(name), name);
});
