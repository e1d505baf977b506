// An account that is about to leave: what it does over two weeks, and the message to the success team.
//
//   node play.mjs       (HEADWATER=path/to/headwater; default ../../../target/debug/headwater)
//
// What happened days ago is sent with the time at which it happened: features count by that time.

import { ago, main, ms, stage } from '../stage.mjs';

const folder = new URL('.', import.meta.url).pathname;

/** Plays it; what came of it. */
export async function play(say) {
  const on = await stage({ folder, slack: ['success'] });
  try {
    const of = (account, user, event) => ({ userId: user, ...event, context: { groupId: account } });
    const account = (id, name) => [
      { type: 'group', userId: `main of ${id}`, groupId: id, traits: { name, domain: `${id}.example`, plan: 'Team' }, timestamp: ago({ days: 60 }) },
      { type: 'identify', userId: `main of ${id}`, traits: { name: `Main user of ${name}`, email: `main@${id}.example` }, timestamp: ago({ days: 60 }) },
      of(id, `main of ${id}`, { event: 'Report Built', timestamp: ago({ days: 30 }) }),
      of(id, `main of ${id}`, { event: 'Report Built', timestamp: ago({ days: 12 }) }),
      of(id, `colleague of ${id}`, { event: 'Invoice Seen', timestamp: ago({ days: 20 }) }),
    ];
    await on.send('backend', ...account('acme', 'Acme'), ...account('globex', 'Globex'));
    say('Two accounts. In both, nobody has built a report for twelve days.');
    for (const hours of [70, 40, 20]) {
      await on.send('web', of('acme', 'main of acme', { event: 'Signed Out', properties: { seconds: 50 }, timestamp: ago({ hours }) }));
    }
    say('Acme: three visits this week of less than two minutes each.');
    await on.send('web',
      of('acme', 'main of acme', { type: 'page', name: 'Pricing', timestamp: ago({ hours: 20 }) }),
      of('globex', 'main of globex', { type: 'page', name: 'Pricing', timestamp: ago({ hours: 20 }) }));
    say('Both looked at the prices yesterday.');
    const quiet = await on.firings({ rule: 'churn' });
    const at = await on.send('web', of('acme', 'main of acme', { type: 'page', name: 'Cancel' }));
    const first = await on.comes('the message about Acme', (it) => it.kind === 'slack' && it.text.includes('Acme'));
    say(`Acme: somebody opens the cancellation page. Slack, ${ms(first.at - at)} later:\n\n  ${first.text.replaceAll('\n', '\n  ')}\n`);

    await on.send('backend', ...[3, 9, 15].map((days) => of('globex', 'main of globex', { event: 'Email Delivered', timestamp: ago({ days }) })));
    say('Globex: three e-mails this month, none of them opened.');
    await on.send('web', of('globex', 'main of globex', { type: 'page', name: 'Cancel', timestamp: ago({ minutes: 20 }) }));
    const left = await on.send('backend', of('globex', 'main of globex', { type: 'identify', traits: { email: 'somebody@private.example' } }));
    const second = await on.comes('the message about Globex', (it) => it.kind === 'slack' && it.text.includes('Globex'));
    say(`Globex: its main user takes a private address. Slack, ${ms(second.at - left)} later:\n\n  ${second.text.replaceAll('\n', '\n  ')}\n`);

    // Another look at the way out is no news.
    await on.send('web', of('acme', 'main of acme', { type: 'page', name: 'Cancel' }));
    const firings = await on.until('all to be done', async () => {
      const all = await on.firings();
      return all.every((it) => it.actions.every((action) => action.state !== 'pending')) && all;
    });
    say(`Firings: ${firings.map((it) => `${it.rule} of ${it.account}`).reverse().join(', ')}`);
    return { quiet, took: [first.at - at, second.at - left], firings, received: on.received };
  } finally {
    await on.end();
  }
}

main(import.meta.url, play);
