// A cart that nobody comes back to, and three that somebody does: who gets the e-mail, at a real mail server.
//
//   node play.mjs       (HEADWATER=path/to/headwater; default ../../../target/debug/headwater; wants `make .build/smtp`)
//
// The rule waits an hour. Nobody wants to watch that: here a copy of it is played in which the hour is three seconds.

import { main, ms, stage } from '../stage.mjs';

const folder = new URL('.', import.meta.url).pathname;
const WAITS_MS = 3000;

/** Plays it; what came of it. */
export async function play(say) {
  const on = await stage({
    folder,
    mail: ['mail'],
    edit: { 'cart.toml': (text) => text.replace('within = "1h"', `within = "${WAITS_MS / 1000}s"`) },
  });
  try {
    const shoppers = ['leaves', 'orders', 'orders-on-the-phone', 'phone-of-somebody-else'];
    await on.send('web', ...shoppers.map((user) => ({
      type: 'identify', userId: user, anonymousId: `laptop of ${user}`, traits: { email: `${user}@shoppers.example` },
    })));
    const added = await on.send('web', ...shoppers.map((user) => ({
      event: 'Product Added', userId: user, anonymousId: `laptop of ${user}`, properties: { cart_id: `cart of ${user}`, name: 'A kettle' },
    })));
    say('Four shoppers put a kettle into their cart, each on a laptop.');
    const order = (user) => ({ event: 'Order Completed', properties: { cart_id: `cart of ${user}` } });
    await on.send('web',
      { ...order('orders'), anonymousId: 'laptop of orders' },
      { ...order('orders-on-the-phone'), anonymousId: 'phone 1' },
      { ...order('phone-of-somebody-else'), anonymousId: 'phone 2' });
    say('One orders there; two orders come from phones where nobody is signed in.');
    await on.send('web', { type: 'identify', userId: 'orders-on-the-phone', anonymousId: 'phone 1' });
    say('On the first phone somebody signs in: it is the third shopper. The second phone stays a stranger.');

    const first = await on.comes('the e-mail to who left', (it) => it.kind === 'mail' && it.to[0].startsWith('leaves@'));
    say(`\n${ms(first.at - added)} after the kettle went into the cart (the rule waits ${ms(WAITS_MS)} here):\n  to ${first.to}: ${first.subject}`);
    const second = await on.comes('the e-mail to whose order nobody can know', (it) => it.kind === 'mail' && it.to[0].startsWith('phone-of'));
    say(`  to ${second.to}: ${second.subject}`);
    // What was set off by the same events is done by now, or was not set off: firings say which.
    const firings = await on.until('all to be done', async () => {
      const all = await on.firings();
      return all.every((it) => it.actions.every((action) => action.state !== 'pending')) && all;
    });
    say(`\nFirings: ${firings.map((it) => `${it.name} (${it.actions.map((action) => `${action.kind} ${action.state}`).join(', ')})`).join('; ')}`);
    say(`Mails: ${on.received.length}. Nothing to who ordered on the laptop, nor to who ordered on the phone.`);
    return { added, waitsMs: WAITS_MS, firings, received: on.received };
  } finally {
    await on.end();
  }
}

main(import.meta.url, play);
