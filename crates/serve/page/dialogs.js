// Questions that need an answer before anything else: a text, a key, a yes. The browser's own <dialog> keeps the focus in
// and gives it back; Escape is "no", and so is a press beside it. One question stands at a time, another waits for it.

import { byId } from './dom.js';

let last = Promise.resolve();

/** Asks for a text, or with `field: null` for a yes; resolves to the text (or true), or to null. */
export function ask(question) {
  last = last.then(() => stand(question));
  return last;
}

function stand({ title, text = '', field = null, value = '', action, danger = false }) {
  const dialog = byId('ask');
  const input = byId('ask-value');
  const button = byId('ask-do');
  byId('ask-title').textContent = title;
  byId('ask-text').textContent = text;
  byId('ask-text').hidden = text === '';
  input.hidden = field === null;
  input.type = field ?? 'text';
  input.value = value;
  button.textContent = action;
  button.classList.toggle('danger', danger);
  return open(dialog, () => (field === null ? true : input.value)).finally(() => { input.value = ''; });
}

/** Opens a dialog of the page; resolves to what `read` gives on submit (which throws to refuse), or to null. */
export function open(dialog, read) {
  const form = dialog.querySelector('form');
  return new Promise((resolve) => {
    let result = null;
    const submit = (event) => {
      event.preventDefault();
      result = read();
      if (result !== undefined) dialog.close();
    };
    let beside = false; // whether the last press began beside the dialog: text may be selected beyond its edge
    const press = (event) => { beside = event.target === dialog && !contains(dialog, event); };
    const cancel = (event) => {
      if ((beside && event.target === dialog) || event.target.closest('[data-cancel]')) dialog.close();
    };
    const closed = () => {
      form.removeEventListener('submit', submit);
      dialog.removeEventListener('pointerdown', press);
      dialog.removeEventListener('click', cancel);
      resolve(result);
    };
    form.addEventListener('submit', submit);
    dialog.addEventListener('pointerdown', press);
    dialog.addEventListener('click', cancel);
    dialog.addEventListener('close', closed, { once: true });
    dialog.showModal();
    dialog.querySelector('input:not([hidden]), textarea, .primary')?.select?.();
  });
}

function contains(dialog, { clientX: x, clientY: y }) {
  const { left, right, top, bottom } = dialog.getBoundingClientRect();
  return x >= left && x <= right && y >= top && y <= bottom;
}

/** Menus: opened by their summary, closed by a choice, by Escape or by a click elsewhere. */
export function watchMenus() {
  const menus = [...document.querySelectorAll('details.menu')];
  document.addEventListener('click', (event) => {
    for (const menu of menus) {
      if (menu.open && (!menu.contains(event.target) || event.target.closest('.menu-items'))) menu.open = false;
    }
  });
  for (const menu of menus) {
    menu.addEventListener('keydown', (event) => {
      const items = [...menu.querySelectorAll('.menu-items :is(a, button:not(:disabled))')];
      const at = items.indexOf(document.activeElement);
      if (event.key === 'Escape' && menu.open) {
        menu.open = false;
        menu.querySelector('summary').focus();
        event.stopPropagation();
      } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
        menu.open = true;
        items.at((at + (event.key === 'ArrowDown' ? 1 : at < 0 ? 0 : -1)) % items.length)?.focus();
        event.preventDefault();
      }
    });
  }
}
