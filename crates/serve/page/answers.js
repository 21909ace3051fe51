// Answers that are being made: at most one per chat, each going on while another chat is looked at.
//
// What arrives is put into the message at once and shown at most once per frame; it is stored every SAVE_MS and at the end,
// so that a page that is closed keeps what had come. An answer ends whole, stopped, or with the server's error in it; one
// that begins stops the one before it in its chat.

const SAVE_MS = 2000;

export class Answers {
  #api;
  #heard;
  #running = new Map(); // chat id to {chat, message, abort}

  /** `heard`: {grew(chat, message), ended(chat, message), save(chat)}. */
  constructor(api, heard) {
    this.#api = api;
    this.#heard = heard;
  }

  get chatIds() {
    return new Set(this.#running.keys());
  }

  /** The chat as it is being written, and the message that grows. */
  of(chatId) {
    return this.#running.get(chatId) ?? null;
  }

  stop(chatId) {
    this.#running.get(chatId)?.abort.abort();
  }

  /** Asks for `message`, which is in the chat and empty; `makeBody` gives the request. Resolves when it is over. */
  async start(chat, message, makeBody) {
    const run = { chat, message, abort: new AbortController() };
    this.stop(chat.id);
    this.#running.set(chat.id, run);
    const started = performance.now();
    let frame = 0;
    let saved = started;
    const onDelta = ({ content, reasoning, replaces }) => {
      const now = performance.now();
      message.firstMs ??= Math.round(now - started);
      if (content && message.reasoning) message.thoughtMs ??= Math.round(now - started - message.firstMs);
      if (replaces) Object.assign(message, { content: '', reasoning: '', thoughtMs: undefined });
      message.content += content;
      if (reasoning) message.reasoning = (message.reasoning ?? '') + reasoning;
      frame ||= requestAnimationFrame(() => {
        frame = 0;
        this.#heard.grew(chat, message);
      });
      if (now - saved > SAVE_MS) {
        saved = now;
        this.#heard.save(chat);
      }
    };
    try {
      const { finish, usage, timings, origin, model, dropped } = await this.#api.answer(await makeBody(), run.abort.signal, onDelta);
      Object.assign(message, { finish: finish ?? 'stop', usage, timings });
      if (origin) message.origin = origin;
      if (model) message.model = model;
      if (dropped) message.dropped = dropped;
    } catch (error) {
      if (error.name === 'AbortError') message.finish = 'stopped';
      else Object.assign(message, { finish: 'error', error: error.message }, error.origin ? { origin: error.origin } : {});
    }
    cancelAnimationFrame(frame);
    if (this.#running.get(chat.id) === run) this.#running.delete(chat.id);
    this.#heard.ended(chat, message);
  }

  /** Writes down what has come so far, as cut off: for a page that is about to go. */
  saveAll() {
    for (const { chat } of this.#running.values()) this.#heard.save(chat);
  }
}
