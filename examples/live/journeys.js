// Joins three independent accounts of the same clicks: what the page called (its ledger), what the collector's log holds,
// what the receiver got. Pure. Promises: each call becomes one journey, each event too, and no event stands for two
// calls; so a lost click shows as one that waits for ever, and a doubled one as a duplicate.

// A call whose page was left before the device's receipt came has no id; it is matched by type, name and time.
const MATCH_WITHIN_MS = 30_000;

/**
 * @param {object} accounts
 * @param {Array<{ key: string, at: number, type: string, name: string, about?: string, id?: string, failed?: string }>} accounts.calls
 * @param {Map<string, object>} accounts.stored     message id → record of the event log
 * @param {Map<string, { deliveredAt: string, event: object }>} accounts.delivered  message id → first delivery
 * @param {string[]} accounts.devices  the anonymous ids that this browser has now: only their events can be its calls
 * @returns {Array<object>} newest first: `{ key, id, type, name, detail, clickedAt, storedAt, deliveredAt, state, elsewhere, event }`;
 *   times in unix ms, `state` is waiting | stored | delivered
 */
export function join({ calls, stored, delivered, devices }) {
  const arrived = new Map(); // message id → the event, as far as it has come
  for (const [id, record] of stored) arrived.set(id, record);
  for (const [id, { event }] of delivered) arrived.set(id, event);

  const idOf = new Map(calls.filter((call) => call.id).map((call) => [call, call.id]));
  const claimed = new Set(idOf.values());
  const open = calls.filter((call) => !call.id);
  if (open.length) {
    const mine = new Set([...devices, ...[...claimed].map((id) => arrived.get(id)?.anonymousId)]);
    const free = [...arrived].filter(([id, event]) => !claimed.has(id) && mine.has(event.anonymousId));
    for (const call of open.sort((a, b) => a.at - b.at)) {
      let best = null;
      for (const [id, event] of free) {
        if (claimed.has(id) || event.type !== call.type || nameOf(event) !== call.name) continue;
        const apart = Math.abs(clickTime(event) - call.at);
        if (apart <= MATCH_WITHIN_MS && (!best || apart < best.apart)) best = { id, apart };
      }
      if (!best) continue;
      claimed.add(best.id);
      idOf.set(call, best.id);
    }
  }

  const journeys = calls.map((call) => journey(call, idOf.get(call)));
  for (const id of arrived.keys()) if (!claimed.has(id)) journeys.push(journey(null, id));
  return journeys.sort((a, b) => b.clickedAt - a.clickedAt || (a.key < b.key ? 1 : -1) /* keys of calls count up */);

  function journey(call, id) {
    const event = id === undefined ? null : arrived.get(id) ?? null;
    const delivery = id === undefined ? null : delivered.get(id) ?? null;
    return {
      key: call?.key ?? id, id, event,
      type: call?.type ?? event.type,
      name: call?.name ?? nameOf(event),
      detail: event ? detailOf(event) : call.about ?? '',
      clickedAt: event ? clickTime(event) : call.at,
      storedAt: event ? Date.parse(event.receivedAt) : null,
      deliveredAt: delivery ? Date.parse(delivery.deliveredAt) : null,
      state: delivery ? 'delivered' : event ? 'stored' : 'waiting',
      elsewhere: call === null, // from curl, another browser, an earlier run
    };
  }
}

/** The figures over the stream; `elsewhere` is left out of the first three. */
export function totals(journeys) {
  const own = journeys.filter((j) => !j.elsewhere);
  const stored = own.filter((j) => j.state !== 'waiting');
  const delivered = own.filter((j) => j.state === 'delivered');
  return {
    clicked: own.length,
    waiting: own.length - stored.length,
    stored: stored.length,
    delivered: delivered.length,
    elsewhere: journeys.length - own.length,
    medianFirstMs: median(stored.map((j) => j.storedAt - j.clickedAt)),
    medianSecondMs: median(delivered.map((j) => j.deliveredAt - j.storedAt)),
  };
}

/** The word for it in a row: the event's own name where it has one. */
export const title = ({ type, name }) => (type === 'track' ? name : type === 'page' ? `Page: ${name || 'no name'}` : type[0].toUpperCase() + type.slice(1));

const nameOf = (event) => (event.type === 'track' ? event.event : event.name) ?? '';

const clickTime = (event) => {
  const claimed = Date.parse(event.originalTimestamp ?? event.timestamp);
  return Number.isNaN(claimed) ? Date.parse(event.receivedAt) : claimed;
};

function detailOf({ type, properties = {}, traits = {}, context = {} }) {
  if (type === 'identify' || type === 'group') return text(traits.name);
  if (type === 'page') return text(properties.path ?? context.page?.path);
  if (properties.name) return properties.quantity > 1 ? `${properties.quantity} × ${properties.name}` : text(properties.name);
  if (typeof properties.total === 'number') return `$${properties.total.toLocaleString('en-US')}`;
  if (properties.query) return `“${properties.query}”`;
  if (properties.step) return `step ${properties.step}`;
  if (properties.plan) return text(properties.plan);
  if (properties.topic) return text(properties.topic);
  if (Array.isArray(properties.products)) return `${properties.products.length} ${properties.products.length === 1 ? 'product' : 'products'}`;
  return '';
}

const text = (value) => (typeof value === 'string' ? value : '');

function median(numbers) {
  if (numbers.length === 0) return null;
  return numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

/** `7 ms`, `4.2 s`, `2 min 5 s`. */
export function duration(ms) {
  const whole = Math.max(0, Math.round(ms));
  if (whole < 1000) return `${whole} ms`;
  if (whole < 60_000) return `${(whole / 1000).toFixed(1)} s`;
  return `${Math.floor(whole / 60_000)} min ${Math.round((whole % 60_000) / 1000)} s`;
}
