// A click in a real browser reaches a consumer, once, whatever dies on the way. Everything here is the real part: Chromium,
// the collector's binary, the receiver of ../receiver, the shop of ../shop.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inOrder, loaded, shopCalls, track, until, withLine } from './line.mjs';

/** Product page, cart, a click each; every page is a real navigation. */
async function shopAround(line, page) {
  await line.go(page, '');
  await page.locator('a[href*="product"]').first().click();
  await page.waitForURL(/product/);
  await loaded(page);
  await page.getByRole('button', { name: 'Add to cart' }).click();
  await page.getByRole('link', { name: /^cart/i }).first().click();
  await page.waitForURL(/cart/);
  await loaded(page);
}

test('every click in the shop is in the log and at the receiver, once and in order', () =>
  withLine(async (line) => {
    const page = await line.context.newPage();
    await shopAround(line, page);
    const calls = await shopCalls(page);
    await until('every call of the shop in the log', async () => {
      const log = await line.log();
      return log.length === calls.length || `${log.length} of ${calls.length}`;
    });
    const names = calls.map((call) => call.name);
    for (const name of ['Product Viewed', 'Product Added', 'Cart Viewed']) assert.ok(names.includes(name), `${name} in ${names}`);
    const log = await line.arrived(calls.map((call) => call.id).filter(Boolean));
    assert.deepEqual(log.map((record) => record.event ?? record.name), names, 'the log tells the visit as it was');
    assert.equal(new Set(log.map((record) => record.orderKey)).size, 1);
    assert.equal(await line.missing(), 0);
  }));

test('the collector is killed in the middle, the shopper goes on, and nothing is lost', () =>
  withLine(async (line) => {
    const page = await line.tab();
    const before = await track(page, 20, 'before');
    await line.arrived(before);
    // Killed while a burst is on its way.
    const during = track(page, 50, 'during');
    await line.demo.collector.kill();
    const down = [...(await during), ...(await track(page, 30, 'while it is down'))];
    await page.reload();
    await loaded(page);
    down.push(...(await track(page, 10, 'after a reload, still down')));
    await line.demo.collector.start();
    const after = await track(page, 5, 'after');
    const log = await line.arrived([...before, ...down, ...after]);
    inOrder(log, [...before, ...down, ...after]);
    assert.equal(await line.missing(), 0);
  }));

test('the tab crashes while the collector is down', () =>
  withLine(async (line) => {
    const page = await line.tab();
    await track(page, 3, 'up');
    await line.demo.collector.kill();
    const ids = await track(page, 40, 'down');
    const crashed = page.waitForEvent('crash');
    const cdp = await line.context.newCDPSession(page);
    cdp.send('Page.crash').catch(() => {}); // the page does not live to answer
    await crashed;
    await line.demo.collector.start();
    await line.tab(); // the shopper comes back
    const log = await line.arrived(ids);
    inOrder(log, ids);
    assert.equal(await line.missing(), 0);
  }));

test('three tabs at once, one of them closed, one queue without a gap', () =>
  withLine(async (line) => {
    const pages = await Promise.all([line.tab(), line.tab('pricing.html'), line.tab('support.html')]);
    const first = await Promise.all(pages.map((page, i) => track(page, 30, `tab ${i}`)));
    await pages[0].close(); // it was the first to come, and so the one that sends
    const second = await Promise.all(pages.slice(1).map((page, i) => track(page, 30, `tab ${i + 1} again`)));
    const log = await line.arrived([...first, ...second].flat());
    for (const ids of [first[0], [...first[1], ...second[0]], [...first[2], ...second[1]]]) inOrder(log, ids);
    const queues = new Set(log.map((record) => record.context.headwater?.queue).filter(Boolean));
    assert.equal(queues.size, 1, 'one browser is one queue');
    assert.equal(await line.missing(), 0);
  }));

test('the consumer is down for a while: the log goes on, and it gets everything when it is back', () =>
  withLine(async (line) => {
    const page = await line.tab();
    const before = await track(page, 5, 'before');
    await line.arrived(before);
    await line.demo.receiver.stop();
    const during = await track(page, 30, 'while the consumer is down');
    await until('the log has them all the same', async () => {
      const stored = new Set((await line.log()).map((record) => record.messageId));
      return during.every((id) => stored.has(id)) || stored.size;
    });
    await line.demo.receiver.start();
    const log = await line.arrived([...before, ...during]);
    inOrder(log, [...before, ...during]);
    const times = (await line.received()).deliveries.map((delivery) => delivery.event.messageId);
    assert.deepEqual(times.filter((id) => during.includes(id)), during, 'delivered in order');
  }));
