// A stand-in for `ingle serve`, for developing the page: it plays the server's wire form, it has no model.
//
//   node stand-in.mjs [PORT] [--key K]        http://127.0.0.1:8384 by default
//
// It serves the page's files as the real server does, with the same Content-Security-Policy, and answers with canned text
// that it streams word by word. What is asked decides: "think" has thinking before it, "long" goes on for a minute, "rich"
// shows every kind of block, "fail" is a refusal, "break" ends in an error halfway, else it repeats what was said. The numbers
// it reports as speeds are made up. Results that count come from the real server; see run.mjs.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('..', import.meta.url));
const KINDS = { '.html': 'text/html; charset=utf-8', '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.svg': 'image/svg+xml' };
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const READS_ONLY = { id: 'reads-only', object: 'model', capabilities: ['embedding'] };
const MODELS = ['stand-in', 'stand-in-slow'];
const ORIGIN = { route: 'here', wall_ms: 900, joules: { value: 4.1, low: 0.9, high: 18, method: 'MODELLED', scope: 'package' } };
const BODY_BYTES_MAX = 32 << 20;

const RICH = await readFile(new URL('rich.md', import.meta.url), 'utf8');

export function serve(port, key = null) {
  const server = createServer((request, response) => {
    answer(request, response, key).catch((error) => {
      if (!response.headersSent) refuse(response, 500, error.message);
      else response.destroy();
    });
  });
  return new Promise((resolve) => { server.listen(port, '127.0.0.1', () => resolve(server)); });
}

async function answer(request, response, key) {
  const { pathname } = new URL(request.url, 'http://here');
  if (pathname === '/' || /^\/page\/[a-z_]+\.[a-z]+$/.test(pathname)) return file(response, pathname === '/' ? 'index.html' : pathname.slice(6));
  if (key && request.headers.authorization !== `Bearer ${key}`) return refuse(response, 401, 'This server needs an API key.');
  if (pathname === '/v1/models') return json(response, 200, { object: 'list', data: [...MODELS.map((id) => ({ id, object: 'model' })), READS_ONLY], ingle: { endpoints: ['workstation'], feedback: true } });
  if (pathname === '/ledger') return ledger(response);
  if (pathname === '/v1/ingle/feedback' && request.method === 'POST') return json(response, 200, {});
  if (pathname === '/v1/chat/completions' && request.method === 'POST') return complete(request, response);
  return refuse(response, 404, `There is no ${pathname} here.`);
}

function ledger(response) {
  response.writeHead(200, { 'Content-Type': KINDS['.html'], 'Content-Security-Policy': POLICY });
  response.end('<!doctype html><title>Ledger</title><p>Answered here: 1 answer</p><svg width="9" height="9"></svg>');
}

async function file(response, name) {
  try {
    const bytes = await readFile(join(PAGE, name));
    response.writeHead(200, { 'Content-Type': KINDS[extname(name)] ?? 'application/octet-stream', 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff', 'Cache-Control': 'no-cache' });
    response.end(bytes);
  } catch {
    refuse(response, 404, `There is no ${name} here.`);
  }
}

async function complete(request, response) {
  let text = '';
  for await (const piece of request) {
    text += piece;
    if (text.length > BODY_BYTES_MAX) return refuse(response, 413, 'The request is too large.');
  }
  const { model, messages, route, max_tokens: most = Infinity } = JSON.parse(text);
  if (!MODELS.includes(model)) return refuse(response, 404, `There is no model ${model}.`);
  const asked = messages.at(-1).content;
  const has = (word) => asked.toLowerCase().includes(word);
  if (has('fail')) return refuse(response, 503, 'All places are taken.', { 'Retry-After': '3' });

  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
  const send = (delta, more = {}) => response.write(`data: ${JSON.stringify({ id: 'chat-1', object: 'chat.completion.chunk', model, choices: [{ index: 0, delta, finish_reason: null }], ...more })}\n\n`);
  const pause = model === 'stand-in-slow' || has('long') ? 25 : 4;
  let n = 0;
  const stream = async (field, words) => {
    for (const word of words.match(/\s*\S+\s*$|\s*\S+/g) ?? []) {
      if (response.destroyed || n >= most) return;
      send({ [field]: word });
      n += 1;
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  };
  send({ role: 'assistant', content: '' });
  if (has('think')) await stream('reasoning_content', 'The person asks me to think. **So** I look at the words one by one, and weigh them.\n\n1. What is meant?\n2. What is the shortest true answer?\n\nThen I write it down.');
  await stream('content', has('rich') ? RICH : has('long') ? 'On and on the words go, one behind the other. '.repeat(250) : `You said: ${asked}\n\nThat was message ${messages.length}.`);
  if (has('break')) return response.end(`data: ${JSON.stringify({ error: { message: 'The model stopped halfway.' } })}\n\n`);
  const usage = { prompt_tokens: text.length >> 2, completion_tokens: n, total_tokens: n + (text.length >> 2) };
  const finish = n >= most ? 'length' : 'stop';
  const origin = route === 'cloud' ? { ...ORIGIN, route: 'there', by: 'workstation', finish } : { ...ORIGIN, id: `answer-${Math.random()}` };
  response.write(`data: ${JSON.stringify({ model, choices: [{ index: 0, delta: {}, finish_reason: finish }] })}\n\n`);
  response.write(`data: ${JSON.stringify({ model, choices: [], usage, timings: { prompt_per_second: 412.5, predicted_per_second: 38.2 }, ingle: origin })}\n\n`);
  return response.end('data: [DONE]\n\n');
}

function json(response, status, value, headers = {}) {
  response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
  response.end(JSON.stringify(value));
}

function refuse(response, status, message, headers = {}) {
  json(response, status, { error: { message, type: 'invalid_request_error' } }, headers);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const keyAt = process.argv.indexOf('--key');
  const port = Number(process.argv[2]) || 8384;
  await serve(port, keyAt > 0 ? process.argv[keyAt + 1] : null);
  console.log(`stand-in for developing the page: http://127.0.0.1:${port}`);
}
