// Where chats are kept: this browser's IndexedDB, or the page's memory where the browser denies it.
//
// Two object stores: `chats` by identifier, and `summaries`, the little that the list shows, so that opening the page does
// not read every chat. Both are written in one transaction. `durable` says whether chats outlive the page. Other tabs hear
// of a change by BroadcastChannel and read again. Left out: merging; of two tabs in one chat, the later write stands.

import { summary } from './conversation.js';

const DATABASE = 'ingle';
const VERSION = 1;
const STORES = ['chats', 'summaries'];

export async function openStore() {
  try {
    return new Store(await openDatabase());
  } catch {
    return new Store(null);
  }
}

function openDatabase() {
  const request = indexedDB.open(DATABASE, VERSION);
  request.onupgradeneeded = () => {
    for (const name of STORES) request.result.createObjectStore(name, { keyPath: 'id' });
  };
  return settled(request);
}

class Store {
  #database;
  #memory = new Map();
  #channel = typeof BroadcastChannel === 'function' ? new BroadcastChannel('ingle-chats') : null;

  constructor(database) {
    this.#database = database;
    database?.addEventListener('versionchange', () => database.close());
  }

  get durable() {
    return this.#database !== null;
  }

  /** Calls `heard(id)` when another tab has written or deleted a chat. */
  onChange(heard) {
    this.#channel?.addEventListener('message', ({ data }) => heard(String(data)));
  }

  /** What the list shows, the newest first. */
  async summaries() {
    const all = this.#database
      ? await settled(this.#database.transaction('summaries').objectStore('summaries').getAll())
      : [...this.#memory.values()].map(summary);
    return all.sort((a, b) => b.updated - a.updated);
  }

  async chat(id) {
    if (!this.#database) return structuredClone(this.#memory.get(id) ?? null);
    return (await settled(this.#database.transaction('chats').objectStore('chats').get(id))) ?? null;
  }

  async put(chat) {
    if (this.#database) {
      await this.#write((chats, summaries) => {
        chats.put(chat);
        summaries.put(summary(chat));
      });
    } else {
      this.#memory.set(chat.id, structuredClone(chat));
    }
    this.#channel?.postMessage(chat.id);
  }

  async remove(id) {
    if (this.#database) {
      await this.#write((chats, summaries) => {
        chats.delete(id);
        summaries.delete(id);
      });
    } else {
      this.#memory.delete(id);
    }
    this.#channel?.postMessage(id);
  }

  async all() {
    if (!this.#database) return structuredClone([...this.#memory.values()]);
    return settled(this.#database.transaction('chats').objectStore('chats').getAll());
  }

  #write(change) {
    const transaction = this.#database.transaction(STORES, 'readwrite');
    change(...STORES.map((name) => transaction.objectStore(name)));
    transaction.commit(); // without waiting for this page, which may be about to go
    return new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onerror = transaction.onabort = () => reject(transaction.error ?? new Error('the browser gave up writing'));
    });
  }
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error ?? new Error('the database is in use'));
  });
}

/** A small value that outlives the page where the browser lets it: the theme, defaults for new chats. */
export const preferences = {
  get(name, fallback) {
    try {
      return JSON.parse(localStorage.getItem(`ingle-${name}`)) ?? fallback;
    } catch {
      return fallback;
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`ingle-${name}`, JSON.stringify(value));
    } catch {
      // denied or full: it holds until the page is closed
    }
  },
};
