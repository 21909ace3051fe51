// The server as the page sees it: the list of models, and an answer that arrives piece by piece.
//
// Requests go to the page's own origin, nowhere else (the server's Content-Security-Policy says so too). An error carries
// the server's own sentence. When a key is asked for, `onKeyNeeded` gets one from the person, it is kept for this tab's
// session, and the request is made again. Left out: retries; a failed answer is shown and made again when asked for.

import { readOrigin, readTimings, readUsage } from './measure.js';
import { SseParser } from './sse.js';

const KEY_NAME = 'ingle-key';
const KEY = /^[\x20-\x7e]+$/; // what a header can carry; anything else would make every request fail

/** A message as a sentence that another may follow. */
export function sentence(message) {
  return /[.!?]$/.test(message) ? message : `${message}.`;
}

export class ApiError extends Error {
  /** `origin`: where an answer was from that broke off, if it was from elsewhere. */
  constructor(message, status, origin = null) {
    super(message);
    this.status = status;
    this.origin = origin;
  }
}

export class Api {
  /** What the server says of itself beside its models: {endpoints, feedback}. */
  server = { endpoints: [], feedback: false };
  #key = '';
  #onKeyNeeded;
  #asking = null;

  /** `onKeyNeeded(message)` resolves to a key, or to null when the person gives none. */
  constructor(onKeyNeeded) {
    this.#onKeyNeeded = onKeyNeeded;
    try {
      const kept = sessionStorage.getItem(KEY_NAME) ?? '';
      if (KEY.test(kept)) this.#key = kept;
    } catch {
      // storage is denied: the key lives as long as the page
    }
  }

  async models(signal) {
    const response = await this.#fetch('/v1/models', { signal });
    const told = await json(response);
    const list = told?.data;
    if (!Array.isArray(list)) throw new ApiError('The server\'s list of models has no "data".', response.status);
    const names = Array.isArray(told.ingle?.endpoints) ? told.ingle.endpoints : [];
    this.server = { endpoints: names.filter((name) => typeof name === 'string'), feedback: told.ingle?.feedback === true };
    const writes = ({ capabilities: can }) => !Array.isArray(can) || can.includes('completion');
    return list.filter((model) => model && writes(model)).map((model) => model.id).filter((id) => typeof id === 'string');
  }

  get hasKey() {
    return this.#key !== '';
  }

  /** Says of an answer that it was good, or not; see the server's route for the words. */
  async feedback(id, signal) {
    const headers = { 'Content-Type': 'application/json' };
    await this.#fetch('/v1/ingle/feedback', { method: 'POST', headers, body: JSON.stringify({ id, signal }) });
  }

  /** The ledger, a page of its own. */
  async ledger() {
    return (await this.#fetch('/ledger', {})).text();
  }

  /**
   * Asks for an answer. `onDelta({content, reasoning, replaces})` hears each piece, and with `replaces` that what came before is void;
   * resolves to {finish, usage, timings, origin, model, dropped}.
   * Aborting `signal` closes the connection, which is how the server learns to stop.
   */
  async answer(body, signal, onDelta) {
    const request = { ...body, stream: true, stream_options: { include_usage: true } };
    const headers = { 'Content-Type': 'application/json', Accept: 'text/event-stream' };
    const response = await this.#fetch('/v1/chat/completions', { method: 'POST', headers, body: JSON.stringify(request), signal });
    if (!response.headers.get('Content-Type')?.startsWith('text/event-stream')) {
      throw new ApiError('The server did not answer with a stream of events.', response.status);
    }
    const end = { finish: null, usage: null, timings: null, origin: null, model: '', dropped: 0 };
    let whole = false;
    for await (const { data } of events(response)) {
      if (data === '[DONE]') {
        whole = true;
        break;
      }
      take(parse(data), end, onDelta);
    }
    if (!whole && end.finish === null) throw new ApiError('The connection ended before the answer did.', response.status);
    return end;
  }

  async #fetch(path, options) {
    for (;;) {
      const headers = this.#key ? { ...options.headers, Authorization: `Bearer ${this.#key}` } : options.headers;
      let response;
      try {
        response = await fetch(path, { ...options, headers, cache: 'no-store', credentials: 'omit' });
      } catch (error) {
        if (error.name === 'AbortError') throw error;
        throw new ApiError('The server can\'t be reached. Is it still running?', 0);
      }
      if (response.ok) return response;
      const message = await errorMessage(response);
      if (response.status !== 401 || !(await this.#askForKey(message))) throw new ApiError(message, response.status);
    }
  }

  /** One question at a time, however many requests need the key. */
  async #askForKey(message) {
    this.#asking ??= this.#keyFrom(message).finally(() => { this.#asking = null; });
    const key = await this.#asking;
    if (!key) return false;
    this.#key = key;
    try {
      sessionStorage.setItem(KEY_NAME, key);
    } catch {
      // as above
    }
    return true;
  }

  /** A key that can be sent, or null where the person gives none. */
  async #keyFrom(message) {
    let key = (await this.#onKeyNeeded(message))?.trim();
    while (key && !KEY.test(key)) key = (await this.#onKeyNeeded('A key has no characters but those of ASCII.'))?.trim();
    return key || null;
  }
}

/** The events of a response, as they come. */
async function* events(response) {
  const parser = new SseParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(value);
    }
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw error instanceof TypeError ? new ApiError('The connection to the server broke.', 0) : error;
  } finally {
    reader.cancel().catch(() => {});
  }
}

function take(chunk, end, onDelta) {
  if (chunk.error) throw new ApiError(messageOf(chunk.error) ?? 'The server stopped with an error it did not name.', 0, readOrigin(chunk.ingle));
  const choice = chunk.choices?.[0];
  const content = choice?.delta?.content;
  const reasoning = choice?.delta?.reasoning_content;
  // The words that come with it are for clients that can't take back what they have shown.
  if (typeof chunk.ingle?.replaced_by === 'string') onDelta({ content: '', reasoning: '', replaces: true });
  else if (content || reasoning) onDelta({ content: String(content ?? ''), reasoning: String(reasoning ?? '') });
  if (typeof choice?.finish_reason === 'string') end.finish = choice.finish_reason;
  if (typeof chunk.model === 'string') end.model = chunk.model;
  if (Number.isFinite(chunk.dropped_tokens)) end.dropped = chunk.dropped_tokens; // of a prompt that did not fit
  end.usage = readUsage(chunk.usage) ?? end.usage;
  end.timings = readTimings(chunk.timings) ?? end.timings;
  end.origin = readOrigin(chunk.ingle) ?? end.origin;
}

function parse(data) {
  try {
    const value = JSON.parse(data);
    if (value !== null && typeof value === 'object') return value;
  } catch {
    // told below
  }
  throw new ApiError('The server sent an event that is not a JSON object.', 0);
}

async function errorMessage(response) {
  let said = null;
  try {
    said = messageOf((await response.json()).error);
  } catch {
    // no JSON: the status has to do
  }
  const wait = Number(response.headers.get('Retry-After'));
  const later = response.status === 503 && wait > 0 ? ` Try again in ${wait} s.` : '';
  return (said ?? sentence(`The server answered ${response.status} ${response.statusText}`.trim())) + later;
}

/** The server's own words about an error, as a sentence, or null. */
function messageOf(error) {
  const message = typeof error === 'string' ? error : error?.message;
  return typeof message === 'string' && message.trim() !== '' ? sentence(message.trim().slice(0, 2000)) : null;
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    throw new ApiError('The server\'s answer is not JSON.', response.status);
  }
}
