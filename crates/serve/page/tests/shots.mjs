// Pictures of the page, to be looked at: node shots.mjs BASE_URL [FOLDER]
//
// A chat with every kind of block is imported, so that pictures of any server show the same; the models are the server's.

import { mkdir, readFile } from 'node:fs/promises';
import { launch } from './browser.mjs';

const [base, folder = 'shots'] = process.argv.slice(2);
if (!base) throw new Error('node shots.mjs BASE_URL [FOLDER]');
await mkdir(folder, { recursive: true });

const rich = await readFile(new URL('rich.md', import.meta.url), 'utf8');
const asked = 'How does a fireplace warm a room? Think first, then show me a table and a little code.';
const chats = {
  format: 'ingle-chats', version: 1, chats: [
    { title: 'Names for a boat', messages: [{ id: 'a', role: 'user', content: 'Five names for a small boat.' }] },
    { title: 'What a kernel does', messages: [{ id: 'a', role: 'user', content: 'What does a kernel do?' }] },
    { title: 'How a fireplace warms a room', messages: [
      { id: 'a', role: 'user', content: asked },
      { id: 'b', parent: 'a', role: 'assistant', content: 'By fire.', model: 'demo' },
      { id: 'c', parent: 'a', role: 'assistant', content: rich, model: 'demo', reasoning: 'They want **three** things.\n\n1. an explanation\n2. a table\n3. code', thoughtMs: 3200, firstMs: 480, finish: 'stop',
        usage: { prompt_tokens: 31, completion_tokens: 412 }, timings: { prompt_per_second: 402, predicted_per_second: 31.4 },
        origin: { route: 'here', joules: { value: 41, low: 9, high: 180, method: 'MODELLED' }, money: { value: 0.0000035, low: 0.0000008, high: 0.000016, currency: 'EUR' } } },
      { id: 'f', parent: 'c', role: 'user', content: 'Say it to [name] in a sentence.' },
      { id: 'g', parent: 'f', role: 'assistant', content: 'A fire warms what it shines on.', model: 'demo', finish: 'stop', usage: { prompt_tokens: 450, completion_tokens: 9 },
        origin: { route: 'redacted', by: 'workstation', joules: { value: 900, low: 160, high: 3200, method: 'ESTIMATED' }, replaced: true } },
      { id: 'd', parent: 'g', role: 'user', content: 'And which wood?' },
      { id: 'e', parent: 'd', role: 'assistant', content: '', model: 'demo', finish: 'error', error: 'The server can\'t be reached. Is it still running?' },
    ], head: 'e' },
  ],
};

const browser = await launch();
process.on('uncaughtException', async (error) => {
  console.error(error.message);
  await browser.close();
  process.exit(1);
});
const SHOTS = [
  ['desktop-light', { width: 1280, height: 860 }, 'light'],
  ['desktop-dark', { width: 1280, height: 860 }, 'dark'],
  ['phone-light', { width: 360, height: 740 }, 'light'],
  ['phone-dark', { width: 360, height: 740 }, 'dark'],
];
for (const [name, viewport, colorScheme] of SHOTS) {
  const context = await browser.newContext({ viewport, colorScheme, deviceScaleFactor: 1.5, isMobile: viewport.width < 500, hasTouch: viewport.width < 500 });
  const page = await context.newPage();
  page.on('console', (message) => { if (message.type() === 'error') console.log(`${name}: ${message.text()}`); });
  page.on('pageerror', (error) => console.log(`${name}: ${error}`));
  const shot = (what) => page.screenshot({ path: `${folder}/${name}-${what}.png` });
  await page.goto(base);
  await page.waitForSelector('#model option', { state: 'attached' });
  await shot('empty');
  await page.setInputFiles('#file', { name: 'chats.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(chats)) });
  await page.waitForSelector('#chats li', { state: 'attached' });
  await page.evaluate(() => { document.querySelector('#notes').replaceChildren(); location.hash = [...document.querySelectorAll('#chats a')].find((a) => a.title.startsWith('How')).getAttribute('href'); });
  await page.waitForSelector('.table');
  await page.waitForTimeout(300);
  await shot('end');
  await page.evaluate(() => { document.querySelector('.thinking').open = true; document.querySelector('#scroll').scrollTop = 0; });
  await page.waitForTimeout(300);
  await shot('top');
  await page.evaluate(() => { document.querySelector('#scroll').scrollTop = 620; });
  await page.waitForTimeout(300);
  await shot('middle');
  await page.fill('#prompt', 'And what burns best?');
  await page.click('#send');
  await page.waitForFunction(() => [...document.querySelectorAll('.assistant')].at(-1).querySelector('.cost'));
  const thumb = page.locator('.thumb').first();
  if (await thumb.count()) await thumb.click();
  await page.waitForTimeout(300);
  await shot('answered');
  await page.click('#settings-open');
  await page.evaluate(() => { const form = document.querySelector('#settings'); form.scrollTop = form.scrollHeight; });
  await page.waitForTimeout(150);
  await shot('settings');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Alt+KeyH');
  await page.waitForTimeout(150);
  await shot('shortcuts');
  await page.keyboard.press('Escape');
  if (viewport.width < 500) {
    await page.click('#side-open');
    await page.waitForTimeout(200);
    await shot('side');
  } else {
    await page.click('#chat-menu summary');
    await page.hover('#chats li');
    await shot('menu');
  }
  await context.close();
}
await browser.close();
