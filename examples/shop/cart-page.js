// The cart: change how many, take out, go to the checkout.

import { cartId, lines, put, subtotal } from './cart.js';
import { described, money } from './catalogue.js';
import { $, h } from './dom.js';
import { track } from './measure.js';
import { open, picture, refreshCart, stepper } from './page.js';

open('Cart');
track('Cart Viewed', { cart_id: cartId(), products: lines().map((l, i) => described(l.product, { quantity: l.quantity, position: i + 1 })) });
draw();

function draw() {
  const now = lines();
  $('#main').replaceChildren(h('h1', null, 'Your cart'), now.length === 0
    ? h('div.empty', null, h('p', null, 'Nothing in it yet.'), h('a.button.primary', { href: './' }, 'Look around'))
    : h('div.columns', null,
      h('ul.lines', null, now.map(row)),
      h('aside.summary', null,
        h('dl', null, h('div', null, h('dt', null, 'Goods'), h('dd', null, money(subtotal(now)))), h('div', null, h('dt', null, 'Delivery'), h('dd', null, 'at the next step'))),
        h('a.button.primary', { href: 'checkout.html', id: 'to-checkout' }, 'Check out'),
        h('a.quiet', { href: './' }, 'Look around some more'))));
}

function row({ product: p, quantity }) {
  return h('li', null,
    h('a', { href: `product.html?id=${p.id}`, tabindex: -1, 'aria-hidden': 'true' }, picture(p, 'eager')),
    h('div', null, h('a.name', { href: `product.html?id=${p.id}` }, p.name), h('span.line', null, p.line),
      h('div.change', null, stepper(quantity, `How many: ${p.name}`, (n) => change(p, quantity, n)),
        h('button.plain', { type: 'button', 'aria-label': `Take out: ${p.name}`, onclick: () => change(p, quantity, 0) }, 'Take out'))),
    h('span.price', null, money(p.price * quantity)));
}

function change(p, before, after) {
  put(p.id, after);
  track(after > before ? 'Product Added' : 'Product Removed', described(p, { cart_id: cartId(), quantity: Math.abs(after - before) }));
  refreshCart();
  draw();
}
