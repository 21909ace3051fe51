// Answers that are being made, with a played server: one per chat, and what a replacement takes back.

import test from 'node:test';
import assert from 'node:assert/strict';
import { Answers } from '../../answers.js';

globalThis.requestAnimationFrame = (run) => setTimeout(run, 0);
globalThis.cancelAnimationFrame = clearTimeout;

/** Answers of a server that goes on until it is stopped; `deltas` hears the listener of each request. */
function answers(deltas = []) {
  const ended = [];
  const api = {
    answer: (body, signal, onDelta) => new Promise((_, reject) => {
      deltas.push(onDelta);
      signal.addEventListener('abort', () => reject(new DOMException('', 'AbortError')));
    }),
  };
  return { ended, answers: new Answers(api, { grew() {}, save() {}, ended: (_, message) => ended.push(message) }) };
}
const settle = () => new Promise((resolve) => { setTimeout(resolve, 5); });

test('an answer that begins stops the one before it, and can be stopped itself', async () => {
  const { ended, answers: all } = answers();
  const chat = { id: 'c' };
  const [one, two] = [{ content: '' }, { content: '' }];
  all.start(chat, one, async () => ({}));
  await settle();
  all.start(chat, two, async () => ({}));
  await settle();
  assert.deepEqual([ended, one.finish, all.of('c')?.message === two], [[one], 'stopped', true]);
  all.stop('c');
  await settle();
  assert.deepEqual([ended, two.finish, all.of('c')], [[one, two], 'stopped', null]);
});

test('an answer that is replaced takes its thinking with it', async () => {
  const deltas = [];
  const { answers: all } = answers(deltas);
  const message = { content: '' };
  all.start({ id: 'c' }, message, async () => ({}));
  await settle();
  deltas[0]({ content: '', reasoning: 'Hm.' });
  deltas[0]({ content: 'Wrong.', reasoning: '' });
  assert.ok(Number.isFinite(message.thoughtMs));
  deltas[0]({ content: '', reasoning: '', replaces: true });
  deltas[0]({ content: 'Right.', reasoning: '' });
  assert.deepEqual([message.content, message.reasoning, message.thoughtMs], ['Right.', '', undefined]);
  all.stop('c');
});
