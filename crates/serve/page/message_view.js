// One message on the screen: what was said, what was thought, what it cost, and what can be done with it.
//
// A message of the person is shown as it was typed; an answer goes through markdown_view.js and grows while it comes.
// Thinking is folded and only put on the screen when it is opened.

import { announce } from './announce.js';
import { copyText, el, icon, iconButton } from './dom.js';
import { badgeOf, costOf, seconds } from './measure.js';
import { MarkdownView } from './markdown_view.js';

const ENDS = { __proto__: null, length: 'Ended at the limit of tokens', stopped: 'Stopped', cut: 'The page was closed before the end' };

export class MessageView {
  #message;
  #actions;
  #body;
  #thinking = null;
  #foot = el('div', { class: 'foot' });
  #clock = null;
  #tick = null;   // says in the foot what is being done, while an answer comes

  /** `place`: {at, of}, which of its siblings this is. `actions`: {edit, regenerate, rate, turn, spoken}. */
  constructor(message, place, running, actions) {
    this.#message = message;
    this.#actions = actions;
    this.node = el('article', { class: `message ${message.role}`, 'data-id': message.id });
    this.place = `${place.at}/${place.of}`;
    const user = message.role === 'user';
    this.node.append(el('h2', { class: 'off-screen' }, user ? 'You' : message.model || 'Answer'));
    if (user) {
      const names = (message.documents ?? []).map(({ name }) => el('span', {}, name));
      if (names.length) this.node.append(el('div', { class: 'documents', 'aria-label': 'Texts that this is about' }, ...names));
      this.node.append(el('div', { class: 'said' }, message.content), this.#foot);
      this.#foot.append(...this.#versions(place), this.#tools());
      return;
    }
    const body = el('div', { class: 'answer' });
    this.#body = new MarkdownView(body, (text) => { if (this.running) actions.spoken(text); });
    this.node.append(body, this.#foot);
    this.running = running;
    this.#body.update(message.content, !running);
    this.#drawThinking();
    this.#drawFoot(place);
    this.#versionsPlace = place;
  }

  #versionsPlace = null;

  /** More of the answer has come. */
  grow() {
    this.#body.update(this.#message.content);
    this.#drawThinking();
    this.#tick?.();
  }

  /** The answer is over, however it ended. */
  finish() {
    this.#body.update(this.#message.content, true);
    this.running = false;
    this.#drawThinking();
    this.#drawFoot(this.#versionsPlace);
  }

  /** The same message, as it is now: another tab may have written it. */
  renew(message) {
    const before = this.#message;
    this.#message = message;
    if (message === before || message.role === 'user' || JSON.stringify(message) === JSON.stringify(before)) return;
    this.finish();
  }

  /** Presses a thumb; one that is pressed already is taken back. */
  async press(signal) {
    const message = this.#message;
    if (!message.origin?.id || this.running) return;
    const show = () => {
      for (const thumb of this.node.querySelectorAll('.thumb')) thumb.setAttribute('aria-pressed', String(message.rated === thumb.dataset.signal));
    };
    const before = message.rated ?? null;
    message.rated = before === signal ? null : signal;
    show();
    if (!(await this.#actions.rate(message, message.rated ?? 'withdrawn'))) message.rated = before;
    show();
  }

  /** Puts a field in the place of what was said; `done(text)` or, with null, nothing changes. */
  edit(done) {
    const said = this.node.querySelector('.said');
    if (!said || this.node.querySelector('.editing')) return;
    const field = el('textarea', { 'aria-label': 'Edit your message', rows: '1' });
    field.value = this.#message.content;
    const form = el('form', { class: 'editing' }, field, el('div', { class: 'buttons' },
      el('span', { class: 'gap' }),
      el('button', { type: 'button', class: 'text-button', 'data-cancel': true }, 'Cancel'),
      el('button', { type: 'submit', class: 'primary' }, 'Send')));
    const close = (text) => {
      form.replaceWith(said);
      this.#foot.hidden = false;
      done(text);
    };
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (field.value.trim() !== '') close(field.value);
    });
    form.querySelector('[data-cancel]').addEventListener('click', () => close(null));
    field.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      } else if (event.key === 'Escape') {
        event.stopPropagation();
        close(null);
      }
    });
    const fit = () => {
      field.style.height = 'auto';
      field.style.height = `${field.scrollHeight + 2}px`;
      form.scrollIntoView({ block: 'nearest' }); // with its buttons
    };
    field.addEventListener('input', fit);
    this.#foot.hidden = true;
    said.replaceWith(form);
    fit();
    field.focus();
    field.setSelectionRange(field.value.length, field.value.length);
  }

  #drawThinking() {
    const { reasoning, content, thoughtMs } = this.#message;
    if (!reasoning) {
      this.#thinking?.details.remove(); // the answer was replaced
      this.#thinking = null;
      return;
    }
    if (!this.#thinking) {
      const inside = el('div', { class: 'thought' });
      const details = el('details', { class: 'thinking' }, el('summary', {}, icon('right'), el('span')), inside);
      this.#thinking = { details, label: details.querySelector('span'), view: new MarkdownView(inside) };
      details.addEventListener('toggle', () => this.#drawThinking());
      this.node.querySelector('.answer').before(details);
    }
    const { details, label, view } = this.#thinking;
    const thinks = this.running && content === '';
    details.classList.toggle('now', thinks);
    label.textContent = thinks ? 'Thinking' : Number.isFinite(thoughtMs) ? `Thought for ${seconds(thoughtMs)}` : 'Thoughts';
    if (details.open) view.update(reasoning, !thinks);
  }

  #drawFoot(place) {
    clearInterval(this.#clock);
    this.#tick = null;
    if (this.running) {
      const status = el('span', { class: 'status' });
      this.#tick = () => {
        const { content, reasoning, created } = this.#message;
        const doing = content !== '' ? ['Writing'] : reasoning ? [] : ['Reading']; // thinking says so above
        const waited = Date.now() - created;
        const now = [...doing, ...(waited < 1000 ? [] : [`${Math.floor(waited / 1000)} s`])].join(' · ');
        if (now !== status.textContent) status.textContent = now;
        if (!this.node.isConnected && waited > 2000) clearInterval(this.#clock);
      };
      this.#tick();
      this.#clock = setInterval(this.#tick, 500);
      this.#foot.replaceChildren(el('span', { class: 'pulse' }), status);
      return;
    }
    const { error, finish, model } = this.#message;
    const parts = [...(model ? [model] : []), ...costOf(this.#message), ...(ENDS[finish] ? [ENDS[finish]] : [])];
    const cost = el('span', { class: 'cost' }, ...parts.map((part) => el('span', {}, part)));
    const [badge, details] = this.#badge();
    this.#foot.replaceChildren(...this.#versions(place), this.#tools(), ...badge, cost, ...details);
    this.node.querySelector('.failed')?.remove();
    if (error) this.#foot.before(this.#failure(error));
  }

  /** Where the answer is from, what it took, and what that costs; and, folded until the badge is pressed, all that is known of it. */
  #badge() {
    const badge = badgeOf(this.#message.origin);
    if (!badge) return [[], []];
    const parts = [badge.energy, badge.cost].filter((part) => part !== null).map((part) => el('span', {}, part));
    const route = el('span', { class: `route ${this.#message.origin.route}` }, badge.word);
    const details = el('p', { class: 'details', hidden: true }, badge.title);
    const button = el('button', { type: 'button', class: 'badge', title: badge.title, 'aria-expanded': 'false' }, route, ...parts);
    button.addEventListener('click', () => {
      details.hidden = !details.hidden;
      button.setAttribute('aria-expanded', String(!details.hidden));
    });
    return [[button], [details]];
  }

  #failure(error) {
    const again = el('button', { type: 'button', class: 'text-button' }, 'Try again');
    again.addEventListener('click', () => this.#actions.regenerate(this.#message));
    return el('div', { class: 'failed', role: 'alert' }, el('span', {}, error), again);
  }

  #tools() {
    const user = this.#message.role === 'user';
    const copy = iconButton('copy', user ? 'Copy message' : 'Copy answer', async () => {
      const copied = await copyText(this.#message.content);
      announce(copied ? 'Copied.' : 'Not copied.');
      copy.classList.toggle('copied', copied);
      setTimeout(() => copy.classList.remove('copied'), 1600);
    });
    const other = user
      ? iconButton('edit', 'Edit message', () => this.#actions.edit(this.#message))
      : iconButton('again', 'Make this answer again', () => this.#actions.regenerate(this.#message));
    return el('span', { class: 'tools' }, copy, other, ...this.#thumbs());
  }

  /** Good or bad, of an answer that the server keeps feedback on; pressed again, a thumb is taken back. */
  #thumbs() {
    if (!this.#message.origin?.id) return [];
    const thumbs = [['up', 'good', 'Good answer'], ['down', 'bad', 'Bad answer']].map(([signal, name, label]) => [signal,
      iconButton(name, label, () => this.press(signal), { class: 'icon-button thumb', 'data-signal': signal })]);
    for (const [signal, button] of thumbs) button.setAttribute('aria-pressed', String(this.#message.rated === signal));
    return thumbs.map(([, button]) => button);
  }

  #versions({ at, of }) {
    if (of < 2) return [];
    const turn = (step) => () => this.#actions.turn(this.#message, step);
    return [el('span', { class: 'versions', role: 'group', 'aria-label': `Version ${at} of ${of}` },
      iconButton('left', 'Version before', turn(-1), { disabled: at === 1 }),
      el('span', {}, `${at} / ${of}`),
      iconButton('right', 'Version behind', turn(1), { disabled: at === of }))];
  }
}
