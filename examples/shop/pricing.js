// The membership's plans: who looks at prices, for which period, and which plan they choose.

import { PLANS, money } from './catalogue.js';
import { $, h } from './dom.js';
import { track } from './measure.js';
import { open, toast } from './page.js';

open('Pricing');
track('Pricing Viewed', { plans: PLANS.map((p) => p.id) });

let period = 'month';
draw();
$('#leave').addEventListener('click', () => {
  track('Cancellation Started', {});
  toast('We would be sorry to see you go. (Nothing was cancelled.)');
});

function draw() {
  $('#period').replaceChildren(...[['month', 'Monthly'], ['year', 'Yearly, two months free']].map(([id, text]) =>
    h('button', { type: 'button', 'aria-pressed': String(id === period), onclick: () => { period = id; draw(); track('Pricing Period Changed', { period }); $('#period [aria-pressed=true]').focus(); } }, text)));
  $('#plans').replaceChildren(...PLANS.map((plan) => {
    const price = period === 'month' ? plan.month : plan.month * 10;
    return h('section.plan', { 'data-best': plan.best }, h('h2', null, plan.name), h('p', null, plan.line),
      h('p.price', null, price ? money(price) : 'Free', price ? h('small', null, ` a ${period}`) : ''),
      h('ul', null, plan.has.map((text) => h('li', null, text))),
      h(plan.best ? 'button.primary' : 'button', { type: 'button', onclick: () => {
        track('Plan Selected', { plan: plan.id, period, price });
        toast(`${plan.name} it is. (Nothing was charged.)`);
      } }, `Choose ${plan.name}`));
  }));
}
