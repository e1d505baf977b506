// The cart and the last order, in this browser only. Knows products and numbers; no page and no event.

import { product } from './catalogue.js';

const read = (key, absent) => {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? absent;
  } catch {
    return absent;
  }
};
const write = (key, value) => localStorage.setItem(key, JSON.stringify(value));

/** `[{ product, quantity }]`, in the order in which they were put in. */
export const lines = () => read('oxbow.cart', []).map(({ id, quantity }) => ({ product: product(id), quantity })).filter((l) => l.product && l.quantity > 0);

export const pieces = () => lines().reduce((sum, line) => sum + line.quantity, 0);

export const subtotal = (of = lines()) => of.reduce((sum, line) => sum + line.product.price * line.quantity, 0);

/** Sets how many of a product are in the cart; 0 takes it out. */
export function put(id, quantity) {
  const kept = read('oxbow.cart', []).filter((line) => line.id !== id || quantity > 0);
  const line = kept.find((l) => l.id === id);
  if (line) line.quantity = quantity;
  else if (quantity > 0) kept.push({ id, quantity });
  write('oxbow.cart', kept);
}

export const quantityOf = (id) => lines().find((line) => line.product.id === id)?.quantity ?? 0;

/** A cart has an id from its first look until it is ordered. */
export function cartId() {
  let id = read('oxbow.cart_id', null);
  if (!id) write('oxbow.cart_id', (id = crypto.randomUUID()));
  return id;
}

export function empty() {
  localStorage.removeItem('oxbow.cart');
  localStorage.removeItem('oxbow.cart_id');
}

export const saveOrder = (order) => write('oxbow.order', order);
export const lastOrder = () => read('oxbow.order', null);
