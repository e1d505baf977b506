// Draws the stream: a row for each journey, its two legs, and its JSON when it is opened. All text is set as text.
// Promises: rows are updated in place (an open one stays open), and only the newest are kept in the page.

import { duration, title } from './journeys.js';

const ROWS = 200; // more than anybody scrolls; the totals count all

export function createStream(list) {
  const rows = new Map(); // key → row

  return {
    /** @param {Array<object>} journeys newest first */
    draw(journeys, now) {
      const shown = journeys.slice(0, ROWS);
      const keys = new Set(shown.map((j) => j.key));
      for (const [key, row] of rows) if (!keys.has(key)) { row.element.remove(); rows.delete(key); }
      let before = list.firstElementChild;
      for (const journey of shown) {
        let row = rows.get(journey.key);
        if (!row) rows.set(journey.key, (row = createRow()));
        row.update(journey, now);
        if (row.element === before) before = before.nextElementSibling;
        else list.insertBefore(row.element, before);
      }
    },
    /** Only the clocks of those that wait. */
    tick(now) {
      for (const row of rows.values()) row.tick(now);
    },
  };
}

function createRow() {
  const name = el('b', 'name'), detail = el('span', 'detail'), time = el('time'), total = el('span', 'total');
  const first = el('span', 'leg first'), second = el('span', 'leg second');
  const firstText = el('em'), secondText = el('em');
  first.append(firstText);
  second.append(secondText);
  const line = el('span', 'line');
  line.append(el('i', 'click'), first, el('i', 'stored'), second, el('i', 'delivered'));
  line.setAttribute('aria-hidden', 'true');
  const spoken = el('span', 'hidden');
  const summary = el('summary');
  summary.append(name, detail, total, time, line, spoken);
  const details = el('details');
  details.append(summary);
  const element = el('li');
  element.append(details);
  element.className = 'new'; // only now: a list that is shown again must not arrive again
  element.addEventListener('animationend', (event) => { if (event.target === element) element.className = ''; });

  let current = null;
  let drawnAs = '';
  details.addEventListener('toggle', showJson);

  function showJson() {
    details.querySelector('pre')?.remove();
    if (details.open) details.append(current.event ? json(current.event) : waitingNote());
  }

  function tick(now) {
    if (current?.state === 'waiting') firstText.textContent = `${current.id ? 'on this device' : 'not confirmed yet'}, ${duration(now - current.clickedAt)}`;
  }

  return {
    element,
    tick,
    update(journey, now) {
      current = journey;
      const as = `${journey.state} ${journey.id} ${journey.storedAt} ${journey.elsewhere}`;
      if (as === drawnAs) return;
      drawnAs = as;
      const { state, clickedAt, storedAt, deliveredAt } = journey;
      element.dataset.state = state;
      if (journey.id) element.dataset.id = journey.id;
      name.textContent = title(journey);
      detail.textContent = [journey.detail, journey.elsewhere && 'from elsewhere'].filter(Boolean).join(' · ');
      time.textContent = new Date(clickedAt).toLocaleTimeString([], { hour12: false });
      time.dateTime = new Date(clickedAt).toISOString();
      total.textContent = deliveredAt ? duration(deliveredAt - clickedAt) : '';
      if (storedAt) firstText.textContent = duration(storedAt - clickedAt);
      secondText.textContent = deliveredAt ? duration(deliveredAt - storedAt) : state === 'stored' ? 'on its way' : '';
      first.style.flexGrow = storedAt ? share(storedAt - clickedAt) : 3;
      second.style.flexGrow = deliveredAt ? share(deliveredAt - storedAt) : 1;
      spoken.textContent = state === 'delivered' ? `stored after ${firstText.textContent}, delivered ${secondText.textContent} later`
        : state === 'stored' ? 'stored, not yet delivered' : 'waits on this device';
      tick(now);
      if (details.open) showJson();
    },
  };
}

// A leg's share of the line: logarithmic, or a wait of a minute would leave no room for one of 5 ms.
const share = (ms) => Math.log10(Math.max(1, ms) + 1) + 0.35;

function waitingNote() {
  const pre = el('pre');
  pre.textContent = 'It is in the storage of this device. What it says will show here once the collector has it.';
  pre.className = 'note';
  return pre;
}

// Pretty JSON; each token is an element with its text, never markup.
function json(value) {
  const pre = el('pre');
  pre.tabIndex = 0;
  const source = JSON.stringify(value, null, 2);
  for (const [token, key, string, rest] of source.matchAll(/("(?:[^"\\]|\\.)*")(?=:)|("(?:[^"\\]|\\.)*")|(-?\d[\d.eE+-]*|true|false|null)|[^"\d-]+?(?=["\d-]|true|false|null|$)|./gs)) {
    const part = el('span', key ? 'key' : string ? 'string' : rest ? 'number' : '');
    part.textContent = token;
    pre.append(part);
  }
  return pre;
}

function el(tag, className = '') {
  const element = document.createElement(tag);
  if (className) element.className = className;
  return element;
}
