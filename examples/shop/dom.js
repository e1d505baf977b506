// Makes elements. Text only ever becomes text (`append` makes text nodes), so nothing that is typed or stored can turn
// into markup.

/** `h('a.button', { href: '…', onclick }, 'text', child, …)`; null and false children are left out. */
export function h(what, props, ...children) {
  const [tag, ...classes] = what.split('.');
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(' ');
  for (const [name, value] of Object.entries(props ?? {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== false && child !== undefined));
  return element;
}

export const $ = (selector) => document.querySelector(selector);
