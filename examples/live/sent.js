// Draws what rules have sent to others than the shopper: the success team's channel, a mailbox. All text is set as text.
// Promises: each once, however often the demo tells of it; the newest first, and only some of them.

const MOST = 20;
const NAMES = { slack: 'Slack', email: 'E-mail' };

/** @param {HTMLElement} box a section with a list in it, hidden while there is nothing */
export function createSent(box) {
  const list = box.querySelector('ol');
  const known = new Set();
  return {
    /** @param {{ kind: 'slack' | 'email', at: string, to: string, title: string, lines: string[] }} message */
    add({ kind, at, to, title, lines }) {
      const key = `${at} ${to} ${title}`;
      if (known.has(key)) return; // told again to a page that connects again
      known.add(key);
      box.hidden = false;
      const item = el('li');
      const head = el('p', 'head');
      const time = el('time', '', new Date(at).toLocaleTimeString([], { hour12: false }));
      time.dateTime = at;
      head.append(el('b', kind, NAMES[kind] ?? kind), el('span', '', to), time);
      const text = el('p', 'text');
      text.textContent = kind === 'slack' ? plain(lines) : lines.join('\n');
      item.append(head, el('p', 'title', title), text);
      list.prepend(item);
      while (list.children.length > MOST) list.lastElementChild.remove();
    },
  };
}

/** Without Slack's marks for bold and italics, and with the three letters that it wants escaped. */
const plain = (lines) =>
  lines.join('\n').replace(/[*_]/g, '').replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&amp;/g, '&').replace(/\n{3,}/g, '\n\n').trim();

function el(tag, className = '', text = '') {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}
