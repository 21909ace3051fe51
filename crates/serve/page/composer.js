// The field at the foot: what is typed, how it is sent, and what was typed but not sent in each chat.
//
// Enter sends and Shift+Enter makes a line; on a touch screen Enter makes a line and the button sends. A draft belongs to
// its place (a chat, or the next new one) and lives as long as the tab.

import { byId } from './dom.js';

export class Composer {
  #field = byId('prompt');
  #place = null;
  #actions;

  /** `actions`: {send(text), stop(), editLast()}. */
  constructor(actions) {
    this.#actions = actions;
    const touch = matchMedia('(hover: none) and (pointer: coarse)');
    this.#field.addEventListener('input', () => this.#changed());
    this.#field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing && !touch.matches) {
        event.preventDefault();
        this.#send();
      } else if (event.key === 'ArrowUp' && this.#field.value === '' && !event.altKey && !event.ctrlKey && !event.shiftKey && !event.metaKey) {
        event.preventDefault();
        this.#actions.editLast();
      }
    });
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    byId('stop').addEventListener('click', () => this.#actions.stop());
  }

  /** Belongs to a place from now on. */
  show(place, running) {
    if (place !== this.#place) {
      this.#place = place;
      this.#field.value = drafts.get(place);
      this.#fit();
    }
    const stopHadFocus = document.activeElement === byId('stop');
    byId('stop').hidden = !running;
    byId('send').hidden = running;
    this.running = running;
    if (stopHadFocus && !running) this.focus();
    this.#ready();
  }

  focus() {
    this.#field.focus({ preventScroll: true });
  }

  #send() {
    const text = this.#field.value;
    if (text.trim() === '' || this.running) return;
    this.#field.value = '';
    this.focus(); // the button that may have it is put away
    this.#changed();
    this.#actions.send(text);
  }

  #changed() {
    drafts.set(this.#place, this.#field.value);
    this.#fit();
    this.#ready();
  }

  #ready() {
    byId('send').disabled = this.#field.value.trim() === '';
  }

  #fit() {
    this.#field.style.height = 'auto';
    this.#field.style.height = `${this.#field.scrollHeight}px`;
  }
}

const drafts = {
  kept: new Map(),
  get(place) {
    try {
      return sessionStorage.getItem(`ingle-draft-${place}`) ?? this.kept.get(place) ?? '';
    } catch {
      return this.kept.get(place) ?? '';
    }
  },
  set(place, text) {
    this.kept.set(place, text);
    try {
      if (text === '') sessionStorage.removeItem(`ingle-draft-${place}`);
      else sessionStorage.setItem(`ingle-draft-${place}`, text);
    } catch {
      // denied or full: the page remembers
    }
  },
};
