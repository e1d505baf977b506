// The checkout: where to, how, how to pay; then the order. No card is ever asked for.

import { cartId, empty, lines, saveOrder, subtotal } from './cart.js';
import { CURRENCY, DELIVERY, PAYMENT, described, money } from './catalogue.js';
import { $, h } from './dom.js';
import { track, user } from './measure.js';
import { open, toast } from './page.js';
import { person } from './person.js';

const STEPS = ['Address', 'Delivery', 'Payment'];
const basket = lines();
const checkout = { checkout_id: cartId(), order_id: `OX-${Date.now().toString(36).toUpperCase()}` };
const chosen = { delivery: DELIVERY[0], payment: PAYMENT[0] };
const products = basket.map((l) => described(l.product, { quantity: l.quantity }));
const who = person();
const typed = { name: who?.name ?? '', email: who?.email ?? '', town: '' };
let step = 1;

open('Checkout');
if (basket.length === 0) {
  $('#main').replaceChildren(h('h1', null, 'Checkout'), h('div.empty', null, h('p', null, 'There is nothing to check out yet.'), h('a.button.primary', { href: './' }, 'Look around')));
} else {
  track('Checkout Started', { ...checkout, ...amounts(), products });
  go(1);
}

function amounts() {
  const goods = subtotal(basket);
  const shipping = chosen.delivery.price;
  return { subtotal: goods, shipping, revenue: goods, total: goods + shipping, currency: CURRENCY };
}

function go(to) {
  step = to;
  track('Checkout Step Viewed', { checkout_id: checkout.checkout_id, step });
  draw();
  $('#main h1').focus();
}

async function done(more) {
  track('Checkout Step Completed', { checkout_id: checkout.checkout_id, step, ...more });
  if (step < 3) return go(step + 1);
  track('Payment Info Entered', { ...checkout, step, payment_method: chosen.payment.id, shipping_method: chosen.delivery.id });
  if (chosen.payment.id === 'card' && !(await isPaid())) return toast('The payment did not go through.');
  track('Order Completed', { ...checkout, ...amounts(), products });
  saveOrder({ id: checkout.order_id, ...amounts(), delivery: chosen.delivery, payment: chosen.payment, town: typed.town,
    lines: basket.map((l) => ({ id: l.product.id, quantity: l.quantity })) });
  empty();
  location.assign('order.html');
}

/** The shop's own backend knows whether the bank has let it through, and says so to Headwater itself. */
async function isPaid() {
  const { ok } = await fetch('pay', { method: 'POST', body: JSON.stringify({ ...user(), ...checkout, total: amounts().total }) });
  return ok;
}

function draw() {
  $('#main').replaceChildren(
    h('h1', { tabindex: -1 }, 'Checkout'),
    h('ol.steps', null, STEPS.map((name, i) => h('li', { 'aria-current': i + 1 === step && 'step', 'data-done': i + 1 < step },
      i + 1 < step ? h('button.plain', { type: 'button', onclick: () => go(i + 1) }, name) : h('span', null, name)))),
    h('div.columns', null, h('form', { onsubmit: submit }, [address, delivery, payment][step - 1](),
      h('div.row', null, step > 1 && h('button', { type: 'button', onclick: () => go(step - 1) }, 'Back'),
        h('button.primary', { type: 'submit', id: 'next' }, step < 3 ? 'Continue' : `Order for ${money(amounts().total)}`))),
    summary()));
}

function submit(event) {
  event.preventDefault();
  if (step === 1) Object.assign(typed, Object.fromEntries(new FormData(event.target)));
  done(step === 2 ? { shipping_method: chosen.delivery.id } : step === 3 ? { payment_method: chosen.payment.id } : {});
}

function field(name, label, props) {
  return h('label.field', null, h('span', null, label), h('input', { name, required: true, value: typed[name], ...props }));
}

function address() {
  return h('fieldset', null, h('legend', null, 'Where to?'),
    !who && h('p.quiet', null, 'Been here before? ', h('a', { href: 'signin.html?back=checkout' }, 'Sign in'), ' and skip this.'),
    field('name', 'Name', { autocomplete: 'name' }),
    field('email', 'Email', { type: 'email', autocomplete: 'email', placeholder: 'you@example.com' }),
    field('town', 'Town', { autocomplete: 'address-level2' }));
}

function choice(group, option, end, line) {
  return h('label.choice', null,
    h('input', { type: 'radio', name: group, value: option.id, checked: chosen[group].id === option.id, onchange: () => {
      chosen[group] = option;
      $('aside.summary').replaceWith(summary());
    } }),
    h('span', null, h('b', null, option.name), h('small', null, line)), h('span.price', null, end));
}

function delivery() {
  return h('fieldset', null, h('legend', null, 'How shall it come?'),
    DELIVERY.map((d) => choice('delivery', d, d.price ? money(d.price) : 'free', d.days)));
}

function payment() {
  return h('fieldset', null, h('legend', null, 'How will you pay?'), PAYMENT.map((p) => choice('payment', p, '', p.line)));
}

function summary() {
  const sum = amounts();
  return h('aside.summary', null, h('ul', null, basket.map((l) => h('li', null, h('span', null, `${l.quantity} × ${l.product.name}`), h('span', null, money(l.product.price * l.quantity))))),
    h('dl', null, h('div', null, h('dt', null, 'Delivery'), h('dd', null, sum.shipping ? money(sum.shipping) : 'free')),
      h('div.total', null, h('dt', null, 'Total'), h('dd', null, money(sum.total)))));
}
