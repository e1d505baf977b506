// A card is used at night, in a country where its holder never was, for more than ever before.
//
//   node play.mjs       (HEADWATER=path/to/headwater; default ../../../target/debug/headwater)

import { ago, main, ms, stage, zoneWhereItIs } from '../stage.mjs';

const folder = new URL('.', import.meta.url).pathname;

/** Plays it; what came of it. */
export async function play(say) {
  const on = await stage({ folder, webhooks: ['cards'], texts: ['texts'], slack: ['fraud'] });
  try {
    // 2:47 is when the story is set; it is played in a time zone in which it is between two and three now.
    const timezone = zoneWhereItIs(2);
    const used = (user, properties, timestamp) => ({
      event: 'Card Used', userId: user, timestamp, context: { timezone }, properties: { currency: 'EUR', ...properties },
    });
    for (const holder of ['holder-1', 'holder-2']) {
      const phone = holder === 'holder-1' ? '+351210000001' : '+351210000002';
      await on.send('backend',
        { type: 'identify', userId: holder, traits: { phone }, context: { timezone }, timestamp: ago({ days: 30 }) },
        used(holder, { country: 'PT', amount: 40 }, ago({ days: 20, hours: 12 })),
        used(holder, { country: 'ES', amount: 120 }, ago({ days: 10, hours: 12 })));
    }
    say(`Two cardholders, seen in PT and ES, at most 120 EUR. Where they live (${timezone}) it is between two and three at night.`);

    const strange = (user) => used(user, { country: 'TH', amount: 900 }, undefined);
    const refused = await on.decide('web', strange('holder-2'));
    say(`\nFrom a client key: ${refused.status} ${refused.answer.error.code}. Nobody decides for whoever has the page's key.`);
    await on.send('web', strange('holder-2'));

    const usual = await on.decide('backend', used('holder-1', { country: 'PT', amount: 30 }));
    say(`30 EUR in PT: ${usual.answer.decision}, ${ms(usual.tookMs)}`);
    const { answer, tookMs, at } = await on.decide('backend', strange('holder-1'));
    say(`900 EUR in TH: ${answer.decision} by ${answer.by}, ${ms(tookMs)}`);
    for (const reason of answer.firings[0]?.why.conditions ?? []) {
      say(`  ${reason.text}   ${JSON.stringify(reason.of ?? {})}`);
    }
    const frozen = await on.comes('the webhook that freezes the card', (it) => it.kind === 'webhook');
    say(`webhook to the card system, signed, after ${ms(frozen.at - at)}: ${frozen.event.rule.name} for ${frozen.event.person.name}`);
    const text = await on.comes('the text', (it) => it.kind === 'sms');
    say(`text to ${text.to} after ${ms(text.at - at)}: ${text.text}`);
    const watched = await on.comes('the fraud team', (it) => it.kind === 'slack');
    say(`Slack to the fraud team after ${ms(watched.at - at)}:\n  ${watched.text.replaceAll('\n', '\n  ')}`);

    const fired = await on.until('all that the rule does', async () => {
      const [it] = await on.firings({ rule: 'freeze_card' });
      return it?.actions.every((action) => action.state !== 'pending') && it;
    });
    say(`What it did: ${fired.actions.map((action) => `${action.kind} ${action.state}`).join(', ')}`);
    const flagged = await on.until('the flag', async () => {
      const known = await on.person('holder-1');
      return known.traits?.card_frozen && known;
    });
    const all = await on.firings({ rule: 'freeze_card' });
    say(`Firings of the rule: ${all.length}, of the holder with the forged event: ${all.filter((it) => it.name === 'holder-2').length}`);
    return { refused, usual, decided: { answer, tookMs }, at, received: on.received, fired, all, flagged };
  } finally {
    await on.end();
  }
}

main(import.meta.url, play);
