// The parser of server-sent events: the same events however the bytes are cut.

import test from 'node:test';
import assert from 'node:assert/strict';
import { SseParser } from '../../sse.js';

const STREAM = ': hello\n\ndata: {"a":1}\n\ndata: one\r\ndata: two\r\n\r\nevent: error\rdata:x\r\rid: 7\ndata\n\n';
const EVENTS = [
  { event: 'message', data: '{"a":1}' },
  { event: 'message', data: 'one\ntwo' },
  { event: 'error', data: 'x' },
  { event: 'message', data: '' },
];

test('gives the same events wherever a piece ends', () => {
  for (let size = 1; size <= STREAM.length; size += 1) {
    const parser = new SseParser();
    const events = [];
    for (let at = 0; at < STREAM.length; at += size) events.push(...parser.push(STREAM.slice(at, at + size)));
    assert.deepEqual(events, EVENTS, `pieces of ${size}`);
  }
});

test('of two LF behind a CR only the first belongs to it', () => {
  const parser = new SseParser();
  const events = ['data: a\r', '\n', '\n', 'data: b\n\n'].flatMap((piece) => parser.push(piece));
  assert.deepEqual(events.map(({ data }) => data), ['a', 'b']);
});

test('gives no event for one that has not ended', () => {
  const parser = new SseParser();
  assert.deepEqual(parser.push('data: half\n'), []);
  assert.deepEqual(parser.push('\n'), [{ event: 'message', data: 'half' }]);
});

test('refuses an event without end', () => {
  const parser = new SseParser();
  const piece = 'x'.repeat(1 << 20);
  parser.push('data: ');
  assert.throws(() => { for (let i = 0; i < 9; i += 1) parser.push(piece); }, /more than 8388608 characters/);
});

test('refuses an event of too many lines', () => {
  const parser = new SseParser();
  const piece = `data: ${'x'.repeat(1 << 20)}\n`;
  assert.throws(() => { for (let i = 0; i < 9; i += 1) parser.push(piece); }, /more than 8388608 characters/);
});
