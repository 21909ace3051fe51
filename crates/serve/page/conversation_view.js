// The chat that is shown: its messages in a column that keeps to its end while an answer comes, unless someone scrolls up
// or edits a message in it.
//
// Going to another branch or adding a message keeps the elements of all messages before the first that differs. Of a very
// long chat the last messages are put on the screen first, earlier ones when they are scrolled to; off the screen the
// browser skips their layout (style.css, content-visibility).

import { byId, el } from './dom.js';
import { path, siblings } from './conversation.js';
import { MessageView } from './message_view.js';

const MESSAGES_AT_ONCE = 60;
const END_PX = 40; // this near the end counts as at the end

export class ConversationView {
  #actions;
  #chat = null;
  #views = new Map();
  #first = 0;     // how many messages before those on the screen are not yet there
  #atEnd = true;
  #earlier = el('button', { type: 'button', class: 'text-button earlier' }, 'Earlier messages');

  constructor(actions) {
    this.#actions = actions;
    const scroll = byId('scroll');
    scroll.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.#settle()).observe(byId('column'));
    new ResizeObserver(() => this.#settle()).observe(scroll);
    byId('to-end').addEventListener('click', () => this.toEnd());
    this.#earlier.addEventListener('click', () => this.#showEarlier());
    new IntersectionObserver((entries) => { if (entries.at(-1).isIntersecting) this.#showEarlier(); }, { root: scroll })
      .observe(this.#earlier);
  }

  /** Shows a chat; `running` is the message that is being answered, if any. The focus stays on its control, or goes to the field. */
  show(chat, running) {
    const refocus = this.#focused();
    this.#draw(chat, running);
    refocus();
  }

  #draw(chat, running) {
    const messages = path(chat);
    const another = chat.id !== this.#chat?.id;
    this.#chat = chat;
    if (another) {
      this.#clear();
      this.#first = Math.max(0, messages.length - MESSAGES_AT_ONCE);
      this.#atEnd = true;
    }
    this.#first = Math.min(this.#first, messages.length);
    const wanted = messages.slice(this.#first);
    const kept = this.#keep(wanted);
    for (const message of wanted.slice(0, kept)) this.#views.get(message.id).renew(message);
    for (const message of wanted.slice(kept)) byId('column').append(this.#make(message, running).node);
    if (this.#first > 0) byId('column').prepend(this.#earlier);
    else this.#earlier.remove();
    byId('empty').hidden = messages.length > 0;
    this.#settle();
  }

  grow(message) {
    this.#views.get(message.id)?.grow();
  }

  finish(message) {
    this.#views.get(message.id)?.finish();
  }

  /** Presses a thumb of an answer, if it has any. */
  press(message, signal) {
    this.#views.get(message?.id)?.press(signal);
  }

  edit(message, done) {
    this.#views.get(message.id)?.edit(done);
  }

  toEnd() {
    const scroll = byId('scroll');
    scroll.scrollTop = scroll.scrollHeight;
    this.#scrolled();
  }

  /** Scrolls by most of a window's height. */
  page(direction) {
    const scroll = byId('scroll');
    scroll.scrollBy({ top: direction * scroll.clientHeight * 0.85 });
  }

  #clear() {
    this.#views.clear();
    byId('column').replaceChildren();
  }

  /** Takes away what does not belong to the branch; returns how many messages stay. */
  #keep(wanted) {
    const shown = [...this.#views];
    let kept = 0;
    while (kept < shown.length && kept < wanted.length && shown[kept][0] === wanted[kept].id
      && shown[kept][1].place === this.#placeOf(wanted[kept])) kept += 1;
    for (const [id, view] of shown.slice(kept)) {
      view.node.remove();
      this.#views.delete(id);
    }
    return kept;
  }

  /** Finds which control of which message has the focus; what it gives puts it back where that was drawn anew or is gone. */
  #focused() {
    const had = document.activeElement;
    const articles = () => byId('column').querySelectorAll('article');
    const at = [...articles()].findIndex((one) => one.contains(had));
    const versions = had.closest('.versions') !== null;
    return () => {
      if (at < 0 || had.isConnected) return;
      const buttons = [...(articles()[at]?.querySelectorAll('button:not(:disabled)') ?? [])];
      const same = buttons.find((button) => labelOf(button) === labelOf(had));
      const other = versions ? buttons.find((button) => button.closest('.versions')) : null; // the way back, from the first or last
      (same ?? other ?? byId('prompt')).focus({ preventScroll: true });
    };
  }

  #placeOf(message) {
    const { at, of } = this.#place(message);
    return `${at}/${of}`;
  }

  #place(message) {
    const all = siblings(this.#chat, message);
    return { at: all.indexOf(message) + 1, of: all.length };
  }

  #make(message, running) {
    const view = new MessageView(message, this.#place(message), message === running, this.#actions);
    this.#views.set(message.id, view);
    return view;
  }

  #showEarlier() {
    if (this.#first === 0) return;
    const messages = path(this.#chat);
    const from = Math.max(0, this.#first - MESSAGES_AT_ONCE);
    const later = [...this.#views];
    this.#views = new Map();
    const nodes = messages.slice(from, this.#first).map((message) => this.#make(message, null).node);
    for (const [id, view] of later) this.#views.set(id, view);
    this.#first = from;
    const scroll = byId('scroll');
    const below = scroll.scrollHeight - scroll.scrollTop;
    this.#earlier.after(...nodes);
    if (from === 0) this.#earlier.remove();
    scroll.scrollTop = scroll.scrollHeight - below;
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = byId('scroll');
    this.#atEnd = scrollHeight - scrollTop - clientHeight < END_PX;
    byId('to-end').hidden = this.#atEnd;
  }

  /** After anything has changed its size: stay at the end if we were there, but move no field that is being written in. */
  #settle() {
    const scroll = byId('scroll');
    const writes = document.activeElement.closest('.editing') !== null;
    if (this.#atEnd && !writes) scroll.scrollTop = scroll.scrollHeight;
    this.#scrolled();
  }
}

function labelOf(button) {
  return button.getAttribute('aria-label') ?? button.textContent;
}
