// What a reader of the screen is told: sentences put into a live region, the oldest of which are taken away again.

import { byId, el } from './dom.js';

const KEPT_MAX = 12;

export function announce(text) {
  const region = byId('announcements');
  if (text.trim() !== '') region.append(el('p', {}, text));
  while (region.childElementCount > KEPT_MAX) region.firstElementChild.remove();
}

/** A note at the foot of the window, for some seconds, with something that can be done about it. */
export function notify(text, action = null) {
  const box = byId('notes');
  const note = el('div', { class: 'note' }, el('span', {}, text));
  const away = () => {
    clearTimeout(timer);
    note.remove();
  };
  const timer = setTimeout(away, action ? 10_000 : 6_000);
  if (action) {
    const button = el('button', { type: 'button', class: 'text-button' }, action.label);
    button.addEventListener('click', () => {
      away();
      action.run();
    });
    note.append(button);
  }
  box.replaceChildren(note);
}
