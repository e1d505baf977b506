// The experiment: the collector goes down, clicks go on, it comes back. Remembers which clicks were waiting, and says when
// all of them have arrived. Pure: it is told times and journeys; it draws nothing.

/** States: up (nothing tried yet) → down → back (arriving) → proven; and again. */
export function createTrial() {
  let state = 'up';
  let waited = new Set(); // keys of the journeys that were on the device only, while it was down
  let downAt = 0, backAt = 0, provenAt = 0;

  return {
    /**
     * @param {boolean} up              whether the collector answers
     * @param {Array<object>} journeys  from `join`
     * @param {number} now              unix ms
     */
    update(up, journeys, now) {
      if (!up && state !== 'down') {
        state = 'down';
        downAt = now;
        waited = new Set();
      }
      if (up && state === 'down') {
        state = 'back';
        backAt = now;
        // Clicks of the last moment before it answered have waited too.
        for (const j of journeys) if (!j.elsewhere && j.state === 'waiting') waited.add(j.key);
      }
      if (state === 'down') for (const j of journeys) if (!j.elsewhere && j.state === 'waiting') waited.add(j.key);
      const arrived = journeys.filter((j) => waited.has(j.key) && j.state === 'delivered').length;
      if (state === 'back' && arrived === waited.size) {
        state = 'proven';
        provenAt = now;
      }
      return { state, waited: waited.size, arrived, downMs: (state === 'down' ? now : backAt) - downAt, drainMs: provenAt - backAt };
    },
  };
}

/** What to tell the person at the page, in two sentences. */
export function words({ state, waited, arrived, downMs, drainMs }, { duplicates, repeated }, duration) {
  const events = (n) => (n === 1 ? '1 event' : `${n} events`);
  switch (state) {
    case 'down':
      return [waited === 0 ? 'The collector is down.' : `${events(waited)} ${waited === 1 ? 'waits' : 'wait'} on this device.`,
        waited === 0 ? 'Go on clicking in the shop: nothing you do there depends on it.' : 'The collector is down. Go on clicking, change pages, reload the shop. Then start it again.'];
    case 'back':
      return [`It is back: ${arrived} of ${waited} have arrived.`, 'The device sends what it kept, in order. It asks again after a pause that grows with the outage.'];
    case 'proven':
      if (waited === 0) return ['It is back. Nothing had to wait.', `It was down for ${duration(downMs)}. Next time, click a little in between.`];
      return [waited === 1 ? 'The one that waited arrived, once.' : `All ${waited} that waited arrived, each once.`,
        `Down for ${duration(downMs)}; the last one came ${duration(drainMs)} after it was back. `
        + (duplicates ? `${events(duplicates)} stored twice: that is a bug, please tell us.` : 'None is in the log twice.')
        + (repeated ? ` ${repeated === 1 ? 'One delivery was' : `${repeated} deliveries were`} repeated, and recognised by the webhook-id.` : '')];
    default:
      return ['Try to lose a click.', 'Kill the collector, go on clicking in the shop, then start it again. Every click will be here, once.'];
  }
}
