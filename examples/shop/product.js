// One product: look, choose how many, put it in the cart.

import { cartId, put, quantityOf } from './cart.js';
import { PRODUCTS, described, money, product } from './catalogue.js';
import { $, h } from './dom.js';
import { track } from './measure.js';
import { card, open, picture, refreshCart, stepper, toast } from './page.js';

const p = product(new URLSearchParams(location.search).get('id')) ?? PRODUCTS[0];
document.title = `${p.name} · Oxbow`;
open('Product', { product_id: p.id });
track('Product Viewed', described(p));

let quantity = 1;

function add() {
  put(p.id, quantityOf(p.id) + quantity);
  track('Product Added', described(p, { cart_id: cartId(), quantity }));
  refreshCart();
  toast(quantity === 1 ? `${p.name} is in your cart.` : `${quantity} × ${p.name} are in your cart.`, ['cart.html', 'To the cart']);
}

$('#main').replaceChildren(
  h('p.crumbs', null, h('a', { href: './' }, 'Shop'), ' / ', p.category),
  h('section.product', null,
    picture(p, 'eager'),
    h('div', null,
      h('h1', null, p.name),
      h('p.lead', null, p.line),
      h('p.price', null, money(p.price)),
      h('p', null, p.about),
      h('div.buy', null, stepper(1, 'How many', (n) => { quantity = n; }), h('button.primary', { type: 'button', id: 'add', onclick: add }, 'Add to cart')),
      h('dl.facts', null, Object.entries(p.facts).map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)))),
    )),
  h('h2', null, 'Goes well with it'),
  h('div.grid.three', null, PRODUCTS.filter((other) => other !== p).sort((a, b) => (b.category === p.category) - (a.category === p.category))
    .slice(0, 3).map((other, i) => card(other, i + 1, 'goes-well-with'))),
);
