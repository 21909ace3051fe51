// Which model answers: the server's list in a plain select, with the open chat's own choice.
//
// The list is read when the page opens, when it is looked at again after the server could not be reached, and after a
// failed answer. A model that a chat remembers but the server has no more is not chosen.

import { byId, el } from './dom.js';
import { preferences } from './store.js';

export class ModelPicker {
  #api;
  #select = byId('model');
  #names = [];
  #wanted = '';
  #told;

  /** `chosen(model)` hears what the person picks, `told()` that the server has said what it is. */
  constructor(api, chosen, told) {
    this.#api = api;
    this.#told = told;
    this.#select.addEventListener('change', () => {
      this.#wanted = this.#select.value;
      preferences.set('model', this.#wanted);
      chosen(this.#wanted);
    });
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible' && this.#names.length === 0) this.refresh();
    });
  }

  /** The model that the next answer is asked of; empty where the server has told none. */
  get current() {
    return this.#select.value;
  }

  /** Shows a chat's model; an empty name is the one picked last. */
  show(model) {
    this.#wanted = model || preferences.get('model', '');
    const name = this.#names.includes(this.#wanted) ? this.#wanted : this.#names[0];
    if (name !== undefined) this.#select.value = name;
  }

  async refresh() {
    try {
      this.#names = await this.#api.models();
      this.#fill(this.#names.length ? null : 'no model');
      this.#told();
    } catch (error) {
      this.#names = [];
      this.#fill([401, 403].includes(error.status) ? 'no access' : 'no server');
    }
  }

  #fill(instead) {
    const options = this.#names.map((name) => el('option', { value: name }, name));
    this.#select.replaceChildren(...(instead ? [el('option', { value: '' }, instead)] : options));
    this.#select.disabled = instead !== null;
    this.show(this.#wanted);
  }
}
