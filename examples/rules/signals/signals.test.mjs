// Five signals reach who is to know, once each.
// On the wall clock, with a real collector and real receiving ends; `../rules.test.mjs` runs the fixtures, on virtual time.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { play } from './play.mjs';

test('each signal is told once, to the right one', { timeout: 60_000 }, async () => {
  const { done, firings, flagged, received } = await play(() => {});
  const [bought, first, ends, ticket, back] = done.map(({ it }) => it);
  assert.deepEqual(firings.map(({ rule }) => rule).sort(), [
    'feature_first_used', 'login_after_7_days_inactive', 'purchase_completed', 'subscription_expiring', 'support_ticket_opened',
  ]);
  assert.equal(received.length, 5, 'the forged purchase, the second report and the second sign-in tell nobody');

  assert.equal(bought.event.event.properties.order_id, 'o-1');
  assert.equal(bought.event.person.traits.email, 'shopper@acme.example');
  assert.equal(bought.id, bought.event.id, 'the key by which a repeat is known');
  assert.match(first.text, /A shopper has built a first report/);
  assert.match(first.text, /Revenue by month/);
  assert.deepEqual(ends.to, ['shopper@acme.example']);
  assert.equal(ends.subject, 'Your yearly plan ends in a week');
  assert.match(ends.parts['text/plain'], /does not renew itself/);
  assert.match(ticket.text, /No invoice/);
  assert.match(ticket.text, /Acme/);
  assert.equal(back.name, 'success');
  assert.match(back.text, /A shopper is back/);
  assert.deepEqual([flagged.customer.value, flagged.returned_after_absence.value], [true, true]);

  const [, , reminder] = done;
  assert.ok(reminder.tookMs >= 1900, `a week before the end, and not earlier: ${reminder.tookMs} ms`);
});
