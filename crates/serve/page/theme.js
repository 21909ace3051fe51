// Dark, light, or as the system has it: the three states of one switch, kept where the browser lets us.

import { preferences } from './store.js';

const THEMES = ['system', 'light', 'dark'];

/** Goes on to the next state and returns its name. */
export function nextTheme() {
  const root = document.documentElement;
  const theme = THEMES[(THEMES.indexOf(root.dataset.theme ?? 'system') + 1) % THEMES.length];
  if (theme === 'system') delete root.dataset.theme;
  else root.dataset.theme = theme;
  preferences.set('theme', theme === 'system' ? null : theme);
  return theme;
}
