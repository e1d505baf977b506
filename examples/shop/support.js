// The support form. The event says what it is about and how long it is; the words stay with support.

import { $, h } from './dom.js';
import { track } from './measure.js';
import { open } from './page.js';
import { person } from './person.js';

open('Support');
$('#email').value = person()?.email ?? '';

$('#ticket').addEventListener('submit', (event) => {
  event.preventDefault();
  const { topic, message } = Object.fromEntries(new FormData(event.target));
  const ticket = `T-${Date.now().toString(36).toUpperCase()}`;
  track('Support Ticket Opened', { ticket_id: ticket, topic, message_length: message.length });
  $('#ticket').replaceWith(h('div.empty', { role: 'status' }, h('p.seal', { 'aria-hidden': 'true' }, '✓'), h('h2', null, 'We have it.'),
    h('p', null, `Your ticket is ${ticket}. In a real shop somebody would answer today.`), h('a.button', { href: './' }, 'Back to the shop')));
});
