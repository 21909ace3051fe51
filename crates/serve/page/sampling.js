// The settings of a chat: one table of what a request may say about sampling, and nothing else.
//
// A value that is not set is not sent, so the server's default applies. `parse` takes what was typed and gives the value, or
// throws one sentence for the person at the form. A new setting is one more row.

const number = (min, max) => (text) => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < min || value > max) throw new Error(`a number from ${min} to ${max}`);
  return value;
};
const whole = (min, max) => (text) => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < min || value > max) throw new Error(`a whole number from ${min} to ${max}`);
  return value;
};
const oneOf = (options) => (text) => {
  if (!options.some(([value]) => value === text)) throw new Error('one of the choices');
  return text;
};
const lines = (most) => (text) => {
  const found = text.split('\n').filter((line) => line !== '').map((line) => line.replaceAll('\\n', '\n'));
  if (found.length > most) throw new Error(`${most} lines at most`);
  return found;
};

const OVERFLOW = [['error', 'Refuse to answer'], ['drop-oldest', 'Leave out the oldest']];

/** Rows of the form: `key` is the request's field. `kind` decides the control: a number's field, lines of text, a choice. */
export const SETTINGS = [
  { key: 'temperature', label: 'Temperature', hint: '0 takes the best token, always; higher is freer', kind: 'number', step: '0.05', parse: number(0, 100) },
  { key: 'top_p', label: 'Top p', hint: 'The best tokens with this probability together; 1: all', kind: 'number', step: '0.01', parse: number(1e-9, 1) },
  { key: 'top_k', label: 'Top k', hint: 'This many best tokens; 0: all', kind: 'number', step: '1', parse: whole(0, 2147483648) },
  { key: 'min_p', label: 'Min p', hint: 'Tokens at least this probable beside the best; 0: all', kind: 'number', step: '0.01', parse: number(0, 1) },
  { key: 'max_tokens', label: 'Most tokens', hint: 'An answer ends here at the latest', kind: 'number', step: '1', parse: whole(1, 2147483647) },
  { key: 'seed', label: 'Seed', hint: 'The same seed and text give the same answer', kind: 'number', step: '1', parse: whole(0, Number.MAX_SAFE_INTEGER) },
  { key: 'overflow', label: 'Too long a chat', hint: 'What to do when it no longer fits the context', kind: 'choice', options: OVERFLOW, parse: oneOf(OVERFLOW) },
  { key: 'stop', label: 'Stop at', hint: 'One text a line; \\n is a new line', kind: 'lines', parse: lines(16) },
];

/** What stands in the form for a value. */
export function shown(setting, value) {
  if (value === undefined || value === null) return '';
  return setting.kind === 'lines' ? value.map((line) => line.replaceAll('\n', '\\n')).join('\n') : String(value);
}

const FITS = {
  number: (value) => typeof value === 'number',
  lines: (value) => Array.isArray(value) && value.every((line) => typeof line === 'string'),
  choice: (value) => typeof value === 'string',
};

/** The fields of a request; also how settings from a file are checked: what is no valid setting is left out. */
export function requestFields(sampling) {
  const fields = {};
  for (const setting of SETTINGS) {
    const value = sampling?.[setting.key];
    if (!FITS[setting.kind](value)) continue;
    try {
      const checked = setting.parse(shown(setting, value));
      if (!Array.isArray(checked) || checked.length) fields[setting.key] = checked;
    } catch {
      // out of range: as if it had not been set
    }
  }
  return fields;
}
