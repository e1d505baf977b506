// The confirmation. `Order Completed` was sent by the checkout, as it was left: a reload of this page is no second order.

import { lastOrder } from './cart.js';
import { money, product } from './catalogue.js';
import { $, h } from './dom.js';
import { open, picture } from './page.js';

const order = lastOrder();
open('Order confirmation', order ? { order_id: order.id } : {});

$('#main').replaceChildren(order
  ? h('section.thanks', null,
    h('p.seal', { 'aria-hidden': 'true' }, '✓'),
    h('h1', null, 'Thank you. It is on its way.'),
    h('p.lead', null, `Order ${order.id} comes ${order.delivery.name.toLowerCase()}${order.town ? ` to ${order.town}` : ''}, ${order.delivery.days}.`),
    h('div.pictures', null, order.lines.map((l) => product(l.id)).filter(Boolean).map((p) => picture(p, 'eager'))),
    h('dl.receipt', null, [['Goods', money(order.subtotal)], ['Delivery', order.shipping ? money(order.shipping) : 'free'], ['Total', money(order.total)], ['Payment', order.payment.name]]
      .map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)))),
    h('a.button.primary', { href: './' }, 'Back to the shop'))
  : h('div.empty', null, h('h1', null, 'No order yet'), h('a.button.primary', { href: './' }, 'Look around')));
