// Texts that a question is about: chosen as files, shown as chips above the field, and sent with the question.
//
// A text goes to this page's own server and into the chat in this browser, nowhere else; what the server lets go of it is its
// own matter. What is no text, or too long for a request, is refused in a sentence. Left out: other kinds of files; the
// texts of a draft live as long as the page.

import { byId, el, icon } from './dom.js';

/** All texts of a question together: a request takes 8 MiB, and JSON makes some characters longer. */
export const BYTES_MAX = 6 << 20;
export const DOCUMENTS_MAX = 100;
const NAME_BYTES_MAX = 255;

/** What is wrong with a file as a text beside `others`, in a sentence, or null. `text` is null where it is no UTF-8. */
export function faultOf(document, others) {
  return fault(document, others.length, others.reduce((sum, { text }) => sum + bytesOf(text), 0));
}

function fault({ name, text }, nOthers, bytesOthers) {
  if (text === null || text.includes('\0') || text.startsWith('%PDF')) return `${name} is not a text in UTF-8 (.txt, .md, .csv, ...). Convert it first.`;
  if (text.trim() === '') return `${name} is empty.`;
  if (nOthers >= DOCUMENTS_MAX) return `${DOCUMENTS_MAX} texts are the most.`;
  const bytes = bytesOthers + bytesOf(text);
  return bytes > BYTES_MAX ? `With ${name} the texts have ${bytes} bytes; ${BYTES_MAX} are the most.` : null;
}

/** The texts of a stored or imported message, those that are well-formed. */
export function readDocuments(documents) {
  const kept = [];
  let bytes = 0;
  for (const one of Array.isArray(documents) ? documents.slice(0, DOCUMENTS_MAX) : []) {
    if (typeof one?.name !== 'string' || typeof one?.text !== 'string' || fault(one, kept.length, bytes) !== null) continue;
    kept.push({ name: short(one.name), text: one.text });
    bytes += bytesOf(one.text);
  }
  return kept;
}

function bytesOf(text) {
  return new Blob([text]).size;
}

/** A name that a request takes: its first characters that fit. */
function short(name) {
  return name.slice(0, new TextEncoder().encodeInto(name, new Uint8Array(NAME_BYTES_MAX)).read);
}

export class Attachments {
  #input = byId('texts');
  #list = byId('attached');
  #place = null;
  #kept = new Map();
  #refuse;

  /** `refuse(sentence)` hears what could not be attached. */
  constructor(refuse) {
    this.#refuse = refuse;
    byId('attach').addEventListener('click', () => this.#input.click());
    this.#input.addEventListener('change', () => this.#add([...this.#input.files]));
  }

  /** Belongs to a place from now on: a chat, or the next new one. */
  show(place) {
    this.#place = place;
    this.#draw();
  }

  /** The texts, which are gone from here then. */
  take() {
    const taken = this.#of();
    this.#kept.delete(this.#place);
    this.#draw();
    return taken;
  }

  #of() {
    return this.#kept.get(this.#place) ?? [];
  }

  async #add(files) {
    const place = this.#place;
    this.#input.value = ''; // so that the same file can be chosen again
    for (const file of files) {
      const read = { name: short(file.name), text: file.size > BYTES_MAX ? '' : await textOf(file) };
      const others = this.#kept.get(place) ?? []; // as they are now: others may have come or gone meanwhile
      const fault = file.size > BYTES_MAX ? `${file.name} has ${file.size} bytes; ${BYTES_MAX} are the most.` : faultOf(read, others);
      if (fault) this.#refuse(fault);
      else this.#kept.set(place, [...others, read]);
    }
    this.#draw();
    byId('prompt').focus();
  }

  #draw() {
    const texts = this.#of();
    this.#list.hidden = texts.length === 0;
    this.#list.replaceChildren(...texts.map((text) => {
      const remove = el('button', { type: 'button', class: 'icon-button', 'aria-label': `Leave out ${text.name}`, title: 'Leave out' }, icon('close'));
      remove.addEventListener('click', () => {
        this.#kept.set(this.#place, this.#of().filter((other) => other !== text));
        this.#draw();
        byId('prompt').focus();
      });
      return el('li', {}, el('span', {}, text.name), remove);
    }));
  }
}

/** The text of a file, or null where it is no UTF-8. */
async function textOf(file) {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
  } catch {
    return null;
  }
}
