// Wires the live view: two streams in (the demo's, the receiver's), the shop's ledger, the buttons; one drawing out.
// Promises: a hidden tab holds no connection; nothing that arrives is ever markup.

import { calls, forget, onNote, devices } from '/shop/ledger.js';
import { duration, join, totals } from './journeys.js';
import { createSent } from './sent.js';
import { createStream } from './stream.js';
import { createTrial, words } from './trial.js';

const $ = (selector) => document.querySelector(selector);
const { run, token, receiver, collector, rules } = $('#demo').dataset;

const KEEP = 3000; // events held by this page; the oldest are forgotten
const stored = new Map();
const delivered = new Map();
const doubles = new Set(); // offsets of second copies that reached the receiver
let repeated = 0;
let state = null; // of the collector; null until the demo has told
let gone = false; // the demo itself does not answer
let trial = createTrial();
const stream = createStream($('#stream'));
const sent = createSent($('#sent'));

// A new run of the demo counts from zero.
if (localStorage.getItem('headwater-demo-run') !== run) {
  forget();
  localStorage.setItem('headwater-demo-run', run);
}

/* What comes in */

let sources = [];
function connect() {
  const demo = new EventSource('/demo/stream');
  demo.addEventListener('state', (message) => {
    state = JSON.parse(message.data);
    if (state.run !== run) return location.reload(); // the demo was started anew: another token, other ports
    gone = false;
    changed();
  });
  demo.addEventListener('stored', (message) => {
    const record = JSON.parse(message.data);
    keep(stored, record.messageId, record);
  });
  demo.addEventListener('sent', (message) => sent.add(JSON.parse(message.data)));
  demo.onerror = () => { gone = true; changed(); };
  const deliveries = new EventSource(`${receiver}/events`);
  deliveries.onmessage = (message) => {
    const delivery = JSON.parse(message.data);
    repeated = Math.max(repeated, delivery.repeated);
    const before = delivered.get(delivery.event.messageId);
    if (before && before.event.offset !== delivery.event.offset) doubles.add(delivery.event.offset);
    if (!before) keep(delivered, delivery.event.messageId, delivery);
    changed();
  };
  sources = [demo, deliveries];
}

function keep(map, id, value) {
  map.set(id, value);
  if (map.size > KEEP) map.delete(map.keys().next().value);
  changed();
}

connect();
document.addEventListener('visibilitychange', () => {
  for (const source of sources) source.close(); // browsers allow six connections to a host, for all tabs together
  sources = [];
  if (!document.hidden) connect();
});
onNote(changed);

/* What is drawn */

let due = false;
function changed() {
  if (due) return;
  due = true;
  // Not requestAnimationFrame: it stands still in a tab behind another, and the trial must not.
  setTimeout(() => { due = false; draw(); }, 16);
}

function draw() {
  const now = Date.now();
  const journeys = join({ calls: calls(), stored, delivered, devices: devices() });
  const sum = totals(journeys);
  const duplicates = Math.max(doubles.size, state?.storedTwice ?? 0);
  stream.draw(journeys, now);
  $('#nothing').hidden = journeys.length > 0;
  $('#tab-count').textContent = sum.delivered;

  total('clicked', sum.clicked, sum.waiting ? `${sum.waiting} waiting` : sum.elsewhere ? `and ${sum.elsewhere} from elsewhere` : 'in this browser', sum.waiting > 0);
  total('stored', sum.stored, sum.medianFirstMs === null ? 'fsynced' : duration(sum.medianFirstMs), false, sum.medianFirstMs !== null);
  total('delivered', sum.delivered, sum.medianSecondMs === null ? 'signed' : duration(sum.medianSecondMs), false, sum.medianSecondMs !== null);
  total('duplicates', duplicates, repeated ? `${repeated} repeat${repeated === 1 ? '' : 's'} ignored` : 'in the log', duplicates > 0);

  if (state === null) return;
  drawStatus();
  drawTrial(trial.update(state.up, journeys, now), { duplicates, repeated });
}

function total(name, number, note, alarm = false, isMedian = false) {
  const cell = $(`[data-total=${name}]`);
  cell.querySelector('dd').textContent = number;
  cell.querySelector('small').textContent = isMedian ? `${note} median` : note;
  cell.toggleAttribute('data-alarm', alarm);
}

function drawStatus() {
  const { up, running, pid } = state;
  const status = $('#status');
  status.dataset.state = gone ? 'gone' : up ? 'up' : 'down';
  status.querySelector('b').textContent = gone ? 'The demo has stopped' : up ? 'Collector up' : 'Collector down';
  status.querySelector('span').textContent = gone ? 'make run' : up ? (running ? `pid ${pid}` : 'started in a terminal') : collector.replace('http://', '');
}

/** Each word an element of its own, only when it has changed: someone may be selecting it. */
function drawCommand(command) {
  if ($('#command').textContent === command) return;
  $('#command').replaceChildren(...command.split(/( )/).map((word) => {
    const shown = document.createElement('span');
    shown.textContent = word;
    return word === ' ' ? ' ' : shown;
  }));
}

function drawTrial(result, counts) {
  const [heading, text] = words(result, counts, duration);
  $('#trial').dataset.state = result.state;
  if ($('#trial-title').textContent !== heading) $('#trial-title').textContent = heading;
  if ($('#trial-text').textContent !== text) $('#trial-text').textContent = text;
  const progress = $('#trial-progress');
  progress.hidden = result.state !== 'back';
  progress.value = result.waited ? result.arrived / result.waited : 0;
  $('#kill').disabled = gone || pressed || !state.up || !state.running;
  $('#start').disabled = gone || pressed || state.up;
  drawCommand(state.up ? (state.running ? `kill -9 ${state.pid}` : 'Ctrl-C where you started it') : state.startCommand);
  document.body.dataset.collector = state.up ? 'up' : 'down';
}

setInterval(() => stream.tick(Date.now()), 200);

/* The buttons */

let pressed = false;
async function press(button) {
  pressed = true;
  $('#problem').textContent = '';
  changed();
  try {
    const response = await fetch(`/demo/${button}`, { method: 'POST', headers: { 'x-demo-token': token } });
    if (!response.ok) $('#problem').textContent = await response.text();
  } catch {
    $('#problem').textContent = 'The demo does not answer. Is it still running in your terminal?';
  }
  pressed = false;
  changed();
}
$('#kill').addEventListener('click', () => press('kill'));
$('#start').addEventListener('click', () => press('start'));
$('#copy').addEventListener('click', async () => {
  await navigator.clipboard.writeText($('#command').textContent).catch(() => getSelection().selectAllChildren($('#command')));
  $('#copy').textContent = 'Copied';
  setTimeout(() => { $('#copy').textContent = 'Copy'; }, 1200);
});

/* The shop's frame */

const frame = $('#frame');
frame.addEventListener('load', () => {
  const { pathname, search } = frame.contentWindow.location;
  if (!pathname.startsWith('/shop/')) return;
  $('#address').textContent = pathname + search;
  $('#new-tab').href = pathname + search;
  sessionStorage.setItem('headwater-demo-page', pathname + search);
});
const last = sessionStorage.getItem('headwater-demo-page') ?? '/shop/';
frame.contentWindow.location.replace(last.startsWith('/shop/') ? last : '/shop/');
$('#back').addEventListener('click', () => frame.contentWindow.history.back());
$('#reload').addEventListener('click', () => frame.contentWindow.location.reload());

// The links of what to try lead into the frame; where only one part is seen, that is shown.
$('#try').hidden = !rules;
$('#try').addEventListener('click', ({ target }) => target.closest('li a') && select(tabs[0]));

/* On a narrow screen, tabs */

const tabs = [$('#tab-shop'), $('#tab-stream')];
function select(tab) {
  document.body.dataset.tab = tab === tabs[0] ? 'shop' : 'stream';
  for (const other of tabs) {
    other.setAttribute('aria-selected', String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
}
for (const tab of tabs) {
  tab.addEventListener('click', () => select(tab));
  tab.addEventListener('keydown', (event) => {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    const other = tabs[1 - tabs.indexOf(tab)];
    select(other);
    other.focus();
  });
}

draw();
