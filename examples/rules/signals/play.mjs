// Five signals, and who is told.
//
//   node play.mjs       (HEADWATER=path/to/headwater; default ../../../target/debug/headwater; mail wants `make .build/smtp`)

import { ago, main, ms, stage } from '../stage.mjs';

const folder = new URL('.', import.meta.url).pathname;
const WEEK_MS = 7 * 86_400_000;

/** Plays it; what came of it. */
export async function play(say) {
  const on = await stage({ folder, slack: ['success', 'support'], webhooks: ['sales'], mail: ['mail'] });
  try {
    const done = [];
    const told = async (signal, at, what, fits) => {
      const it = await on.comes(what, fits);
      done.push({ signal, tookMs: it.at - at, it });
      const text = it.text ?? (it.kind === 'mail' ? `${it.to}: ${it.subject}` : JSON.stringify(it.event.event.properties));
      say(`${signal}: ${it.kind} ${it.name ?? ''} after ${ms(it.at - at)}\n  ${text.replaceAll('\n', '\n  ')}`);
      return it;
    };
    const inChannel = (name, part) => (it) => it.kind === 'slack' && it.name === name && it.text.includes(part);

    await on.send('backend',
      { type: 'group', userId: 'u-1', groupId: 'acme', traits: { name: 'Acme' }, timestamp: ago({ days: 40 }) },
      { type: 'identify', userId: 'u-1', traits: { name: 'A shopper', email: 'shopper@acme.example' }, timestamp: ago({ days: 40 }) });

    // A browser can say that it has bought; nobody is told.
    await on.send('web', { event: 'Order Completed', userId: 'u-1', properties: { order_id: 'forged' } });
    let at = await on.send('backend', { event: 'Order Completed', userId: 'u-1', properties: { order_id: 'o-1', total: 120 } });
    await told('purchase completed', at, 'the sales system', (it) => it.kind === 'webhook' && it.name === 'sales');

    const built = { event: 'Report Built', userId: 'u-1', properties: { report: 'Revenue by month' } };
    at = await on.send('web', built);
    await told('feature first used', at, 'the first report', inChannel('success', 'first report'));
    await on.send('web', { ...built, properties: { report: 'the second' } });

    // A week and two seconds from now it ends.
    const endsAt = new Date(Date.now() + WEEK_MS + 2000).toISOString();
    at = await on.send('backend', { event: 'Subscription Started', userId: 'u-1', properties: { plan: 'yearly', renews: false, ends_at: endsAt } });
    await told('subscription about to expire (a week and two seconds before its end)', at, 'the reminder', (it) => it.kind === 'mail');

    at = await on.send('backend', { event: 'Ticket Opened', userId: 'u-1', properties: { ticket_id: 'T-7', subject: 'No invoice' } });
    await told('support ticket opened', at, 'the ticket', inChannel('support', 'No invoice'));

    await on.send('web', { event: 'Signed In', userId: 'u-1', timestamp: ago({ days: 9 }) });
    at = await on.send('web', { event: 'Signed In', userId: 'u-1' });
    await told('login after a long absence', at, 'the return', inChannel('success', 'is back'));
    await on.send('web', { event: 'Signed In', userId: 'u-1' });

    const flagged = await on.until('the flags', async () => {
      const { traits } = await on.person('u-1');
      return traits.customer && traits.returned_after_absence && traits;
    });
    say(`\nFlags of the person: customer ${flagged.customer.value}, returned_after_absence ${flagged.returned_after_absence.value}`);
    const firings = await on.until('all to be done', async () => {
      const all = await on.firings();
      return all.every((it) => it.actions.every((action) => action.state === 'accepted')) && all;
    });
    say(`Firings: ${firings.map((it) => it.rule).reverse().join(', ')}`);
    return { done, firings, flagged, received: on.received };
  } finally {
    await on.end();
  }
}

main(import.meta.url, play);
