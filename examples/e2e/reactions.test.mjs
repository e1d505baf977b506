// The demo as `make run` starts it, with its rules: what the shopper sees in the page, and what the success team and a mailbox get.
// In a real Chromium, with a real mail server; Slack's end takes what its incoming webhooks take.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { withLine } from './line.mjs';

const rules = fileURLToPath(new URL('../demo/rules', import.meta.url));

test('a declined card, a team that wants to leave and a cart that is left are answered while the shopper is there', { timeout: 150_000 }, () =>
  withLine(async (line) => {
    const live = await line.context.newPage();
    await live.goto(line.demo.url);
    // The shop beside the stream, as somebody has it who tries the demo: the page that is looked at is told.
    const frame = await live.waitForSelector('#frame');
    const shop = await frame.contentFrame();
    await shop.waitForURL('**/shop/**');
    // The start page says what there is to try, and leads there.
    const stories = live.locator('#try li a');
    assert.deepEqual(await stories.allInnerTexts(), ['Leave a cart', 'Start to leave', 'Have a card declined']);
    assert.equal(await live.locator('.people a', { hasText: 'Rules' }).getAttribute('href'), `${line.demo.collector.url}/console/rules`);
    for (const at of [0, 2]) {
      await stories.nth(at).click();
      await shop.waitForURL(`**${await stories.nth(at).getAttribute('href')}`);
      await shop.locator('#add').waitFor();
    }
    await stories.nth(1).click();
    await shop.waitForURL('**/shop/signin.html');
    await shop.fill('[name=name]', 'A Shopper');
    await shop.fill('[name=email]', 'shopper@customers.example');
    await shop.fill('[name=team]', 'Oar & Paddle');
    await shop.click('form [type=submit]');
    await shop.waitForURL((url) => !url.pathname.endsWith('signin.html'));

    // The cart is left from here on.
    await line.go(shop, 'product.html?id=map');
    await shop.click('#add');
    const added = Date.now();
    await line.go(shop, 'checkout.html');
    await shop.fill('[name=town]', 'Riverside');
    await shop.click('#next');
    await shop.click('#next');
    await shop.click('label:has-text("Card")');
    await shop.click('#next');
    const card = shop.locator('headwater-message [part=card]');
    await card.waitFor();
    assert.match(await card.textContent(), /Your payment did not go through.*order OX-/s);
    // The shop's own word of it is there at the same time: neither hides the other, nor what is to be pressed next.
    await shop.waitForSelector('#toast.shown');
    for (const [width, height] of [[1280, 720], [1400, 900], [390, 844]]) {
      await live.setViewportSize({ width, height });
      for (const name of ['#toast', '#next']) assert.ok(!overlap(await box(card), await box(shop.locator(name))), `${name} is behind the card at ${width} px`);
    }
    await live.setViewportSize({ width: 1400, height: 900 });
    await card.locator('[part=close]').click();

    await line.go(shop, 'pricing.html');
    await shop.click('#leave');
    const sent = live.locator('#sent li');
    await sent.filter({ hasText: 'Oar & Paddle may leave' }).waitFor();
    const slack = await sent.filter({ hasText: 'may leave' }).innerText();
    assert.match(slack, /Slack\s+#success/);
    assert.match(slack, /main user A Shopper/);
    assert.match(slack, /looks at prices/, 'the reasons');
    assert.match(slack, /What to say/);
    const shown = await box(sent.filter({ hasText: 'may leave' }));
    assert.ok(shown.y + shown.height < 900, 'the message is seen without scrolling');

    await card.filter({ hasText: 'Your cart is waiting' }).waitFor({ timeout: 60_000 });
    assert.ok(Date.now() - added >= 29_000, 'not before half a minute');
    await sent.filter({ hasText: 'E-mail' }).waitFor();
    const mail = await sent.filter({ hasText: 'E-mail' }).innerText();
    assert.match(mail, /shopper@customers\.example/);
    assert.match(mail, /Hello A Shopper/);
    await card.locator('[part=button]').click();
    await shop.waitForURL('**/shop/cart.html');

    // On a phone the buttons go over the whole width: the card is not on them, and whoever tries it again is answered again.
    await line.go(shop, 'product.html?id=map');
    await live.setViewportSize({ width: 390, height: 844 });
    await shop.click('#add');
    await card.filter({ hasText: 'Your cart is waiting' }).waitFor({ timeout: 60_000 });
    assert.ok(!overlap(await box(card), await box(shop.locator('#add'))), 'the card hides what adds to the cart');
  }, { rules }));

const box = (locator) => locator.boundingBox();
const overlap = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
