// Where answers may come from, as far as the person says: a select beside the model's, shown while the server has somebody else to ask.
//
// A chat remembers its own; a new one has what was picked last. What is kept private is the server's to decide: a choice of
// elsewhere lets out no more than its rules do. "Stay here" is sent even where nobody else is known of.

import { byId } from './dom.js';
import { preferences } from './store.js';

export class RoutePicker {
  #select = byId('route');
  #box = byId('route-box');
  #wanted = 'auto';

  /** `chosen(route)` hears what the person picks. */
  constructor(chosen) {
    this.#select.addEventListener('change', () => {
      this.#wanted = this.#select.value;
      preferences.set('route', this.#wanted);
      this.#mark();
      chosen(this.#wanted);
    });
  }

  get wanted() {
    return this.#wanted;
  }

  /** The field of a request: none where the server is to choose. */
  get field() {
    const asks = this.#wanted === 'local' || (this.#wanted === 'cloud' && !this.#box.hidden);
    return asks ? { route: this.#wanted } : {};
  }

  /** Shows a chat's route; without one, the one picked last. */
  show(route) {
    const known = [...this.#select.options].map(({ value }) => value);
    this.#wanted = [route, preferences.get('route', 'auto'), 'auto'].find((value) => known.includes(value));
    this.#select.value = this.#wanted;
    this.#mark();
  }

  /** The server's endpoints, by their names. */
  offer(endpoints) {
    this.#box.hidden = endpoints.length === 0;
    this.#select.title = `Elsewhere is ${endpoints.join(', ')}`;
  }

  #mark() {
    this.#box.dataset.route = this.#wanted;
  }
}
