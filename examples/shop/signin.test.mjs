// Two people who sign in one after another in one browser, and nobody signs out between them: what the second does is not the
// first one's visit, since the shop's backend says of the device that it is the second one's. Runs the page's own script.

import assert from 'node:assert/strict';
import { test } from 'node:test';

/** Stands for all of a page that nobody looks at. */
const anything = new Proxy(function () {}, {
  get: (_, name) => (name === Symbol.toPrimitive ? () => '' : name === Symbol.iterator ? [][Symbol.iterator].bind([]) : anything),
  set: () => true,
  apply: () => anything,
  construct: () => anything,
});

test('who signs in after somebody else begins with a device of their own', async () => {
  const calls = [];
  const kept = new Map();
  let submit;
  const form = { addEventListener: (_, listener) => { submit = listener; } };
  const page = new Proxy({}, {
    get: (_, name) => (name === 'querySelector' ? (what) => (what === '#signin' ? form : anything) : anything),
    set: () => true,
  });
  const verbs = ['track', 'page', 'identify', 'group', 'reset', 'push', 'user'];
  const headwater = Object.fromEntries(verbs.map((verb) => [verb, (first) => {
    if (['identify', 'reset'].includes(verb)) calls.push(verb === 'reset' ? 'reset' : `identify ${first}`);
    return Promise.resolve({ durable: true, messageId: 'm' });
  }]));
  Object.assign(globalThis, {
    window: Object.assign(Object.create(globalThis), { headwater }),
    document: page,
    location: { pathname: '/shop/signin.html', search: '', assign() {} },
    localStorage: {
      getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key), key: () => null, length: 0,
    },
    addEventListener() {},
    FormData: class { constructor(of) { return Object.entries(of); } },
  });
  await import('./signin.js');
  const signIn = (name) => submit({ preventDefault() {}, target: { name, email: `${name}@shop.example` } });
  await signIn('ann');
  const [ann] = calls;
  assert.match(ann, /^identify u_/);
  await signIn('ann');
  assert.deepEqual(calls, [ann, ann], 'the same one again is the same device');
  await signIn('ben');
  assert.deepEqual(calls.slice(2, 3), ['reset']);
  assert.match(calls[3], /^identify u_/);
  assert.notEqual(calls[3], ann);
});
