// The list of chats at the side: found by title, grouped by day, each with its two tools.
//
// It shows what it is given and tells what was chosen; the chats themselves are main.js's. A drawer on narrow windows.

import { byId, el, iconButton } from './dom.js';

const DAY_MS = 86_400_000;
const GROUPS = [['Today', 0], ['Yesterday', 1], ['The last 7 days', 7], ['The last 30 days', 30], ['Earlier', Infinity]];

export class ChatList {
  #actions;
  #summaries = [];
  #current = null;
  #running = new Set();

  /** `actions`: {rename(id), remove(id)}; choosing a chat is following its link. */
  constructor(actions) {
    this.#actions = actions;
    byId('find').addEventListener('input', () => this.#draw());
    byId('find').addEventListener('keydown', (event) => {
      const first = byId('chats').querySelector('a');
      if (event.key === 'Enter' && first) first.click();
      if (event.key === 'Escape' && event.target.value !== '') {
        event.target.value = '';
        this.#draw();
        event.stopPropagation();
      }
    });
    byId('chats').addEventListener('keydown', (event) => this.#key(event));
    for (const id of ['side-open', 'side-close']) byId(id).addEventListener('click', () => this.toggle());
    byId('shade').addEventListener('click', () => this.toggle(false));
    narrow.addEventListener('change', () => this.toggle(!narrow.matches));
    this.toggle(!narrow.matches);
  }

  show(summaries, current, running) {
    this.#summaries = summaries;
    this.#current = current;
    this.#running = running;
    this.#draw();
  }

  find() {
    this.toggle(true);
    byId('find').select();
  }

  get isDrawer() {
    return narrow.matches;
  }

  toggle(open = document.body.classList.contains('side-closed')) {
    const focused = byId('side').contains(document.activeElement);
    document.body.classList.toggle('side-closed', !open);
    byId('side').inert = !open;
    byId('side-open').setAttribute('aria-expanded', String(open));
    byId('shade').hidden = !open || !narrow.matches;
    if (open && narrow.matches) byId('new-chat').focus({ preventScroll: true });
    if (!open && focused) byId('side-open').focus();
  }

  #draw() {
    const wanted = byId('find').value.trim().toLowerCase();
    const found = this.#summaries.filter(({ title }) => title.toLowerCase().includes(wanted));
    const groups = new Map();
    const today = new Date().setHours(0, 0, 0, 0);
    for (const summary of found) {
      const days = Math.ceil((today - summary.updated) / DAY_MS);
      const [name] = GROUPS.find(([, most]) => days <= most);
      if (!groups.has(name)) groups.set(name, []);
      groups.get(name).push(this.#item(summary));
    }
    const focused = document.activeElement?.closest?.('#chats [data-id]')?.dataset.id;
    const nodes = [...groups].map(([name, items]) => el('section', { 'aria-label': name }, el('h2', {}, name), el('ul', {}, ...items)));
    if (!nodes.length) nodes.push(el('p', { class: 'none' }, wanted ? 'No chat has this in its title.' : 'Chats you begin are listed here.'));
    byId('chats').replaceChildren(...nodes);
    if (focused) byId('chats').querySelector(`[data-id="${CSS.escape(focused)}"] a`)?.focus();
  }

  #item({ id, title }) {
    const current = id === this.#current;
    const name = title || 'New chat';
    const link = el('a', { href: `#${id}`, title: name, 'aria-current': current ? 'page' : false }, name);
    link.addEventListener('click', () => { if (narrow.matches) this.toggle(false); });
    const tools = el('span', { class: 'tools' },
      iconButton('edit', `Rename ${name}`, () => this.#actions.rename(id)),
      iconButton('bin', `Delete ${name}`, () => this.#actions.remove(id)));
    const running = this.#running.has(id) ? [el('span', { class: 'pulse', role: 'img', 'aria-label': 'answering' })] : [];
    return el('li', { 'data-id': id, class: current ? 'current' : false }, link, ...running, tools);
  }

  #key(event) {
    const item = event.target.closest('[data-id]');
    if (!item || event.target.tagName !== 'A') return;
    const links = [...byId('chats').querySelectorAll('a')];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === 'F2') this.#actions.rename(item.dataset.id);
    else if (event.key === 'Delete') this.#actions.remove(item.dataset.id);
    else if (step) links[links.indexOf(event.target) + step]?.focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const narrow = matchMedia('(max-width: 52rem)');
