// The server as the page sees it, with `fetch` played: keys, and the server's own sentences.

import test from 'node:test';
import assert from 'node:assert/strict';
import { Api, sentence } from '../../api.js';

/** An Api whose server has one key, and the messages with which it asked for it; `given` are the answers. */
function withKey(given) {
  const asked = [];
  globalThis.fetch = async (path, { headers }) => {
    new Headers(headers); // throws as fetch does
    return headers?.Authorization === 'Bearer secret'
      ? Response.json({ data: [{ id: 'm' }] })
      : Response.json({ error: { message: 'this server needs an API key: Authorization: Bearer KEY' } }, { status: 401 });
  };
  return { asked, api: new Api(async (message) => { asked.push(message); return given.shift() ?? null; }) };
}

test('a key that no header can carry is refused and asked for again', async () => {
  const { asked, api } = withKey(['schl\u00fcssel', '\u706b', 'line\nbreak', ' secret ']);
  assert.deepEqual(await api.models(), ['m']);
  assert.equal(asked.length, 4);
  assert.ok(asked.slice(1).every((message) => /ASCII/.test(message)));
});

test('where no key is given the server has refused, it is not away', async () => {
  const { asked, api } = withKey([]);
  await assert.rejects(api.models(), { status: 401 });
  assert.deepEqual(asked, ['this server needs an API key: Authorization: Bearer KEY.']);
});

test('what the server says is a sentence that another may follow', async () => {
  assert.deepEqual(['No.', 'Why?', 'a word'].map(sentence), ['No.', 'Why?', 'a word.']);
  globalThis.fetch = async () => Response.json({ error: { message: 'all places are taken' } }, { status: 503, headers: { 'Retry-After': '2' } });
  await assert.rejects(new Api().models(), { message: 'all places are taken. Try again in 2 s.' });
  globalThis.fetch = async () => new Response('', { status: 500, statusText: 'Internal Server Error' });
  await assert.rejects(new Api().models(), { message: 'The server answered 500 Internal Server Error.' });
});
