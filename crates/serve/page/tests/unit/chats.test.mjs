// Chats as data: branches, what a model is sent, settings, files out and in, the line of costs.

import test from 'node:test';
import assert from 'node:assert/strict';
import * as conversation from '../../conversation.js';
import { BYTES_MAX, DOCUMENTS_MAX, faultOf, readDocuments } from '../../attachments.js';
import { badgeOf, costOf, readOrigin, readTimings, readUsage, seconds } from '../../measure.js';
import { requestFields, SETTINGS, shown } from '../../sampling.js';
import { fileName, fromJson, toFiles, toJson, toMarkdown } from '../../transfer.js';

let made = 0;
const id = () => `id${made++}`;
const user = (content) => ({ id: id(), role: 'user', content });
const model = (content) => ({ id: id(), role: 'assistant', content, reasoning: 'secret', model: 'm' });

/** Two questions, the first answered twice and then edited; shown is the edited one. */
function branched() {
  const chat = conversation.newChat('c', 1000, { system: 'Be kind.', sampling: { seed: 3 } });
  const one = conversation.append(chat, null, user('One'));
  const a = conversation.append(chat, one.id, model('A'));
  const b = conversation.append(chat, one.id, model('B'));
  const two = conversation.append(chat, b.id, user('Two'));
  const edited = conversation.append(chat, null, user('One, edited'));
  return { chat, one, a, b, two, edited };
}
const contents = (chat) => conversation.path(chat).map(({ content }) => content);

test('shows one branch and finds the way to the others', () => {
  const { chat, one, a, b, edited } = branched();
  assert.deepEqual(contents(chat), ['One, edited']);
  assert.deepEqual(conversation.siblings(chat, edited), [one, edited]);
  conversation.show(chat, one);
  assert.deepEqual(contents(chat), ['One', 'B', 'Two']);
  conversation.show(chat, a);
  assert.deepEqual(contents(chat), ['One', 'A']);
  assert.deepEqual(conversation.siblings(chat, a), [a, b]);
  assert.equal(chat.title, 'One');
});

test('sends the system prompt and the branch up to the question, without thinking', () => {
  const { chat, two, one } = branched();
  conversation.show(chat, two);
  assert.deepEqual(conversation.request(chat, two), [{ role: 'system', content: 'Be kind.' }, { role: 'user', content: 'One' },
    { role: 'assistant', content: 'B' }, { role: 'user', content: 'Two' }]);
  chat.system = ' ';
  assert.deepEqual(conversation.request(chat, one), [{ role: 'user', content: 'One' }]);
});

test('a ring of parents ends', () => {
  const chat = { head: 'a', messages: [{ id: 'a', parent: 'b' }, { id: 'b', parent: 'a' }] };
  assert.equal(conversation.path(chat).length, 2);
});

test('titles are the first line, cut by characters', () => {
  assert.equal(conversation.titleOf('\n  first line \nsecond'), 'first line');
  assert.equal([...conversation.titleOf('𝒳'.repeat(100))].length, conversation.TITLE_CHARS_MAX);
});

test('a file out and in again is the same chat', () => {
  const { chat } = branched();
  const [back] = fromJson(toJson([chat]), id, 2000);
  assert.deepEqual(contents(back), contents(chat));
  assert.equal(back.messages.length, 5);
  assert.notEqual(back.id, chat.id);
  for (const key of ['title', 'system', 'sampling', 'created']) assert.deepEqual(back[key], chat[key]);
  assert.equal(back.messages[1].reasoning, 'secret');
  assert.deepEqual(back.messages.map(({ parent }) => back.messages.findIndex((m) => m.id === parent)), [-1, 0, 0, 2, -1]);
});

test('all chats go out in files that each come in again, and one too large for that is named', () => {
  const chats = ['a', 'b', 'c', 'd'].map((name, i) => {
    const chat = conversation.newChat(name, 1000, {});
    conversation.append(chat, null, user(`${name} ${'\u20ac'.repeat(i === 2 ? 2000 : 100)}`));
    return chat;
  });
  const bytesMax = 2500;
  const { files, left } = toFiles(chats, bytesMax);
  assert.ok(files.length > 1 && files.every((file) => new Blob([file]).size <= bytesMax));
  assert.deepEqual(files.flatMap((file) => fromJson(file, id, 2000)).map(({ title }) => title[0]), ['a', 'b', 'd']);
  assert.deepEqual(left.map((title) => title[0]), ['c']);
  const small = (n) => Array.from({ length: n }, () => ({ title: '', messages: [] }));
  assert.deepEqual(toFiles(small(10_001)).files.map((file) => JSON.parse(file).chats.length), [10_000, 1]);
  assert.deepEqual(toFiles([{ title: 'long', messages: Array(20_001).fill(0) }]), { files: [], left: ['long'] });
  assert.equal(toFiles(chats).files[0], toJson(chats), 'what fits one file is one');
});

test('a file keeps no field it does not know, and no number that is none', () => {
  const file = { format: 'ingle-chats', version: 1, chats: [{ evil: 1, created: 'x', updated: 1e99, sampling: { top_p: 7, top_k: 1.5, stop: [1], seed: 4 },
    messages: [{ id: 1, role: 'user', content: 'hi', evil: 2 }, { parent: 1, role: 'assistant', content: '', usage: { completion_tokens: -1, evil: 3 }, firstMs: '9' }] }] };
  const [chat] = fromJson(JSON.stringify(file), id, 5000);
  assert.deepEqual(chat.sampling, { seed: 4 });
  assert.deepEqual([chat.created, chat.updated], [5000, 5000]);
  assert.ok(!JSON.stringify(chat).includes('evil'));
  assert.equal(chat.messages[1].usage, null);
  assert.equal(chat.messages[1].firstMs, undefined);
  assert.equal(chat.head, chat.messages[1].id);
});

test('what is no file of chats is refused with the reason', () => {
  const cases = [['', /not JSON/], ['null', /holds no chats/], ['{"format":"ingle-chats"}', /version none/], ['{"format":"ingle-chats","version":1,"chats":{}}', /list of at most/],
    ['{"format":"ingle-chats","version":1,"chats":[null]}', /Chat 1: "messages"/], ['{"format":"ingle-chats","version":1,"chats":[{"messages":[null]}]}', /message 1/],
    ['{"format":"ingle-chats","version":1,"chats":[{"messages":[{"role":"user","content":"","parent":"later"}]}]}', /"parent"/]];
  for (const [text, reason] of cases) assert.throws(() => fromJson(text, id, 1), reason, text);
});

test('of where a chat in a file was answered only "stay here" is kept', () => {
  const routeOf = (route) => fromJson(toJson([{ ...branched().chat, route }]), id, 2000)[0].route;
  assert.deepEqual(['local', 'cloud', 'auto', { local: 1 }, undefined].map(routeOf), ['local', undefined, undefined, undefined, undefined]);
});

test('Markdown has the branch that is shown', () => {
  const { chat, two } = branched();
  conversation.show(chat, two);
  assert.equal(toMarkdown(chat), '# One\n\n## System\n\nBe kind.\n\n## You\n\nOne\n\n## m\n\n> secret\n\nB\n\n## You\n\nTwo\n');
});

test('names of files are plain', () => {
  assert.equal(fileName('../../etc/pass wd?', 'md'), 'etc-pass-wd.md');
  assert.equal(fileName('???', 'json'), 'chat.json');
  assert.equal(fileName('Größe 火', 'md'), 'Größe-火.md');
});

test('every setting takes what it shows and refuses what it can not be', () => {
  const good = { temperature: 0.7, top_p: 0.9, top_k: 40, min_p: 0.05, max_tokens: 100, seed: 12, stop: ['END', 'a\nb'], overflow: 'drop-oldest' };
  assert.deepEqual(SETTINGS.map(({ key }) => key).sort(), Object.keys(good).sort());
  for (const setting of SETTINGS) assert.deepEqual(setting.parse(shown(setting, good[setting.key])), good[setting.key], setting.key);
  for (const setting of SETTINGS.filter(({ kind }) => kind === 'number')) {
    for (const bad of ['-1', 'x', ' ', 'Infinity', 'NaN']) assert.throws(() => setting.parse(bad), /number from/, `${setting.key} ${bad}`);
  }
  assert.deepEqual(requestFields(good), good);
  assert.deepEqual(requestFields({ temperature: '1', top_p: 0, stop: [], seed: null, overflow: 'maybe' }), {});
});

test('the line of costs tells what was measured and nothing else', () => {
  const usage = readUsage({ prompt_tokens: 1234, completion_tokens: 1, total_tokens: 9 });
  const timings = readTimings({ predicted_per_second: 31.44, prompt_per_second: 402.2, cache_n: 1 });
  assert.deepEqual(costOf({ usage, timings, firstMs: 480 }), ['1 token', '31.4 tokens/s', 'first after 0.5 s', 'prompt 1,234 at 402/s']);
  assert.deepEqual(costOf({ usage: null, timings: null, dropped: 20 }), ['20 oldest left out']);
  assert.equal(readTimings({ predicted_per_second: null }), null);
  assert.deepEqual([900, 59_400, 59_600, 61_000, 119_600].map(seconds), ['0.9 s', '59 s', '1 min 0 s', '1 min 1 s', '2 min 0 s']);
});

test('the badge says where an answer is from, how its energy is known, and nothing that was not said', () => {
  const joules = { value: 12.34, low: 3, high: 55, method: 'MODELLED', scope: 'package' };
  const money = { value: 0.0000123, low: 0, high: 0.00005, currency: 'EUR' };
  const here = badgeOf(readOrigin({ route: 'here', joules, money, wall_ms: 3 }));
  assert.deepEqual([here.word, here.energy, here.cost], ['here', '12 J (3 to 55), modelled', '0.000012 EUR']);
  const there = badgeOf(readOrigin({ route: 'redacted', by: 'workstation', joules: { ...joules, value: 4000, high: 9000, method: 'ESTIMATED' }, replaced: { joules } }));
  assert.deepEqual([there.word, there.energy, there.cost], ['there, redacted', '1.1 Wh (0.00083 to 2.5), estimated', null]);
  assert.match(there.title, /Answered by workstation, without what is private\. An answer from this device was begun and replaced\./);
  assert.deepEqual(readOrigin({ route: 'here', joules: { value: 9, low: 10, high: 11, method: 'x' }, money: { ...money, currency: '<b>' } }), { route: 'here' });
  for (const bad of [null, {}, { route: 'moon' }, 'here']) assert.equal(readOrigin(bad), null);
  assert.equal(badgeOf(null), null);
  assert.equal(badgeOf(readOrigin({ route: 'there', finish: 'constructor' })).word, 'there, constructor', 'a word that every object knows');
});

test('texts are texts, few and short enough for a request, and others are refused in a sentence', () => {
  const text = { name: 'a.md', text: 'Anna lives here.' };
  assert.equal(faultOf(text, []), null);
  assert.match(faultOf({ name: 'a.pdf', text: '%PDF-1.7' }, []), /a\.pdf is not a text/);
  assert.match(faultOf({ name: 'a.bin', text: null }, []), /a\.bin is not a text/);
  assert.match(faultOf({ name: 'a.bin', text: 'a\0' }, []), /not a text/);
  assert.match(faultOf({ name: 'a.md', text: ' \n' }, []), /empty/);
  assert.match(faultOf(text, Array(DOCUMENTS_MAX).fill(text)), /100 texts are the most/);
  assert.match(faultOf(text, [{ name: 'b', text: 'x'.repeat(BYTES_MAX) }]), /bytes; \d+ are the most/);
  assert.deepEqual(readDocuments([text, { name: 1, text: 'x' }, { name: 'b', text: '' }, null, 'x', { ...text, path: '/etc/passwd' }]), [text, text]);
  assert.deepEqual([readDocuments(null), readDocuments('x')], [[], []]);
  assert.ok(new Blob([readDocuments([{ name: '\u{1f600}'.repeat(100), text: 'x' }])[0].name]).size <= 255);
});

test('of the texts of a file the bad ones are left out, not those beside them, and hostile ones take little time', () => {
  const text = { name: 'a.md', text: 'Anna lives here.' };
  const long = { name: 'b', text: 'x'.repeat(BYTES_MAX + 1) };
  assert.deepEqual(readDocuments([text, long, text]), [text, text]);
  assert.equal(readDocuments(Array(100_000).fill(text)).length, DOCUMENTS_MAX);
  const start = performance.now();
  const [{ name }] = readDocuments([{ name: `\u{1f600}${'x'.repeat(100_000)}`, text: 'x' }]);
  assert.deepEqual([name, readDocuments([{ name: '\u{1f600}'.repeat(100), text: 'x' }])[0].name.length], [`\u{1f600}${'x'.repeat(251)}`, 2 * 63]);
  assert.ok(performance.now() - start < 2000, 'a long name took its square');
});

test('texts go out and come back with their chat, and the badge says what of them left', () => {
  const chat = conversation.newChat('c', 1000, { system: '', sampling: {} });
  const documents = [{ name: 'a.md', text: 'Anna lives here.' }];
  conversation.append(chat, null, { ...user('Who?'), documents });
  const [back] = fromJson(toJson([chat]), id, 2000);
  assert.deepEqual(back.messages[0].documents, documents);
  assert.ok(conversation.request(chat, chat.messages[0]).every((message) => Object.keys(message).join() === 'role,content'));
  const title = (told) => badgeOf(readOrigin({ route: 'here', documents: told })).title;
  assert.match(title({ bytes_read: 2222, bytes_left: 75, n_passages: 3, facts: [] }), /2,222 bytes of text were read here in 3 passages, 75 bytes left\./);
  assert.match(title({ bytes_read: 22, bytes_left: 0, n_passages: 0 }), /22 bytes of text were read here, nothing left\./);
  assert.ok(!title({ bytes_read: 'x' }).includes('text'));
});
