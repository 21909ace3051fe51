// The keyboard: one table of keys and what they do, which is also what the dialog shows.
//
// Keys are told apart by their place (`code`), so that Alt with a letter works where it would type a sign. On a Mac, where
// Option with a letter is how some languages are written, those rows take Ctrl instead. A key without either only counts
// outside of fields. `name` is an action of main.js; rows without one are told but handled where
// they happen.

import { byId, el } from './dom.js';
import { open } from './dialogs.js';

export const SHORTCUTS = [
  { keys: 'Enter', does: 'Send' },
  { keys: 'Shift Enter', does: 'New line' },
  { keys: '↑', does: 'Edit the last message, from an empty field' },
  { keys: 'Esc', does: 'Stop the answer' },
  { keys: 'Alt N', code: 'KeyN', alt: true, name: 'newChat', does: 'New chat' },
  { keys: 'Alt K', code: 'KeyK', alt: true, name: 'find', does: 'Find a chat' },
  { keys: 'Alt ↑', code: 'ArrowUp', alt: true, name: 'before', does: 'The chat above in the list' },
  { keys: 'Alt ↓', code: 'ArrowDown', alt: true, name: 'behind', does: 'The chat below in the list' },
  { keys: 'Alt B', code: 'KeyB', alt: true, name: 'side', does: 'Show or hide the list' },
  { keys: 'Alt R', code: 'KeyR', alt: true, name: 'regenerate', does: 'Make the last answer again' },
  { keys: 'Alt C', code: 'KeyC', alt: true, name: 'copyLast', does: 'Copy the last answer' },
  { keys: 'Alt O', code: 'KeyO', alt: true, name: 'thinking', does: 'Open or fold the last thinking' },
  { keys: 'Alt M', code: 'KeyM', alt: true, name: 'model', does: 'Choose the model' },
  { keys: 'Alt P', code: 'KeyP', alt: true, name: 'route', does: 'Choose where answers come from' },
  { keys: 'Alt G', code: 'KeyG', alt: true, name: 'good', does: 'The last answer is good' },
  { keys: 'Alt J', code: 'KeyJ', alt: true, name: 'bad', does: 'The last answer is bad' },
  { keys: 'Alt S', code: 'KeyS', alt: true, name: 'settings', does: 'Settings of this chat' },
  { keys: 'Alt T', code: 'KeyT', alt: true, name: 'rename', does: 'Rename this chat' },
  { keys: 'Alt X', code: 'KeyX', alt: true, name: 'exportMarkdown', does: 'Export this chat as Markdown' },
  { keys: 'Alt Delete', code: 'Delete', alt: true, name: 'remove', does: 'Delete this chat' },
  { keys: 'Alt Z', code: 'KeyZ', alt: true, name: 'undo', does: 'Bring back what was deleted' },
  { keys: 'Alt L', code: 'KeyL', alt: true, name: 'theme', does: 'Light, dark, as the system' },
  { keys: 'PageUp', code: 'PageUp', inFields: true, name: 'pageUp', does: 'Read up' },
  { keys: 'PageDown', code: 'PageDown', inFields: true, name: 'pageDown', does: 'Read down' },
  { keys: '/', key: '/', name: 'write', does: 'To the message field' },
  { keys: 'F2  Delete', does: 'Rename or delete a chat in the list' },
  { keys: '?', key: '?', name: 'help', does: 'These shortcuts' },
  { keys: 'Alt H', code: 'KeyH', alt: true, name: 'help', does: 'These shortcuts, also from a field' },
];

const MAC = /Mac|iPhone|iPad/.test(navigator.platform);

function modifier({ alt = false, code = '' }) {
  return !alt ? null : MAC && code.startsWith('Key') ? 'Ctrl' : 'Alt';
}

/** Runs `actions[name]` for the keys of the table. */
export function listen(actions) {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing || event.metaKey || document.querySelector('dialog[open]')) return;
    if (event.key === 'Escape') {
      actions.escape();
      return;
    }
    const inField = event.target.closest?.('input, textarea, select');
    const found = SHORTCUTS.find((row) => row.name && (row.code ? row.code === event.code : row.key === event.key)
      && event.altKey === (modifier(row) === 'Alt') && event.ctrlKey === (modifier(row) === 'Ctrl')
      && (row.alt || row.inFields || !inField));
    if (!found) return;
    event.preventDefault();
    actions[found.name]();
  });
}

export function showShortcuts() {
  const rows = SHORTCUTS.flatMap((row) => [
    el('dt', {}, ...row.keys.replace('Alt', modifier(row) ?? 'Alt').split(' ').filter(Boolean).map((key) => el('kbd', {}, key))), el('dd', {}, row.does)]);
  byId('shortcut-rows').replaceChildren(...rows);
  return open(byId('shortcuts'), () => true);
}
