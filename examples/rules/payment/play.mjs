// A payment failed: one customer is written to at once, four are left alone, each for another reason.
//
//   node play.mjs       (HEADWATER=path/to/headwater; default ../../../target/debug/headwater; wants `make .build/smtp`)

import { main, ms, stage, zoneWhereItIs } from '../stage.mjs';

const folder = new URL('.', import.meta.url).pathname;

/** Plays it; what came of it. */
export async function play(say) {
  const on = await stage({ folder, mail: ['mail'] });
  try {
    const [noon, night] = [zoneWhereItIs(12), zoneWhereItIs(2)];
    const customer = (user, timezone, traits = {}) => ({
      type: 'identify', userId: user, context: { timezone }, traits: { email: `${user}@customers.example`, ...traits },
    });
    await on.send('backend',
      customer('awake', noon, { first_name: 'shopper' }), customer('asleep', night), customer('silent', noon, { consent_email: false, consent_in_app: false }),
      customer('spammed', noon));
    // Somebody has called a mail of the shop's spam. Nothing is sent to that address any more; the page that is open is no address.
    await on.suppress('complained', 'Spammed@customers.example');
    // Each has a page open.
    const users = ['awake', 'asleep', 'silent', 'spammed'];
    for (const user of users) await on.send('web', { type: 'identify', anonymousId: `page-of-${user}`, userId: user });
    const pages = Object.fromEntries(users.map((user) => [user, on.listen(`page-of-${user}`)]));
    const failed = (user, order) => ({ event: 'Payment Failed', userId: user, properties: { amount: 40, currency: 'EUR', order_id: order, reason: 'expired_card' } });

    await on.send('web', failed('awake', 'forged'));
    const at = await on.send('backend', failed('awake', 'o-1'));
    const [message] = await pages.awake.next();
    say(`A payment failed at noon; the page that is open had the message after ${ms(message.heardAt - at)}:\n  ${message.title} [${message.button}]`);
    const mail = await on.comes('the e-mail', (it) => it.kind === 'mail');
    say(`\nThe e-mail came after ${ms(mail.at - at)}:\n  to ${mail.to}: ${mail.subject}\n  ${mail.parts['text/plain'].trim().replaceAll('\n', '\n  ')}`);

    await on.send('backend', failed('awake', 'o-2'), failed('asleep', 'o-3'), failed('silent', 'o-4'), failed('spammed', 'o-5'));
    /** What became of the latest message to somebody: in the page, and by mail. */
    const of = async (name) => (await on.firings({ who: name }))[0]?.actions;
    const settled = (actions) => actions?.every(({ state }) => state !== 'pending') && actions;
    const capped = await on.until('the cap', async () => ((await on.firings({ who: 'awake' })).length === 2) && settled(await of('awake')));
    say(`\nIt fails again at once: ${capped[0].state}, ${capped[0].detail}`);
    const silent = await on.until('who said no', async () => settled(await of('silent')));
    say(`Somebody who wants neither: ${silent.map(({ kind, state, detail }) => `${kind} ${state}, ${detail}`).join('; ')}`);
    const spammed = await on.until('who called it spam', async () => settled(await of('spammed')));
    say(`Somebody who has called a mail spam: ${spammed.map(({ kind, state, detail }) => `${kind} ${state}${detail ? `, ${detail}` : ''}`).join('; ')}`);
    const asleep = await on.until('who sleeps', () => of('asleep'));
    say(`Somebody for whom it is between two and three at night (${night}): ${asleep[0].state}, until 08:00 there`);
    const firings = await on.firings();
    say(`\nFirings: ${firings.length}. E-mails: ${on.received.length}.`);
    const heard = Object.fromEntries(await Promise.all(Object.entries(pages).map(async ([user, page]) => [user, await page.heard()])));
    return { took: mail.at - at, tookInPage: message.heardAt - at, heard, capped, silent, spammed, asleep, firings, received: on.received };
  } finally {
    await on.end();
  }
}

main(import.meta.url, play);
