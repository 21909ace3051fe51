// The page of `ingle serve`: holds the chats, and lets the views show them and the server answer.
//
// One chat is open, named by the address's fragment, so that Back, reload and links work. What happens to it is a function
// here: send, edit, regenerate, turn to another version, rename, delete, export, import. Each changes the chat (which is
// plain data, conversation.js), stores it and draws what differs. In reading order: dom, sse, api; inline, markdown,
// markdown_view; conversation, sampling, measure, transfer, store; the views; this file.

import { announce, notify } from './announce.js';
import { Attachments } from './attachments.js';
import { Answers } from './answers.js';
import { Api, sentence } from './api.js';
import { ChatList } from './chat_list.js';
import { Composer } from './composer.js';
import * as conversation from './conversation.js';
import { ConversationView } from './conversation_view.js';
import { ask, watchMenus } from './dialogs.js';
import { byId, copyText, el, saveFile } from './dom.js';
import { costOf } from './measure.js';
import { ModelPicker } from './model_picker.js';
import { RoutePicker } from './route_picker.js';
import { requestFields } from './sampling.js';
import { askSettings } from './settings_form.js';
import { listen, showShortcuts } from './shortcuts.js';
import { openStore, preferences } from './store.js';
import { nextTheme } from './theme.js';
import { FILE_BYTES_MAX, fileName, fromJson, toFiles, toMarkdown } from './transfer.js';

const store = await openStore();
const api = new Api((message) => ask({
  title: 'This server asks for a key', text: `${message} It is kept until this tab is closed.`, field: 'password', action: 'Use key',
}));
const route = new RoutePicker((wanted) => { chat.route = wanted; if (chat.messages.length) save(chat); });
const models = new ModelPicker(api, (model) => { chat.model = model; }, () => route.offer(api.server.endpoints));
const view = new ConversationView({ edit, regenerate, rate, turn, spoken: announce });
const list = new ChatList({ rename, remove });
const attachments = new Attachments(notify);
const composer = new Composer({ send, stop, editLast: () => edit(lastOf('user')) });
const answers = new Answers(api, { grew, ended, save });
let chat = null;          // the open chat; not stored before it has a message
let deleted = [];         // what the last deletion took, to bring back
const gone = new Set();   // identifiers of deleted chats: an answer that still ends must not store one again

function makeId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// Opening

function blankChat() {
  return conversation.newChat(makeId(), Date.now(), preferences.get('defaults', {}));
}

/** Opens the chat that the address names, or a new one. */
async function openNamed() {
  const id = location.hash.slice(1);
  let found = id && (answers.of(id)?.chat ?? (id === chat?.id ? chat : null));
  if (id && !found) {
    found = await store.chat(id);
    if (found) gone.delete(id); // brought back in another tab
  }
  if (id !== location.hash.slice(1)) return; // another was asked for meanwhile
  if (id && !found) history.replaceState(null, '', '#');
  chat = found || (chat && chat.messages.length === 0 ? chat : blankChat());
  for (const message of chat.messages) {
    if (message.role === 'assistant' && !message.finish && message !== answers.of(chat.id)?.message) message.finish = 'cut';
  }
  draw();
  models.show(chat.model);
  route.show(chat.route);
  if (!list.isDrawer || !byId('side').contains(document.activeElement)) composer.focus();
}

function newChat() {
  chat = blankChat();
  if (location.hash.length > 1) history.pushState(null, '', '#');
  if (list.isDrawer) list.toggle(false);
  draw();
  models.show('');
  route.show('');
  composer.focus();
}

/** What a draft belongs to: the open chat, or all that are still empty. */
function place() {
  return chat.messages.length ? chat.id : 'new';
}

function draw() {
  const running = answers.of(chat.id)?.message ?? null;
  view.show(chat, running);
  composer.show(place(), running !== null);
  attachments.show(place());
  const title = chat.title || 'New chat';
  byId('title').textContent = title;
  document.title = chat.title ? `${title} · Ingle` : 'Ingle';
  for (const id of ['rename', 'export-markdown', 'export-json', 'delete']) byId(id).disabled = chat.messages.length === 0;
  const set = chat.system.trim() !== '' || Object.keys(chat.sampling).length > 0;
  byId('settings-open').classList.toggle('set', set);
  drawList();
}

let drawing = 0;
async function drawList() {
  const turnOf = ++drawing;
  const summaries = await store.summaries();
  if (turnOf === drawing) list.show(summaries, chat.id, answers.chatIds);
}

let toldFull = false; // told once, until something is kept again

/** Stores a chat; whether it is kept. */
async function save(changed) {
  if (gone.has(changed.id)) return false;
  try {
    await store.put(changed);
    toldFull = false;
    return true;
  } catch (error) {
    if (!toldFull) notify(`This browser could not keep the chat: ${sentence(error.message)} Export it, or delete old chats.`);
    toldFull = true;
    return false;
  }
}

/** Stores and draws the open chat after a change to what it says. */
async function changed() {
  chat.updated = Date.now();
  const saved = save(chat);
  if (location.hash.slice(1) !== chat.id) history.pushState(null, '', `#${chat.id}`);
  draw();
  await saved;
  drawList();
}

// Talking

function send(text) {
  answer(conversation.append(chat, chat.head, { id: makeId(), role: 'user', content: text, created: Date.now(), ...about(attachments.take()) }));
}

function edit(message) {
  if (!message || answers.of(chat.id)) return;
  view.edit(message, (text) => {
    composer.focus();
    if (text === null) return;
    if (text !== message.content) hint(conversation.path(chat).find((shown) => shown.parent === message.id), 'edited');
    answer(conversation.append(chat, message.parent, { id: makeId(), role: 'user', content: text, created: Date.now(), ...about(message.documents) }));
  });
}

function regenerate(message) {
  if (!message || answers.of(chat.id)) return;
  const question = conversation.find(chat, message.parent);
  if (!question) return;
  hint(message, 'regenerated');
  answer(question);
}

/** Says of an answer what the person said of it; whether the server has heard it. */
async function rate(message, signal) {
  const { id } = chat;
  try {
    await api.feedback(message.origin.id, signal);
  } catch (error) {
    notify(error.message);
    return false;
  }
  announce({ up: 'Noted as good.', down: 'Noted as bad.', withdrawn: 'Taken back.' }[signal]);
  const now = await byName(id);
  const rated = now && conversation.find(now, message.id);
  if (rated) {
    rated.rated = message.rated;
    save(now);
  }
  return true;
}

/** Tells the server, where the person lets it learn from that, that an answer was not what was wanted. */
function hint(message, signal) {
  if (!message?.origin?.id || message.rated || !api.server.feedback || !preferences.get('feedback', true)) return;
  api.feedback(message.origin.id, signal).catch(() => {}); // it may have been forgotten meanwhile, which is no matter
}

/** The field of texts that a question is about, in a message and in a request; nothing where there is none. */
function about(documents) {
  return documents?.length ? { documents } : {};
}

/** Has the model answer a message of the open chat. */
function answer(question) {
  const asked = chat;
  const body = { messages: conversation.request(asked, question), ...requestFields(asked.sampling), ...route.field, ...about(question.documents) };
  asked.model = models.current;
  asked.route = route.wanted;
  const message = conversation.append(asked, question.id, { id: makeId(), role: 'assistant', content: '', model: asked.model, created: Date.now() });
  answers.start(asked, message, async () => {
    if (!models.current) await models.refresh(); // the server may be back
    asked.model = message.model ||= models.current;
    return { model: message.model, ...body };
  });
  changed();
  view.toEnd();
}

function stop() {
  answers.stop(chat.id);
}

function grew(grown, message) {
  if (grown === chat) view.grow(message);
}

function ended(finished, message) {
  finished.updated = Date.now();
  save(finished).then(drawList);
  if (finished === chat) {
    view.finish(message);
    composer.show(place(), answers.of(chat.id) !== null);
  } else if (!message.error) {
    notify(`Answered: ${finished.title}`, { label: 'Show', run: () => { location.hash = finished.id; } });
  }
  if (message.error) models.refresh();
  else announce(message.finish === 'stopped' ? 'Answer stopped.' : `Answer finished. ${costOf(message).slice(0, 2).join(', ')}`);
}

function turn(message, step) {
  if (answers.of(chat.id)) return;
  const all = conversation.siblings(chat, message);
  const other = all[all.indexOf(message) + step];
  if (!other) return;
  conversation.show(chat, other);
  changed();
}

function lastOf(role) {
  return conversation.path(chat).findLast((message) => message.role === role) ?? null;
}

// Keeping

/** The chat as it is now: the page's own where it is open or answered. To be asked for again after any wait. */
async function byName(id) {
  const own = () => (id === chat.id ? chat : answers.of(id)?.chat);
  return own() ?? await store.chat(id).then((stored) => own() ?? stored);
}

async function rename(id) {
  const before = await byName(id);
  if (!before || before.messages.length === 0) return;
  const title = await ask({ title: 'Rename this chat', field: 'text', value: before.title, action: 'Rename' });
  if (title === null || title.trim() === '') return;
  const named = await byName(id);
  if (!named) return;
  Object.assign(named, { title: conversation.titleOf(title), named: true });
  await save(named);
  draw();
}

async function remove(id) {
  const unwanted = await byName(id);
  if (!unwanted || unwanted.messages.length === 0) return;
  if (await takeAway([unwanted])) notify('Chat deleted.', { label: 'Bring back', run: undo });
}

async function removeAll() {
  const all = await store.all();
  if (!all.length) return;
  const sure = await ask({ title: `Delete all ${all.length} chats?`, text: 'They are kept nowhere but in this browser.', action: 'Delete all', danger: true });
  if (!sure) return;
  const now = await Promise.all(all.map(({ id }) => byName(id)));
  if (await takeAway(now.filter((one) => one !== null))) notify('All chats deleted.', { label: 'Bring back', run: undo });
}

/** Deletes chats; whether all of them could be, which is told here where it is not so. */
async function takeAway(chats) {
  const taken = [];
  let fault = null;
  for (const one of chats) {
    gone.add(one.id);
    answers.stop(one.id);
    try {
      await store.remove(one.id);
      taken.push(one);
    } catch (error) {
      gone.delete(one.id);
      fault = error;
    }
  }
  deleted = taken;
  if (taken.some(({ id }) => id === chat.id)) newChat();
  else drawList();
  composer.focus();
  if (fault) notify(`${taken.length} of ${chats.length} chats were deleted: ${sentence(fault.message)}`);
  return fault === null;
}

async function undo() {
  const back = deleted;
  deleted = [];
  for (const one of back) {
    gone.delete(one.id);
    await save(one);
  }
  if (back.length === 1) location.hash = back[0].id;
  drawList();
}

function exportMarkdown() {
  if (chat.messages.length) saveFile(fileName(chat.title, 'md'), 'text/markdown', toMarkdown(chat));
}

function exportJson() {
  saveChats(fileName(chat.title, 'json'), () => [chat]);
}

function exportAll() {
  saveChats('ingle-chats.json', () => store.all());
}

/** Saves the chats that `read` gives in one file, or in several where one could not be imported again. */
async function saveChats(name, read) {
  try {
    const { files, left } = toFiles(await read());
    files.forEach((text, i) => {
      saveFile(files.length === 1 ? name : name.replace('.json', `-${i + 1}-of-${files.length}.json`), 'application/json', text);
    });
    if (left.length) notify(`Left out, as no import would take them: ${left.join(', ')}. They can be exported as Markdown.`);
    else if (!files.length) notify('There are no chats to export.');
  } catch (error) {
    notify(`The chats could not be exported: ${sentence(error.message)}`);
  }
}

async function importFile(file) {
  if (!file) return;
  try {
    if (file.size > FILE_BYTES_MAX) throw new Error(`This file has ${file.size} bytes; the most that is read is ${FILE_BYTES_MAX}.`);
    const chats = fromJson(await file.text(), makeId, Date.now());
    const kept = [];
    for (const one of chats) if (await save(one)) kept.push(one);
    if (kept.length === 1) location.hash = kept[0].id;
    if (kept.length < chats.length) notify(`${kept.length} of ${chats.length} chats were kept: the browser has no room for more.`);
    else notify(chats.length === 1 ? 'One chat imported.' : `${chats.length} chats imported.`);
  } catch (error) {
    notify(error.message);
  }
  drawList();
}

async function settings() {
  const { id } = chat;
  const given = await askSettings(chat, api.server.feedback ? preferences.get('feedback', true) : null);
  if (!given) return;
  const { system, sampling, asDefaults, feedback } = given;
  if (feedback !== null) preferences.set('feedback', feedback);
  if (asDefaults) preferences.set('defaults', { system, sampling });
  const set = await byName(id);
  if (set) Object.assign(set, { system, sampling });
  if (set?.messages.length) await save(set);
  draw();
}

function switchTheme(announced = true) {
  const theme = announced ? nextTheme() : document.documentElement.dataset.theme ?? 'system';
  const label = { system: 'Colours: as the system', light: 'Colours: light', dark: 'Colours: dark' }[theme];
  byId('theme').setAttribute('aria-label', label);
  byId('theme').title = label;
  if (announced) notify(label);
}

// Wiring

const buttons = {
  'new-chat': newChat, 'settings-open': settings, rename: () => rename(chat.id), delete: () => remove(chat.id),
  'export-markdown': exportMarkdown, 'export-json': exportJson, 'export-all': exportAll, import: () => byId('file').click(),
  'delete-all': removeAll, keys: showShortcuts, theme: () => switchTheme(),
};
for (const [id, run] of Object.entries(buttons)) byId(id).addEventListener('click', run);
// A link gives no key: then the page is fetched and kept.
byId('ledger').addEventListener('click', async (event) => {
  if (!api.hasKey) return;
  event.preventDefault();
  try {
    saveFile('ledger.html', 'text/html', await api.ledger());
  } catch (error) {
    notify(error.message);
  }
});
byId('file').addEventListener('change', async ({ target }) => {
  await importFile(target.files[0]);
  target.value = '';
});
byId('skip').addEventListener('click', (event) => {
  event.preventDefault();
  composer.focus();
});

/** Goes to the chat above or below in the list, or to the first; read anew, as keys may be faster than the list is drawn. */
async function goBeside(step) {
  const summaries = await store.summaries();
  const at = summaries.findIndex(({ id }) => id === location.hash.slice(1));
  const beside = summaries[at < 0 ? 0 : at + step];
  if (beside) location.hash = beside.id;
}

listen({
  newChat, settings, undo, exportMarkdown,
  find: () => list.find(),
  before: () => goBeside(-1),
  behind: () => goBeside(1),
  side: () => list.toggle(),
  regenerate: () => regenerate(lastOf('assistant')),
  copyLast: async () => { if (await copyText(lastOf('assistant')?.content ?? '')) notify('Answer copied.'); },
  thinking: () => { const last = [...document.querySelectorAll('.thinking')].at(-1); if (last) last.open = !last.open; },
  model: () => byId('model').focus(),
  route: () => byId('route').focus(),
  good: () => view.press(lastOf('assistant'), 'up'),
  bad: () => view.press(lastOf('assistant'), 'down'),
  rename: () => rename(chat.id),
  remove: () => remove(chat.id),
  theme: () => switchTheme(),
  pageUp: () => view.page(-1),
  pageDown: () => view.page(1),
  write: () => composer.focus(),
  help: showShortcuts,
  escape: () => (list.isDrawer && !document.body.classList.contains('side-closed') ? list.toggle(false) : stop()),
});
watchMenus();
addEventListener('hashchange', openNamed);
addEventListener('pagehide', () => answers.saveAll());
store.onChange(async (id) => {
  const here = () => id === chat.id && !answers.of(id);
  const now = here() ? await store.chat(id) : null;
  if (!now || !here()) {
    drawList();
    return;
  }
  chat = now;
  draw();
  models.show(chat.model);
  route.show(chat.route);
});

byId('empty-text').textContent = `Chats are kept in this browser. Answers come from ${location.host}.`;
if (!store.durable) {
  byId('banner').replaceChildren(el('span', {}, 'This browser does not let the page keep chats: they last until it is closed. Export what you want to keep.'));
  byId('banner').hidden = false;
}
switchTheme(false);
await openNamed();
await models.refresh();
