// Rules for a test of the console: a folder of rule files, a channel that takes their messages, and what sets them off.
// Promises to end the channel and to remove the folder. Knows no test.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { event, withConsole } from './console.mjs';

const FILES = {
  'churn.toml': `
[features.core_last]
on = "Report Built"
per = "account"
last = "event.time"

[features.cancel_looks_1d]
on = ["page:Pricing", "page:Cancel"]
per = "account"
count = true
window = "1d"

[scores.churn_risk]
per = "account"
description = "How close an account is to leaving"
terms = { core_gap = "days_since(features.core_last) / 22.0", cancel_page = "features.cancel_looks_1d > 0 ? 0.5 : 0.0", paid_lately = "-0.1" }

[rules.churn]
description = "An account that is about to leave"
crosses = { score = "churn_risk", above = 0.7, rearm_below = 0.5 }
then = [{ slack = "success", template = "churn.md", expires = "1h" }]
`,
  'churn.md': '+++\ntitle = "{{ account.name }} may leave"\n+++\nAsk **{{ account.main_user.name }}** how *reports* are going.\n',
  'orders.toml': `
caps.slack = { times = 100, within = "7d" }
[features.orders]
on = "Order Completed"
count = true

[features.spent]
on = "Order Completed"
sum = "event.properties.value"

[scores.loyalty]
description = "How often, and for how much"
terms = { often = "double(features.orders) * 0.4", much = "features.spent / 500.0" }
squash = "logistic"

[rules.large_order]
description = "An order that deserves a call"
on = "Order Completed"
if = ["event.properties.value > 1000", "features.orders >= 0"]
then = [{ slack = "success", template = "order.md" }]

[rules.second_look]
description = "Whether to ask for an opinion, tried out"
on = "Order Completed"
dry_run = true
percent = 20
then = [{ emit = "Opinion Wanted" }]

[rules.cart_abandoned]
description = "A cart that was left for an hour"
on = "Product Added"
without = { event = "Order Completed", within = "1h" }
enabled = false
then = [{ emit = "Cart Abandoned" }]
`,
  'orders.test.toml': `
[[test]]
name = "an order of more than a thousand"
events = [{ at = "0s", track = "Order Completed", user = "u-1", properties = { value = 1500 } }]
expect = [{ rule = "large_order" }, { rule = "second_look", held = "dry run" }]

[[test]]
name = "an order of ten is expected to be large"
events = [{ at = "0s", track = "Order Completed", user = "u-1", properties = { value = 10 } }]
expect = [{ rule = "large_order", user = "u-1" }, { rule = "second_look", held = "dry run" }]
`,
  'order.md': '+++\ntitle = "{{ person.name }} ordered"\n+++\nCall them.\n',
};

const DAY = 24 * 60;

/** Starts a console with these rules; `story` gets the desk and the channel. */
export async function withRules(story) {
  const folder = mkdtempSync(join(tmpdir(), 'headwater-rules-'));
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(folder, name), text);
  const channel = { status: 200, told: [] };
  const server = createServer((request, answer) => {
    let text = '';
    request.on('data', (piece) => { text += piece; });
    request.on('end', () => {
      channel.told.push(text);
      answer.writeHead(channel.status).end(channel.status === 200 ? 'ok' : 'invalid_payload');
    });
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const success = `[destinations.success]\nkind = "slack"\nwebhook_url = "http://127.0.0.1:${server.address().port}/"\nallow_private = true\n[consumers.warehouse]\nkind = "pull"\n`;
  try {
    await withConsole((desk) => story(desk, channel), { first: `rules = "${folder}"\n`, last: success });
  } finally {
    server.closeAllConnections();
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** An account that has not used the core of the product for so many days. */
export async function quiet(desk, account, name, user, person, days) {
  await desk.send('wk_support',
    event('group', days * DAY + 2, { userId: user, groupId: account, traits: { name } }),
    event('identify', days * DAY + 1, { userId: user, traits: { name: person } }),
    event('track', days * DAY, { userId: user, event: 'Report Built', context: { groupId: account } }));
}

/** Somebody of it looks at the page for leaving. */
export function leaving(desk, account, user) {
  return desk.send('wk_web', event('page', 0, { userId: user, name: 'Cancel', context: { groupId: account } }));
}

/** An order. */
export function order(desk, user, value) {
  return desk.send('wk_support', event('track', 0, { userId: user, event: 'Order Completed', properties: { value, currency: 'USD' } }));
}
