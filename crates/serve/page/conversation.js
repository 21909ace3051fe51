// A chat as data: a tree of messages, so that nothing is lost when a message is edited or an answer is made again.
//
// `chat.messages` holds every message in the order they came into being; each names its `parent` (null for the first), and
// `chat.head` names the last message of the branch that is shown. Editing adds a sibling and regenerating another, and the
// reader can go from sibling to sibling. Pure: identifiers and the time are passed in, nothing here touches the browser.

export const TITLE_CHARS_MAX = 60;

export function newChat(id, now, settings) {
  return { id, title: '', named: false, created: now, updated: now, model: '', system: settings.system ?? '',
    sampling: { ...settings.sampling }, messages: [], head: null };
}

export function find(chat, id) {
  return chat.messages.find((message) => message.id === id) ?? null;
}

/** The messages that are shown, first to last. */
export function path(chat) {
  const byId = new Map(chat.messages.map((message) => [message.id, message]));
  const messages = [];
  for (let message = byId.get(chat.head); message; message = byId.get(message.parent)) {
    messages.push(message);
    byId.delete(message.id); // a ring in an imported chat ends here
  }
  return messages.reverse();
}

/** Adds a message behind `parent` and makes it the end of what is shown. */
export function append(chat, parent, message) {
  const whole = { parent, ...message };
  chat.messages.push(whole);
  chat.head = whole.id;
  if (!chat.named && chat.title === '' && whole.role === 'user') chat.title = titleOf(whole.content);
  return whole;
}

/** The messages that stand in the same place, in the order they were written. */
export function siblings(chat, message) {
  return chat.messages.filter((other) => other.parent === message.parent && other.role === message.role);
}

/** Shows the branch through `message`, down to the newest end of it. */
export function show(chat, message) {
  let head = message;
  for (let seen = 0; seen < chat.messages.length; seen += 1) {
    const next = chat.messages.findLast((other) => other.parent === head.id);
    if (!next) break;
    head = next;
  }
  chat.head = head.id;
}

/** What the model is sent: the system prompt and the branch up to and including `last`, without thinking. */
export function request(chat, last) {
  const shown = path(chat);
  const end = shown.findIndex((message) => message.id === last.id);
  const messages = shown.slice(0, end + 1).map(({ role, content }) => ({ role, content }));
  return chat.system.trim() === '' ? messages : [{ role: 'system', content: chat.system }, ...messages];
}

export function titleOf(text) {
  const line = text.split('\n').map((part) => part.trim()).find((part) => part !== '') ?? '';
  const characters = [...line];
  return characters.length <= TITLE_CHARS_MAX ? line : `${characters.slice(0, TITLE_CHARS_MAX - 1).join('').trimEnd()}…`;
}

/** What the list of chats needs to know of one. */
export function summary(chat) {
  return { id: chat.id, title: chat.title, updated: chat.updated };
}
