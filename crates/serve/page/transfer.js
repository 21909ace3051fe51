// Chats as files: out as JSON (everything) or Markdown (to read), in from JSON.
//
// A file is a stranger's until it is checked: every field is read by name and kind, sizes are capped, identifiers are made
// anew, and what is not known is dropped. A chat that can't be read is an error that says which. Pure: `makeId` is passed in.

import { readDocuments } from './attachments.js';
import { path, titleOf, TITLE_CHARS_MAX } from './conversation.js';
import { readOrigin, readTimings, readUsage } from './measure.js';
import { requestFields } from './sampling.js';

const FORMAT = 'ingle-chats';
const FORMAT_VERSION = 1;
export const FILE_BYTES_MAX = 64 << 20;
const CHATS_MAX = 10_000;
const MESSAGES_MAX = 20_000;

export function toJson(chats) {
  return `${JSON.stringify({ format: FORMAT, version: FORMAT_VERSION, chats }, null, 2)}\n`;
}

/** Chats in files that each can be read again: {files: [text], left: [title]}, the latter those too large for that. */
export function toFiles(chats, bytesMax = FILE_BYTES_MAX) {
  const groups = [];
  const left = [];
  let bytes = Infinity; // of the last group, a little too many as each chat is counted with a file's frame
  for (const chat of chats) {
    const own = new Blob([toJson([chat])]).size;
    if (own > bytesMax || chat.messages.length > MESSAGES_MAX) {
      left.push(chat.title);
      continue;
    }
    if (bytes + own > bytesMax || groups.at(-1).length === CHATS_MAX) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1).push(chat);
    bytes += own;
  }
  return { files: groups.map(toJson), left };
}

/** The branch that is shown, as a document. Thinking is a quotation; the model's Markdown is kept as it is. */
export function toMarkdown(chat) {
  const parts = [`# ${chat.title || 'Chat'}`];
  if (chat.system.trim() !== '') parts.push('## System', chat.system.trim());
  for (const message of path(chat)) {
    parts.push(message.role === 'user' ? '## You' : `## ${message.model || 'Model'}`);
    if (message.reasoning) parts.push(message.reasoning.trim().split('\n').map((line) => `> ${line}`.trimEnd()).join('\n'));
    if (message.content.trim() !== '') parts.push(message.content.trim());
  }
  return `${parts.join('\n\n')}\n`;
}

/** A name for the file that every system takes. */
export function fileName(title, extension) {
  const name = title.normalize('NFC').replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-+|-+$/g, '').slice(0, 60);
  return `${name || 'chat'}.${extension}`;
}

/** The chats of a file's text, ready to be stored. */
export function fromJson(text, makeId, now) {
  let file;
  try {
    file = JSON.parse(text);
  } catch {
    throw new Error('This file is not JSON. Import takes a file that was exported here.');
  }
  if (file?.format !== FORMAT) throw new Error(`This file holds no chats: its "format" is not "${FORMAT}".`);
  if (file.version !== FORMAT_VERSION) throw new Error(`This file has version ${short(file.version)} of the format; this page reads ${FORMAT_VERSION}.`);
  if (!Array.isArray(file.chats) || file.chats.length > CHATS_MAX) throw new Error(`"chats" is not a list of at most ${CHATS_MAX} chats.`);
  return file.chats.map((chat, i) => readChat(chat, `Chat ${i + 1}`, makeId, now));
}

function readChat(chat, where, makeId, now) {
  if (!Array.isArray(chat?.messages) || chat.messages.length > MESSAGES_MAX) throw new Error(`${where}: "messages" is not a list of at most ${MESSAGES_MAX} messages.`);
  const ids = new Map(); // as in the file, to as they are here; a parent must stand before its children
  const messages = chat.messages.map((message, i) => {
    const known = message?.role === 'user' || message?.role === 'assistant';
    if (!known || typeof message.content !== 'string') throw new Error(`${where}, message ${i + 1}: needs a "role" of user or assistant and a text "content".`);
    const parent = message.parent === null || message.parent === undefined ? null : ids.get(String(message.parent));
    if (parent === undefined) throw new Error(`${where}, message ${i + 1}: its "parent" does not stand before it.`);
    const id = makeId();
    ids.set(String(message.id), id);
    return readMessage(message, id, parent, now);
  });
  const title = typeof chat.title === 'string' ? titleOf(chat.title.slice(0, 10 * TITLE_CHARS_MAX)) : '';
  return {
    id: makeId(), title, named: chat.named === true, created: time(chat.created, now), updated: time(chat.updated, now),
    model: string(chat.model), ...(chat.route === 'local' ? { route: 'local' } : {}), system: string(chat.system), sampling: requestFields(chat.sampling), messages,
    head: ids.get(String(chat.head)) ?? messages.at(-1)?.id ?? null,
  };
}

function readMessage(message, id, parent, now) {
  const read = { id, parent, role: message.role, content: message.content, created: time(message.created, now) };
  if (message.role === 'user') {
    const documents = readDocuments(message.documents);
    return documents.length ? { ...read, documents } : read;
  }
  read.model = string(message.model);
  for (const key of ['reasoning', 'error', 'finish']) if (typeof message[key] === 'string') read[key] = message[key];
  for (const key of ['firstMs', 'thoughtMs', 'dropped']) if (Number.isFinite(message[key])) read[key] = message[key];
  read.usage = readUsage(message.usage);
  read.timings = readTimings(message.timings);
  const origin = readOrigin(message.origin);
  if (origin) {
    delete origin.id; // by which this server's own answers are spoken of
    read.origin = origin;
  }
  return read;
}

function string(value) {
  return typeof value === 'string' ? value : '';
}

function time(value, now) {
  return Number.isFinite(value) && value > 0 && value <= now ? value : now;
}

function short(value) {
  return String(JSON.stringify(value) ?? 'none').slice(0, 40);
}
