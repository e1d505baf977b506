// What pages do in a browser beside htmx: the reader's own time, the time where a person is, whether the page is live.
// Promises that a page without it says the same in UTC, and that it asks nothing of anyone. It does not know what a page shows.

const clock = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });
const seconds = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const day = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
const DAY = { day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' };
const whole = new Intl.DateTimeFormat(undefined, DAY);
const exact = new Intl.DateTimeFormat(undefined, { ...DAY, fractionalSecondDigits: 3, timeZoneName: 'short' });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: 'auto', style: 'short' });

const STEPS = [['second', 60], ['minute', 60], ['hour', 24], ['day', 30], ['month', 12], ['year', Infinity]];
const ROWS = 200; // in the live view: what a reader scrolls through, not what a browser bears

function since(date) {
  let past = (date - Date.now()) / 1000;
  if (past > -45) return 'just now'; // seconds that count on are unrest
  for (const [unit, size] of STEPS) {
    if (Math.abs(past) < size) return ago.format(Math.round(past), unit);
    past /= size;
  }
  return day.format(date);
}

function say(element, text) {
  // What is as it should be is left alone: each change is seen by the observer below.
  if (element.textContent !== text) element.textContent = text;
}

/** How the times of a list are told: to the second where one minute has several of them. */
function clockOf(list) {
  const times = [...list.querySelectorAll('time[data-clock]')].map((time) => time.dateTime.slice(0, 16));
  return times.some((time, at) => time === times[at + 1]) ? seconds : clock;
}

function tellTimes() {
  const clocks = new Map();
  const clockIn = (list) => {
    if (!clocks.has(list)) clocks.set(list, list ? clockOf(list) : clock);
    return clocks.get(list);
  };
  for (const element of document.querySelectorAll('time[datetime]')) {
    const date = new Date(element.dateTime);
    if (Number.isNaN(date.getTime())) continue;
    const { clock: isClock, ago: isAgo, day: isDay } = element.dataset;
    say(element, isClock !== undefined ? clockIn(element.closest('ol, ul')).format(date) : isAgo !== undefined ? since(date) : isDay !== undefined ? day.format(date) : whole.format(date));
    const title = exact.format(date);
    if (element.title !== title) element.title = title;
  }
  for (const element of document.querySelectorAll('[data-country]')) {
    try {
      say(element, new Intl.DisplayNames(undefined, { type: 'region' }).of(element.dataset.country));
    } catch { /* no code of a country: what was said stays */ }
  }
  for (const element of document.querySelectorAll('[data-zone]')) {
    try {
      const there = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit', weekday: 'short', timeZone: element.dataset.zone });
      say(element, `${there.format(new Date())} where they are (${element.dataset.zone})`);
    } catch { /* no zone that this browser knows: its name stays */ }
  }
}

const PULSE = { on: 'Live', begins: 'Connecting', off: 'Not live, trying again' };
let pulse = 'begins';

function tellPulse() {
  for (const element of document.querySelectorAll('.pulse')) {
    if (element.dataset.state !== pulse) element.dataset.state = pulse;
    say(element.firstElementChild, PULSE[pulse]);
  }
}

for (const [event, state] of [['after:connection', 'on'], ['error', 'off'], ['close', 'off']]) {
  document.addEventListener(`htmx:sse:${event}`, () => {
    pulse = state;
    tellPulse();
  });
}
// A stream that has ended is begun again, with attempts that are counted.
document.addEventListener('htmx:sse:before:connection', (event) => {
  pulse = event.detail.connection.attempt > 0 ? 'off' : 'begins';
  tellPulse();
});

// The first connection is one request, which htmx does not try again.
const LONGEST_PAUSE_MS = 30_000;
const begun = new WeakSet();
let failures = 0;
document.addEventListener('htmx:sse:before:connection', ({ target }) => begun.add(target));
document.addEventListener('htmx:finally:request', ({ target }) => {
  const address = target.getAttribute?.('hx-sse:connect');
  if (!address || begun.has(target)) return;
  pulse = 'off';
  tellPulse();
  const pause = Math.min(LONGEST_PAUSE_MS, 500 * 2 ** failures++) * (0.75 + Math.random() / 2);
  setTimeout(() => target.isConnected && htmx.ajax('GET', address, { source: target, timeout: htmx.config.sse.connectTimeout }), pause);
});

document.addEventListener('keydown', (event) => {
  const isTyping = event.target.closest?.('input, select, textarea, [contenteditable]');
  if (event.key !== '/' || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.querySelector('#q, #find');
  if (!search) return;
  event.preventDefault();
  search.focus();
});

/** A visitor who signs in has a name then, on the tab as well. */
function tellTitle() {
  const name = document.querySelector('.name h1')?.textContent;
  const title = document.title.replace(/^.* · /, `${name} · `);
  if (name && document.title !== title) document.title = title;
}

function tidy() {
  tellTitle();
  tellTimes();
  tellPulse();
  const known = new Set();
  for (const row of document.querySelectorAll('#rows > li')) {
    // A stream that is begun again tells again what came since the page was opened.
    if (known.size >= ROWS || known.has(row.id)) row.remove();
    known.add(row.id);
  }
}

tidy();
new MutationObserver(tidy).observe(document.body, { childList: true, subtree: true, characterData: true });
setInterval(tellTimes, 15_000);
