// The list of products: filter by category, search by word.

import { CATEGORIES, PRODUCTS, described } from './catalogue.js';
import { $, h } from './dom.js';
import { track } from './measure.js';
import { card, open } from './page.js';

open('Shop');

const LIST = 'all-products';
let category = null;
let query = '';

const viewed = (list) => track('Product List Viewed', {
  list_id: LIST, category: category ?? 'All', products: list.map((p, i) => described(p, { position: i + 1 })),
});

function draw() {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const list = PRODUCTS.filter((p) => (!category || p.category === category) &&
    words.every((word) => `${p.name} ${p.line} ${p.category}`.toLowerCase().includes(word)));
  $('#products').replaceChildren(...list.map((p, i) => card(p, i + 1, LIST)));
  $('#found').textContent = list.length ? `${list.length} ${list.length === 1 ? 'thing' : 'things'}` : 'Nothing by that name. Try “bag”, “light” or “wool”.';
  $('#filters').replaceChildren(...[null, ...CATEGORIES].map((c) =>
    h('button', { type: 'button', 'aria-pressed': String(c === category), onclick: () => choose(c) }, c ?? 'Everything')));
  return list;
}

function choose(next) {
  category = next;
  const list = draw();
  [...$('#filters').children].find((b) => b.getAttribute('aria-pressed') === 'true')?.focus();
  track('Product List Filtered', { list_id: LIST, filters: [{ type: 'category', value: next ?? 'All' }], products: list.map((p, i) => described(p, { position: i + 1 })) });
}

$('#search').addEventListener('submit', (event) => {
  event.preventDefault();
  query = $('#query').value.trim();
  draw();
  if (query) track('Products Searched', { query });
});
$('#query').addEventListener('input', (event) => {
  query = event.target.value.trim(); // what is shown follows the typing; what was searched for is told once, on Enter
  draw();
});

viewed(draw());
