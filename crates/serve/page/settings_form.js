// The form of a chat's settings: the system prompt and one field per row of sampling.js.
//
// An empty field means the server's default. What can't be is told beside its field, and the form stays open.

import { byId, el } from './dom.js';
import { open } from './dialogs.js';
import { SETTINGS, shown } from './sampling.js';

/** Asks for the settings of a chat, and, unless `feedback` is null, whether the server may learn; resolves to
 *  {system, sampling, asDefaults, feedback} or null. */
export function askSettings({ system, sampling }, feedback) {
  const dialog = byId('settings');
  const rows = SETTINGS.map((setting) => row(setting, sampling[setting.key]));
  byId('settings-rows').replaceChildren(...rows.map(({ node }) => node));
  byId('system').value = system;
  byId('as-defaults').checked = false;
  byId('feedback-row').hidden = feedback === null;
  byId('feedback').checked = feedback ?? false;
  dialog.querySelector('[data-reset]').onclick = () => {
    byId('system').value = '';
    for (const { input } of rows) input.value = '';
  };
  return open(dialog, () => read(rows));
}

const CONTROLS = {
  number: () => el('input', { type: 'number', step: 'any', inputmode: 'decimal', placeholder: 'default' }),
  lines: () => el('textarea', { rows: '2' }),
  choice: ({ options }) => el('select', {}, ...[['', 'default'], ...options].map(([value, name]) => el('option', { value }, name))),
};

function row(setting, value) {
  const id = `setting-${setting.key}`;
  const shape = CONTROLS[setting.kind](setting);
  shape.id = id;
  shape.setAttribute('aria-describedby', `${id}-hint`);
  shape.value = shown(setting, value);
  const hint = el('span', { class: 'hint', id: `${id}-hint` }, setting.hint);
  const label = el('label', { class: 'label', for: id }, setting.label);
  return { setting, input: shape, hint, node: el('div', { class: `row ${setting.kind}` }, label, shape, hint) };
}

/** What the form says, or undefined with the first mistake shown and focused. */
function read(rows) {
  const sampling = {};
  let wrong = null;
  for (const { setting, input, hint } of rows) {
    let mistake = input.validity.badInput ? 'a number' : null;
    if (!mistake && input.value.trim() !== '') {
      try {
        sampling[setting.key] = setting.parse(input.value);
      } catch (error) {
        mistake = error.message;
      }
    }
    hint.textContent = mistake ? `Expected ${mistake}` : setting.hint;
    hint.classList.toggle('wrong', mistake !== null);
    input.setAttribute('aria-invalid', String(mistake !== null));
    if (mistake) wrong ??= input;
  }
  wrong?.focus();
  const feedback = byId('feedback-row').hidden ? null : byId('feedback').checked;
  return wrong ? undefined : { system: byId('system').value, sampling, asDefaults: byId('as-defaults').checked, feedback };
}
