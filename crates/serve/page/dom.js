// Elements, icons and the clipboard: the few lines that every view of the page builds with.
//
// `el` sets attributes and appends children; a string child becomes a text node, never HTML. Icons are drawn by the
// symbols at the foot of index.html. Left out: any diffing; views change what they know has changed.

/** An element with attributes (true: present, false or null: absent) and children (elements or text). */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children);
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

/** An icon that only repeats what a label beside it says. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button of an icon alone, with its label for readers of the screen and as a tooltip. */
export function iconButton(name, label, onClick, attributes = {}) {
  const button = el('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label, ...attributes }, icon(name));
  button.addEventListener('click', onClick);
  return button;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Puts text on the clipboard, also where the page is not a secure context (plain http from another machine). */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el('textarea', { readonly: true, class: 'off-screen', 'aria-hidden': 'true' });
    area.value = text;
    (document.querySelector('dialog[open]') ?? document.body).append(area);
    const focused = document.activeElement;
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    focused?.focus();
    return copied;
  }
}

/** Gives the browser a file to keep. */
export function saveFile(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el('a', { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
