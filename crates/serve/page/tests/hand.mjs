// What the cases do with the page, in a person's steps, and `played`, which puts one written answer in the server's place.

export async function open(context, origin) {
  const page = await context.newPage();
  await page.goto(origin);
  await page.waitForSelector('#model:not([disabled]) option', { state: 'attached' });
  return page;
}

/** Types a message, sends it, and waits for the whole answer. */
export async function ask(page, message) {
  const before = await count(page, '.assistant .cost');
  await page.fill('#prompt', message);
  await page.focus('#prompt');
  await page.keyboard.press('Enter');
  await page.waitForFunction((n) => document.querySelectorAll('.assistant .cost').length > n, before, { timeout: 50_000 });
}

export const count = (page, selector) => page.locator(selector).count();
export const text = (page, selector) => page.locator(selector).first().textContent();

export async function article(page, at) {
  const found = page.locator('article').nth(at);
  return (await found.count()) ? found.textContent() : null;
}

/** Imports chats and waits until the single one of them is open. */
export async function importChats(page, chats, json = JSON.stringify({ format: 'ingle-chats', version: 1, chats })) {
  await page.setInputFiles('#file', { name: 'chats.json', mimeType: 'application/json', buffer: Buffer.from(json) });
  await page.waitForSelector('article.assistant');
}

/** A text as the deltas that bring it, cut every `size` characters. */
export function chunks(whole, size, field = 'content') {
  const found = [];
  for (let at = 0; at < whole.length; at += size) found.push({ choices: [{ index: 0, delta: { [field]: whole.slice(at, at + size) }, finish_reason: null }] });
  return found;
}

/** Has the server's list of models say this of the server. */
export async function told(context, ingle) {
  await context.route('**/v1/models', async (route) => {
    const list = await (await route.fetch()).json();
    return route.fulfill({ json: { ...list, ingle } });
  });
}

/** Puts a written response in the place of the server's answers: a stream of events, or a refusal with a status. */
export async function played(context, events, { status = 200, headers = {}, error = '', times, sent = [] } = {}) {
  const end = [{ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }, { choices: [], usage: { prompt_tokens: 3, completion_tokens: 4 }, timings: { prompt_per_second: 5, predicted_per_second: 6 } }];
  await context.route('**/v1/chat/completions', (route) => {
    sent.push(route.request().postDataJSON());
    if (!events) return route.fulfill({ status, headers, json: { error: { message: error } } });
    const stream = [...events, ...end].map((event) => `data: ${JSON.stringify(event)}\n\n`).join('');
    return route.fulfill({ status, headers: { 'Content-Type': 'text/event-stream', ...headers }, body: `${stream}data: [DONE]\n\n` });
  }, { times });
}
