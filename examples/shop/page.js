// What every page of the shop has: header with account bar and cart, footer, the page view, product cards, the toast.

import { pieces } from './cart.js';
import { described, money } from './catalogue.js';
import { $, h } from './dom.js';
import { page, reset, track } from './measure.js';
import { person, signOut } from './person.js';

const NAVIGATION = [['./', 'Shop'], ['pricing.html', 'Membership'], ['support.html', 'Support']];

/** Draws header and footer, and counts the page view. */
export function open(name, properties) {
  page(name, { path: location.pathname, title: document.title, url: location.href, ...properties });
  header();
  $('#footer').replaceChildren(
    h('p', null, 'Oxbow is a pretend shop: nothing is sold, and what you type stays on this computer.'),
    h('nav', { 'aria-label': 'Footer' }, NAVIGATION.map(([href, text]) => h('a', { href }, text))),
  );
}

function header() {
  const who = person();
  const here = location.pathname.split('/').pop() || './';
  const link = ([href, text]) => h('a', { href, 'aria-current': (href === here || (href === './' && here === 'index.html')) && 'page' }, text);
  $('#header').replaceChildren(
    h('a.skip', { href: '#main' }, 'Skip to the content'),
    h('a.logo', { href: './', 'aria-label': 'Oxbow, to the shop' }, mark(), h('span', null, 'Oxbow')),
    h('nav', { 'aria-label': 'Main' }, NAVIGATION.map(link)),
    h('div.account', null,
      who
        ? [h('span.who', { title: who.email }, h('i', { 'aria-hidden': 'true' }, who.name.trim()[0]?.toUpperCase() ?? '·'), h('span', null, who.name, who.team && h('small', null, who.team))),
          h('button.plain', { type: 'button', onclick: leave }, 'Sign out')]
        : h('a', { href: 'signin.html' }, 'Sign in'),
      h('a.cart-link', { href: 'cart.html', 'aria-label': `Cart, ${pieces()} ${pieces() === 1 ? 'piece' : 'pieces'}` }, 'Cart', h('b', { 'data-empty': pieces() === 0 }, String(pieces()))),
    ),
  );
}

/** The cart has changed: its number in the header follows. */
export function refreshCart() {
  const link = $('.cart-link');
  link.setAttribute('aria-label', `Cart, ${pieces()} ${pieces() === 1 ? 'piece' : 'pieces'}`);
  link.lastChild.replaceWith(h('b.bump', { 'data-empty': pieces() === 0 }, String(pieces())));
}

function leave() {
  track('Signed Out', {});
  reset(); // a new anonymous id: whoever comes next is somebody else
  signOut();
  header();
  toast('Signed out.');
}

// A river that nearly meets itself: an oxbow.
function mark() {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 32 32');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', 'M3 25c6 0 9-2 9-6 0-3-4-4-4-9a8 8 0 0 1 16 0c0 5-4 6-4 9 0 4 3 6 9 6');
  svg.append(path);
  return svg;
}

export const picture = (p, loading = 'lazy') =>
  h('span.picture', { style: `--tint:${p.tint}` }, h('img', { src: `images/${p.id}.svg`, alt: '', width: 320, height: 320, loading }));

/** The card of a product; following it is `Product Clicked`, sent as the page is left. */
export const card = (p, position, list) =>
  h('a.card', {
    href: `product.html?id=${p.id}`,
    onclick: () => track('Product Clicked', described(p, { position, list_id: list })),
  }, picture(p, 'eager'), h('span.name', null, p.name), h('span.price', null, money(p.price)), h('span.line', null, p.line));

/** A short word at the foot of the page, read out by screen readers. */
export function toast(text, link) {
  const box = $('#toast');
  box.replaceChildren(h('span', null, text), link ? h('a', { href: link[0] }, link[1]) : '');
  box.classList.add('shown');
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => box.classList.remove('shown'), 3500);
}

/** `[-] 2 [+]` */
export function stepper(quantity, label, changed, least = 1) {
  const output = h('output', null, String(quantity));
  const step = (by) => {
    const next = Math.min(20, Math.max(least, quantity + by));
    if (next === quantity) return;
    quantity = next;
    output.textContent = String(quantity);
    changed(quantity);
  };
  return h('span.stepper', { role: 'group', 'aria-label': label },
    h('button', { type: 'button', 'aria-label': 'One less', onclick: () => step(-1) }, '−'), output,
    h('button', { type: 'button', 'aria-label': 'One more', onclick: () => step(1) }, '+'));
}
