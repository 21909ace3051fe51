// What must hold of the page, one entry per promise: {name, run(context, origin), options}. See run.mjs.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { article, ask, chunks, count, importChats, open, played, text, told } from './hand.mjs';

const STORY = 'Write a story about a fox and a lantern.';

const HOSTILE = [
  'Hello <img src=x onerror="window.pwned=1"> there.',
  '<script>window.pwned=2</script>',
  '[click me](javascript:window.pwned=3) and [me](data:text/html,<script>window.pwned=4</script>) and <a href="javascript:1">x</a>',
  '![picture](http://127.0.0.2:9/beacon.png) ![p](javascript:window.pwned=5) ![](/v1/models)',
  '<svg onload=window.pwned=6></svg><iframe src="javascript:window.pwned=7"></iframe><style>body{display:none}</style>',
  '```"><img src=x onerror=window.pwned=8>\n</code></pre><script>window.pwned=9</script>\n```',
  '| <img src=x onerror=window.pwned=10> | b |\n|---|---|\n| <script>window.pwned=11</script> | [z](vbscript:1) |',
  '&lt;img src=x onerror=window.pwned=12&gt; and [ok](https://example.org/a)',
].join('\n\n');

/** Nothing of HOSTILE may have become anything but text and one harmless link to each http address. */
async function harmless(page, inside) {
  const found = await page.locator(inside).evaluate((node) => ({
    forbidden: [...node.querySelectorAll('img, script, iframe, style, object, embed, link, form:not(.editing), [onerror], [onload], [style]')].map((n) => n.outerHTML),
    links: [...node.querySelectorAll('a')].map((a) => [a.href, a.rel, a.textContent]),
    text: node.textContent,
    pwned: window.pwned ?? null,
  }));
  assert.deepEqual(found.forbidden, []);
  assert.equal(found.pwned, null);
  assert.deepEqual(found.links, [
    ['http://127.0.0.2:9/beacon.png', 'noopener noreferrer', 'picture'],
    ['https://example.org/a', 'noopener noreferrer', 'ok'],
  ]);
  for (const part of ['<img src=x onerror="window.pwned=1">', '<script>window.pwned=2</script>', '[click me](javascript:window.pwned=3)', '<svg onload', '<style>body{display:none}</style>', '<script>window.pwned=9</script>', '<img src=x onerror=window.pwned=12>']) {
    assert.ok(found.text.includes(part), `${part} is not shown as text`);
  }
}

export const CASES = [
  {
    name: 'a chat round trip', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'Why is the sky blue?');
      assert.equal(await text(page, '.user .said'), 'Why is the sky blue?');
      assert.ok((await text(page, '.assistant .answer')).trim().length > 0, 'the answer is empty');
      assert.match(await text(page, '.assistant .cost'), /\d+ tokens?/);
      assert.match(await text(page, '.assistant .cost'), /[\d.]+ tokens\/s/);
      await ask(page, 'And the grass?');
      assert.equal(await count(page, 'article'), 4);
      assert.equal(await text(page, '#title'), 'Why is the sky blue?');
      assert.equal(await count(page, '#chats li'), 1);
      assert.equal(await page.evaluate(() => document.activeElement.id), 'prompt', 'the field keeps the focus');
    },
  },
  {
    name: 'an answer says where it is from and what it took', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, STORY);
      assert.match(await text(page, '.assistant .badge'), /^here[\d.,]+ (mJ|J|Wh) \(.* to .*\), (measured|modelled|estimated)/);
      assert.ok(await page.isHidden('.assistant .details'));
      await page.focus('.assistant .badge');
      await page.keyboard.press('Enter');
      assert.match(await text(page, '.assistant .details'), /^Answered on this device\. .*Energy: /);
      assert.ok(await page.isVisible('.assistant .details'));
      assert.equal(await page.getAttribute('.assistant .badge', 'aria-expanded'), 'true');
      await page.click('.assistant .badge');
      assert.ok(await page.isHidden('.assistant .details'));
      await page.reload();
      await page.waitForSelector('.assistant .badge');
      const [ledger] = await Promise.all([context.waitForEvent('page'), page.evaluate(() => document.querySelector('#ledger').click())]);
      await ledger.waitForSelector('svg');
      assert.match(await text(ledger, 'p'), /Answered here: [1-9]/);
    },
  },
  {
    name: 'an answer that is replaced is taken back', async run(context, origin) {
      const page = await open(context, origin);
      const chunk = (content, more = {}) => ({ choices: [{ index: 0, delta: { content }, finish_reason: null }], ...more });
      const ingle = { route: 'there', by: 'workstation', joules: { value: 900, low: 100, high: 3600, method: 'ESTIMATED' }, replaced: { joules: { value: 1, low: 0, high: 2 } } };
      await played(context, [...chunks('Wrong thoughts.', 4, 'reasoning_content'), chunk('Wrong words.'), chunk('[void]', { ingle: { replaced_by: 'workstation' } }), chunk('Right words.'), { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], ingle }]);
      await ask(page, 'x');
      assert.equal((await text(page, '.assistant .answer')).trim(), 'Right words.');
      assert.equal(await count(page, '.thinking'), 0);
      assert.match(await text(page, '.assistant .badge'), /^there900 J/);
      assert.match(await page.getAttribute('.assistant .badge', 'title'), /Answered by workstation\. An answer from this device was begun and replaced/);
    },
  },
  {
    name: 'an answer is called good or bad, with the mouse and with keys', async run(context, origin) {
      const page = await open(context, origin);
      const said = [];
      await context.route('**/v1/ingle/feedback', async (route) => { said.push(route.request().postDataJSON()); return route.continue(); });
      const pressed = () => page.locator('.thumb').evaluateAll((all) => all.map((thumb) => thumb.getAttribute('aria-pressed')).join());
      const becomes = (state) => page.waitForFunction((wanted) => [...document.querySelectorAll('.thumb')].map((thumb) => thumb.getAttribute('aria-pressed')).join() === wanted, state);
      const heard = (n) => page.waitForFunction((count) => document.querySelectorAll('#announcements p').length >= count, n);
      await ask(page, 'Hello');
      assert.equal(await pressed(), 'false,false');
      const before = await count(page, '#announcements p');
      await page.click('[aria-label="Good answer"]');
      await becomes('true,false');
      await heard(before + 1);
      await page.focus('[aria-label="Bad answer"]');
      await page.keyboard.press('Space');
      await becomes('false,true');
      await heard(before + 2);
      await page.reload();
      await page.waitForSelector('.assistant .cost');
      assert.equal(await pressed(), 'false,true', 'what was said is kept with the chat');
      await page.keyboard.press('Alt+KeyJ');
      await becomes('false,false');
      await page.keyboard.press('Alt+KeyG');
      await becomes('true,false');
      await page.waitForTimeout(200);
      assert.deepEqual(said.map(({ signal }) => signal), ['up', 'down', 'withdrawn', 'up']);
      assert.equal(new Set(said.map(({ id }) => id)).size, 1);
      assert.ok(said.every((body) => Object.keys(body).join() === 'id,signal'), 'only a name and a signal are sent');
      // An answer that was rated needs no guess; one that was not is spoken of when it is made again or asked otherwise.
      await page.click('[aria-label="Make this answer again"]');
      await page.waitForFunction(() => document.querySelector('.assistant .versions')?.textContent === '2 / 2' && document.querySelector('.assistant .cost'));
      assert.equal(said.length, 4);
      await page.click('[aria-label="Make this answer again"]');
      await page.waitForFunction(() => document.querySelector('.assistant .versions')?.textContent === '3 / 3' && document.querySelector('.assistant .cost'));
      await page.focus('#prompt');
      await page.keyboard.press('ArrowUp');
      await page.keyboard.type(' there');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.querySelector('.user .versions')?.textContent === '2 / 2' && document.querySelector('.assistant .cost'));
      assert.deepEqual(said.slice(4).map(({ signal }) => signal), ['regenerated', 'edited']);
      assert.equal(new Set(said.slice(3).map(({ id }) => id)).size, 3);
      // The person may not want that.
      await page.click('#settings-open');
      assert.match(await text(page, '#feedback-row'), /ten numbers about the answer on its own device, and no words/);
      await page.uncheck('#feedback');
      await page.click('#settings .primary');
      await page.click('[aria-label="Make this answer again"]');
      await page.waitForFunction(() => document.querySelector('.assistant .versions')?.textContent === '2 / 2' && document.querySelector('.assistant .cost'));
      assert.equal(said.length, 6);
      // An answer that the server has forgotten.
      await context.route('**/v1/ingle/feedback', (route) => route.fulfill({ status: 404, json: { error: { message: 'No such answer is remembered.' } } }));
      await page.click('[aria-label="Good answer"]');
      await page.waitForFunction(() => /remembered/.test(document.querySelector('#notes').textContent));
      assert.equal(await pressed(), 'false,false');
    },
  },
  {
    name: 'where nothing is kept of answers there are no thumbs', async run(context, origin) {
      await told(context, { endpoints: [], feedback: false });
      await played(context, chunks('Hello.', 3));
      const page = await open(context, origin);
      await ask(page, 'Hello');
      assert.equal(await count(page, '.thumb'), 0);
      await page.click('#settings-open');
      assert.ok(await page.isHidden('#feedback-row'));
      assert.ok(await page.isHidden('#route'));
    },
  },
  {
    name: 'where answers come from is chosen, kept and sent', async run(context, origin) {
      const sent = [];
      const ingle = { route: 'there', by: 'workstation', finish: 'length', joules: { value: 900, low: 100, high: 3600, method: 'ESTIMATED' } };
      await told(context, { endpoints: ['workstation'], feedback: true });
      await played(context, [...chunks('Words.', 3), { choices: [{ index: 0, delta: {}, finish_reason: 'length' }], ingle }], { sent });
      const page = await open(context, origin);
      assert.match(await page.getAttribute('#route', 'title'), /workstation/);
      await ask(page, 'One');
      assert.equal(sent[0].route, undefined, 'the server is left to choose');
      await page.keyboard.press('Alt+KeyP');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'route');
      await page.keyboard.press('ArrowDown');
      assert.equal(await page.inputValue('#route'), 'local');
      await ask(page, 'Two');
      assert.equal(sent[1].route, 'local');
      await page.selectOption('#route', 'cloud');
      await ask(page, 'Three');
      assert.equal(sent[2].route, 'cloud');
      const badge = page.locator('.assistant .badge').last();
      assert.match(await badge.textContent(), /^there, at its limit900 J/);
      assert.match(await badge.getAttribute('title'), /Answered by workstation\. It ended at the limit of tokens/);
      await page.keyboard.press('Alt+KeyN');
      await page.selectOption('#route', 'local');
      await page.click('#chats a');
      await page.waitForSelector('.assistant .cost');
      assert.equal(await page.inputValue('#route'), 'cloud', 'a chat keeps its own');
      await page.reload();
      await page.waitForSelector('.assistant .cost');
      assert.equal(await page.inputValue('#route'), 'cloud');
      await page.keyboard.press('Alt+KeyN');
      assert.equal(await page.inputValue('#route'), 'local', 'a new chat has what was picked last');
      // One that broke off, and nobody else answered.
      const cut = { error: { message: 'no answer from elsewhere: workstation: the answer broke off' }, ingle: { route: 'there', by: 'workstation', finish: 'cut' } };
      await context.unroute('**/v1/chat/completions');
      await played(context, [...chunks('Half of', 3), cut]);
      await page.fill('#prompt', 'Four');
      await page.keyboard.press('Enter');
      await page.waitForSelector('.failed');
      assert.equal(await text(page, '.answer'), 'Half of');
      assert.match(await text(page, '.assistant .badge'), /^there, broke off/);
    },
  },
  {
    name: 'what the server is sent', async run(context, origin) {
      const page = await open(context, origin);
      const sent = [];
      await context.route('**/v1/chat/completions', (route) => { sent.push(route.request().postDataJSON()); return route.continue(); });
      await page.click('#settings-open');
      await page.fill('#system', 'Be brief.');
      for (const [key, value] of [['temperature', '0'], ['top_p', '0.9'], ['top_k', '20'], ['min_p', '0.1'], ['max_tokens', '12'], ['seed', '7'], ['stop', 'END\\n\nnever']]) await page.fill(`#setting-${key}`, value);
      await page.selectOption('#setting-overflow', 'drop-oldest');
      await page.click('#settings .primary');
      await ask(page, 'Hello');
      const model = await page.inputValue('#model');
      assert.deepEqual(sent[0], { model, messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hello' }],
        temperature: 0, top_p: 0.9, top_k: 20, min_p: 0.1, max_tokens: 12, seed: 7, stop: ['END\n', 'never'], overflow: 'drop-oldest', stream: true, stream_options: { include_usage: true } });
      await ask(page, 'More');
      const [kept] = await page.evaluate(async () => (await (await import('/page/store.js')).openStore()).all());
      assert.deepEqual(sent[1].messages.slice(1), [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: kept.messages[1].content }, { role: 'user', content: 'More' }]);
      await page.click('#settings-open');
      await page.fill('#setting-top_p', '2');
      await page.click('#settings .primary');
      assert.match(await text(page, '#setting-top_p-hint'), /Expected a number from/);
      assert.equal(await page.locator('#settings[open]').count(), 1, 'a wrong value keeps the form open');
    },
  },
  {
    name: 'a text is asked about: shown, sent with its question alone, and kept', async run(context, origin) {
      const page = await open(context, origin);
      const sent = [];
      await context.route('**/v1/chat/completions', async (route) => { sent.push(route.request().postDataJSON()); return route.continue(); });
      const choose = (name, buffer) => page.setInputFiles('#texts', { name, mimeType: 'text/plain', buffer: Buffer.from(buffer) });
      await choose('a.pdf', '%PDF-1.7');
      await page.waitForSelector('#notes >> text=not a text in UTF-8');
      assert.equal(await count(page, '#attached li'), 0);
      await choose('other.txt', 'Not this.');
      await choose('<img src=x onerror=1>.md', 'Anna lives in Rome.');
      await page.waitForFunction(() => document.querySelectorAll('#attached li').length === 2);
      await page.click('[aria-label="Leave out other.txt"]');
      await ask(page, 'Where does Anna live?');
      assert.equal(await count(page, '#attached li'), 0);
      assert.equal(await text(page, '.user .documents'), '<img src=x onerror=1>.md');
      await ask(page, 'And Ben?');
      const documents = [{ name: '<img src=x onerror=1>.md', text: 'Anna lives in Rome.' }];
      assert.deepEqual(sent.map((body) => body.documents), [documents, undefined]);
      await page.reload();
      await page.waitForSelector('.user .documents');
      assert.equal(await count(page, '.documents'), 1);
    },
  },
  {
    name: 'a text that takes long to read brings none back and pushes none out', async run(context, origin) {
      await context.addInitScript(() => {
        const real = Blob.prototype.arrayBuffer;
        Blob.prototype.arrayBuffer = async function read() {
          if (this.name === 'slow.txt') await new Promise((resolve) => { window.readSlow = resolve; });
          return real.call(this);
        };
      });
      const page = await open(context, origin);
      const choose = (name) => page.setInputFiles('#texts', { name, mimeType: 'text/plain', buffer: Buffer.from(name) });
      const attached = (names) => page.waitForFunction((wanted) => [...document.querySelectorAll('#attached li')].map((item) => item.textContent).join() === wanted, names.join());
      await choose('first.txt');
      await attached(['first.txt']);
      await choose('slow.txt');
      await page.waitForFunction(() => window.readSlow);
      await choose('quick.txt');
      await attached(['first.txt', 'quick.txt']);
      await page.click('[aria-label="Leave out first.txt"]');
      await page.evaluate(() => window.readSlow());
      await attached(['quick.txt', 'slow.txt']);
    },
  },
  {
    name: 'the draft of a new chat waits while another is read', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'A chat');
      await page.keyboard.press('Alt+KeyN');
      await page.fill('#prompt', 'half a question');
      await page.setInputFiles('#texts', { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('A text.') });
      await page.waitForSelector('#attached li');
      await page.click('#chats a');
      await page.waitForSelector('article');
      assert.deepEqual([await page.inputValue('#prompt'), await count(page, '#attached li')], ['', 0]);
      await page.keyboard.press('Alt+KeyN');
      assert.deepEqual([await page.inputValue('#prompt'), await count(page, '#attached li')], ['half a question', 1]);
      await page.reload();
      await page.waitForFunction(() => document.querySelector('#prompt').value === 'half a question');
      await ask(page, 'A whole question');
      await page.keyboard.press('Alt+KeyN');
      assert.equal(await page.inputValue('#prompt'), '', 'a draft that was sent is gone');
    },
  },
  {
    name: 'stop keeps what had come', async run(context, origin) {
      // A fast model may be done before it is stopped; a few stories are begun until one is caught.
      for (let attempt = 0; attempt < 6; attempt += 1) {
        const page = await open(context, origin);
        await page.fill('#prompt', `${STORY} Make it long.`);
        await page.keyboard.press('Enter');
        const doing = await page.waitForFunction(() => (document.querySelector('.assistant .answer')?.textContent.length ?? 0) > 5
          && document.querySelector('.assistant .foot').textContent, null, { polling: 'raf' });
        await page.keyboard.press('Escape');
        await page.waitForSelector('.assistant .cost');
        const before = await text(page, '.assistant .answer');
        if (/Stopped/.test(await text(page, '.assistant .cost'))) {
          assert.match(await doing.jsonValue(), /^Writing/);
          await page.waitForTimeout(300);
          assert.equal(await text(page, '.assistant .answer'), before, 'it goes on after it was stopped');
          assert.ok(before.length > 0);
          assert.ok(await page.isVisible('#send'));
          await page.reload();
          await page.waitForSelector('.assistant .cost');
          assert.equal(await text(page, '.assistant .answer'), before);
          await ask(page, 'Thank you.');
          return;
        }
        await page.close();
      }
      throw new Error('no answer lasted long enough to be stopped, in 6 attempts');
    },
  },
  {
    name: 'reload keeps chats, theme and place', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'First chat');
      await page.click('#new-chat');
      await ask(page, 'Second chat');
      await page.keyboard.press('Alt+KeyL');
      await page.keyboard.press('Alt+KeyL');
      const [url, answer] = [page.url(), await text(page, '.answer')];
      await page.fill('#prompt', 'a draft');
      await page.reload();
      await page.waitForSelector('.assistant .cost');
      assert.equal(page.url(), url);
      assert.equal(await text(page, '.answer'), answer);
      assert.equal(await text(page, '.said'), 'Second chat');
      assert.equal(await page.inputValue('#prompt'), 'a draft');
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark');
      assert.deepEqual(await page.locator('#chats a').allTextContents(), ['Second chat', 'First chat']);
      await page.click('#chats a:has-text("First chat")');
      await page.waitForFunction(() => document.querySelector('.said')?.textContent === 'First chat');
      await page.goBack();
      await page.waitForFunction(() => document.querySelector('.said')?.textContent === 'Second chat');
    },
  },
  {
    name: 'reload amid an answer keeps what had come', async run(context, origin) {
      const page = await open(context, origin);
      await page.fill('#prompt', `${STORY} Make it long.`);
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => (document.querySelector('.assistant .answer')?.textContent.length ?? 0) > 5, null, { polling: 'raf' });
      const before = await text(page, '.answer');
      await page.reload();
      await page.waitForSelector('.assistant .cost');
      assert.ok((await text(page, '.answer')).startsWith(before.trimEnd()), 'less is left than had been shown');
      await ask(page, 'Go on.');
      assert.equal(await count(page, 'article'), 4);
    },
  },
  {
    name: 'a hostile answer stays text as it streams', async run(context, origin) {
      // Played: no real model can be told to answer just this.
      await played(context, chunks(HOSTILE, 3));
      const page = await open(context, origin);
      await ask(page, 'Be evil.');
      await harmless(page, '.answer');
      await page.reload();
      await page.waitForSelector('.assistant .cost');
      await harmless(page, '.answer');
    },
  },
  {
    name: 'hostile thinking, titles and names stay text', async run(context, origin) {
      await played(context, [...chunks(HOSTILE, 400, 'reasoning_content'), ...chunks('done', 9)]);
      const page = await open(context, origin);
      await ask(page, '<img src=x onerror="window.pwned=20"><b>title</b>');
      assert.equal(await page.locator('.thinking[open]').count(), 0, 'thinking is folded');
      assert.match(await text(page, '.thinking summary'), /Thought/);
      await page.click('.thinking summary');
      await page.waitForSelector('.thought a');
      await harmless(page, '.thought');
      assert.equal(await text(page, '.answer'), 'done');
      assert.equal(await text(page, '#chats a'), '<img src=x onerror="window.pwned=20"><b>title</b>');
      assert.equal(await page.evaluate(() => window.pwned ?? null), null);
    },
  },
  {
    name: 'a hostile file is refused or cleaned', async run(context, origin) {
      const page = await open(context, origin);
      const refusals = [['{', /not JSON/], ['[]', /holds no chats/], ['{"format":"ingle-chats","version":9,"chats":[]}', /version 9/],
        ['{"format":"ingle-chats","version":1,"chats":[{"messages":[{"role":"system","content":"x"}]}]}', /Chat 1, message 1/],
        ['{"format":"ingle-chats","version":1,"chats":[{"messages":[{"id":"a","parent":"a","role":"user","content":"x"}]}]}', /parent/]];
      for (const [file, told] of refusals) {
        await page.setInputFiles('#file', { name: 'x.json', mimeType: 'application/json', buffer: Buffer.from(file) });
        await page.waitForFunction((source) => new RegExp(source).test(document.querySelector('#notes').textContent), told.source);
      }
      assert.equal(await count(page, '#chats li'), 0);
      await importChats(page, [{ title: '<i>x</i>', head: 'none', sampling: { temperature: 'hot', seed: 3, evil: 1 }, messages: [
        { id: 'u', role: 'user', content: 'hi', extra: '<b>' }, { id: 'v', parent: 'u', role: 'assistant', content: HOSTILE, usage: { completion_tokens: '<b>9</b>' } }] }]);
      await harmless(page, '.answer');
      assert.equal(await text(page, '#title'), '<i>x</i>');
    },
  },
  {
    name: 'thinking is folded, opens, and is not sent back', async run(context, origin) {
      // Played for the first answer: the demo model may not think.
      const sent = [];
      await played(context, [...chunks('First **this**.\n\nThen that.', 4, 'reasoning_content'), ...chunks('An answer.', 4)], { sent });
      const page = await open(context, origin);
      await ask(page, 'Think.');
      await page.keyboard.press('Alt+KeyO');
      await page.waitForSelector('.thought strong');
      assert.equal(await text(page, '.thought'), 'First this.Then that.');
      await ask(page, 'Again.');
      assert.ok(!JSON.stringify(sent[1]).includes('Then that'), 'thinking was sent back');
    },
  },
  {
    name: 'edit a message and go on; both versions stay', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'One');
      await ask(page, 'Two');
      await page.hover('.user >> nth=0');
      await page.click('.user >> nth=0 >> [aria-label="Edit message"]');
      await page.fill('.editing textarea', 'One, but better');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.querySelectorAll('article').length === 2 && document.querySelector('.assistant .cost'));
      assert.equal(await text(page, '.said'), 'One, but better');
      assert.equal(await text(page, '.user .versions'), '2 / 2');
      await page.click('.user [aria-label="Version before"]');
      assert.deepEqual(await page.locator('.said').allTextContents(), ['One', 'Two']);
      await page.hover('.user >> nth=1');
      await page.click('.user >> nth=1 >> [aria-label="Edit message"]');
      await page.keyboard.press('Escape');
      assert.deepEqual(await page.locator('.said').allTextContents(), ['One', 'Two'], 'Escape changes nothing');
    },
  },
  {
    name: 'an edit that is sent amid another answer stops that one, and its own can be stopped', async run(context, origin) {
      // Played in the page itself: answers that do not end unless they are stopped.
      await context.addInitScript(() => {
        const real = window.fetch;
        window.fetch = (path, options) => {
          if (path !== '/v1/chat/completions') return real(path, options);
          const body = new ReadableStream({ start(stream) {
            stream.enqueue(new TextEncoder().encode('data: {"choices":[{"index":0,"delta":{"content":"On and on"}}]}\n\n'));
            options.signal.addEventListener('abort', () => stream.error(options.signal.reason));
          } });
          return Promise.resolve(new Response(body, { headers: { 'Content-Type': 'text/event-stream' } }));
        };
      });
      const page = await open(context, origin);
      const send = async (message) => {
        await page.fill('#prompt', message);
        await page.press('#prompt', 'Enter');
      };
      const stopped = () => page.evaluate(async () => (await (await import('/page/store.js')).openStore()).all().then(([chat]) => chat.messages.filter(({ finish }) => finish === 'stopped').length));
      await send('One');
      await page.waitForSelector('.assistant .answer p');
      await page.click('#stop');
      await page.waitForSelector('.assistant .cost');
      await page.focus('#prompt');
      await page.keyboard.press('ArrowUp');
      await page.waitForSelector('.editing');
      await send('Two');
      await page.waitForFunction(() => document.querySelectorAll('.assistant').length === 2);
      await page.fill('.editing textarea', 'One, edited');
      await page.press('.editing textarea', 'Enter');
      await page.waitForFunction(() => document.querySelector('.user .versions')?.textContent === '2 / 2');
      await page.waitForTimeout(200);
      assert.ok(await page.isVisible('#stop'), 'the second answer can be stopped');
      await page.keyboard.press('Escape');
      await page.waitForSelector('.assistant .cost');
      assert.ok(await page.isVisible('#send'));
      await page.waitForTimeout(200);
      assert.equal(await stopped(), 3);
    },
  },
  {
    name: 'regenerate makes another version', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, STORY);
      const first = await text(page, '.answer');
      await page.click('[aria-label="Make this answer again"]');
      await page.waitForSelector('.assistant .cost');
      await page.waitForFunction(() => document.querySelector('.assistant .versions')?.textContent === '2 / 2');
      assert.equal(await count(page, 'article'), 2);
      await page.click('.assistant [aria-label="Version before"]');
      assert.equal(await text(page, '.answer'), first);
      await page.reload();
      await page.waitForSelector('.assistant .versions');
      assert.equal(await text(page, '.assistant .versions'), '1 / 2', 'the version that was shown is not shown after a reload');
    },
  },
  {
    name: 'rename, delete, bring back', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'A chat to rename');
      await page.click('#chat-menu summary');
      await page.click('#rename');
      await page.fill('#ask-value', 'A better name');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.querySelector('#chats a')?.textContent === 'A better name');
      await page.reload();
      await page.waitForSelector('#chats a');
      assert.equal(await text(page, '#title'), 'A better name');
      await page.click('#chat-menu summary');
      await page.click('#delete');
      await page.waitForFunction(() => document.querySelectorAll('#chats li').length === 0);
      assert.equal(await count(page, 'article'), 0);
      await page.click('#notes button');
      await page.waitForFunction(() => document.querySelector('#title').textContent === 'A better name');
      await page.keyboard.press('Alt+Delete');
      await page.waitForFunction(() => document.querySelectorAll('#chats li').length === 0);
      await page.reload();
      await page.waitForSelector('#chats .none');
    },
  },
  {
    name: 'export and import give the same chat', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'Keep this, please.');
      const answer = await text(page, '.answer');
      const download = async (id) => {
        await page.click('#chat-menu summary');
        const [file] = await Promise.all([page.waitForEvent('download'), page.click(id)]);
        return [file.suggestedFilename(), await readFile(await file.path(), 'utf8')];
      };
      const [jsonName, json] = await download('#export-json');
      const [markdownName, markdown] = await download('#export-markdown');
      assert.equal(jsonName, 'Keep-this-please.json');
      assert.equal(markdownName, 'Keep-this-please.md');
      const [chat] = JSON.parse(json).chats;
      assert.deepEqual(chat.messages.map(({ role }) => role), ['user', 'assistant']);
      assert.ok(markdown.startsWith('# Keep this, please.\n\n## You\n\nKeep this, please.\n\n## '));
      assert.ok(markdown.includes(chat.messages[1].content.trim()));
      await page.keyboard.press('Alt+Delete');
      await page.waitForSelector('#chats .none');
      await importChats(page, null, json);
      assert.equal(await text(page, '.answer'), answer);
      assert.match(await text(page, '.assistant .cost'), /tokens\/s/);
      await page.click('#all-menu summary');
      const [all] = await Promise.all([page.waitForEvent('download'), page.click('#export-all')]);
      assert.equal(JSON.parse(await readFile(await all.path(), 'utf8')).chats.length, 1);
    },
  },
  {
    name: 'a chat too large to be imported is not exported, and that is said', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'A small one');
      const exportAll = async () => {
        await page.click('#all-menu summary');
        await page.click('#export-all');
      };
      const noted = (part) => page.waitForFunction((wanted) => document.querySelector('#notes').textContent.includes(wanted), part, { timeout: 20_000 });
      await page.evaluate(async () => {
        const store = await (await import('/page/store.js')).openStore();
        const [small] = await store.all();
        const messages = small.messages.map((message) => ({ ...message, content: 'x'.repeat(33 << 20) }));
        await store.put({ ...small, id: 'large', title: 'A large one', messages });
      });
      const [file] = await Promise.all([page.waitForEvent('download'), exportAll()]);
      assert.deepEqual(JSON.parse(await readFile(await file.path(), 'utf8')).chats.map(({ title }) => title), ['A small one']);
      await noted('no import would take them: A large one');
      await page.evaluate(() => { IDBObjectStore.prototype.getAll = () => { throw new Error('The disk is gone.'); }; });
      await exportAll();
      await noted('The disk is gone.');
    },
  },
  {
    name: 'what could not be kept or deleted is told, each time, and is not taken for done', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'Kept');
      const noted = (part) => page.waitForFunction((wanted) => document.querySelector('#notes').textContent.includes(wanted), part);
      const full = (is) => page.evaluate((deny) => {
        window.realTransaction ??= IDBDatabase.prototype.transaction;
        IDBDatabase.prototype.transaction = function open(stores, mode) {
          if (deny && mode === 'readwrite') throw new DOMException('The disk is full', 'QuotaExceededError');
          return window.realTransaction.call(this, stores, mode);
        };
      }, is);
      const dismiss = () => page.evaluate(() => document.querySelector('#notes').replaceChildren());
      const messages = [{ id: 'a', role: 'user', content: 'x' }];
      const choose = (n) => page.setInputFiles('#file', { name: 'chats.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify({ format: 'ingle-chats', version: 1, chats: Array(n).fill({ messages }) })) });
      for (let time = 0; time < 2; time += 1) {
        await full(true);
        await ask(page, 'Not kept');
        await noted('could not keep the chat: The disk is full. Export it');
        await choose(2);
        await noted('0 of 2 chats were kept: the browser has no room for more.');
        await page.keyboard.press('Alt+Delete');
        await noted('0 of 1 chats were deleted: The disk is full.');
        assert.equal(await count(page, '#chats li'), 1);
        await dismiss();
        await full(false);
        await ask(page, 'Kept again');
      }
      await page.reload();
      await page.waitForSelector('.assistant .cost');
      assert.equal(await page.locator('.said').last().textContent(), 'Kept again');
    },
  },
  {
    name: 'a chat that was deleted and brought back in another tab is kept again', async run(context, origin) {
      const [one, two] = [await open(context, origin), await open(context, origin)];
      await ask(one, 'First');
      const hash = new URL(one.url()).hash;
      const stored = await one.evaluate(async () => (await (await import('/page/store.js')).openStore()).all());
      await one.keyboard.press('Alt+Delete');
      await one.waitForSelector('#chats .none');
      await two.evaluate(async ([chat]) => (await (await import('/page/store.js')).openStore()).put(chat), stored);
      await one.waitForSelector('#chats a');
      await one.click('#chats a');
      await one.waitForSelector('.assistant .cost');
      await ask(one, 'Second');
      await one.reload();
      await one.waitForSelector('.assistant .cost');
      assert.deepEqual([new URL(one.url()).hash, await count(one, 'article')], [hash, 4]);
    },
  },
  {
    name: 'a form is left by a press beside it, not by one that ends there', async run(context, origin) {
      const page = await open(context, origin);
      await page.click('#settings-open');
      await page.fill('#system', 'Be brief.');
      const dialog = await page.locator('#settings').boundingBox();
      const field = await page.locator('#system').boundingBox();
      const isOpen = async () => (await page.locator('#settings[open]').count()) === 1;
      await page.mouse.move(field.x + 40, field.y + 10);
      await page.mouse.down();
      await page.mouse.move(dialog.x - 20, field.y + 10);
      await page.mouse.up();
      assert.ok(await isOpen(), 'text is selected beyond the edge');
      await page.mouse.click(dialog.x + 4, dialog.y + 4);
      assert.ok(await isOpen(), 'a click on the padding');
      await page.mouse.click(dialog.x - 20, dialog.y + 10);
      assert.ok(!(await isOpen()), 'a click beside it');
      await page.click('#settings-open');
      await page.click('#settings [data-cancel]');
      assert.ok(!(await isOpen()));
    },
  },
  {
    name: 'delete all asks first', async run(context, origin) {
      const page = await open(context, origin);
      await ask(page, 'One');
      const choose = async () => {
        await page.click('#all-menu summary');
        await page.click('#delete-all');
        await page.waitForSelector('#ask[open]');
      };
      await choose();
      await page.keyboard.press('Escape');
      assert.equal(await count(page, '#chats li'), 1);
      await choose();
      await page.click('#ask-do');
      await page.waitForSelector('#chats .none');
    },
  },
  {
    name: 'the keyboard alone', async run(context, origin) {
      const page = await open(context, origin);
      const press = (key) => page.keyboard.press(key);
      await page.keyboard.type('First line');
      await press('Shift+Enter');
      await page.keyboard.type('second');
      await press('Enter');
      await page.waitForSelector('.assistant .cost');
      assert.equal(await text(page, '.said'), 'First line\nsecond');
      await press('ArrowUp');
      await page.keyboard.type(' edited');
      await press('Enter');
      await page.waitForFunction(() => document.querySelector('.user .versions')?.textContent === '2 / 2' && document.querySelector('.assistant .cost'));
      await press('Alt+KeyR');
      await page.waitForFunction(() => document.querySelector('.assistant .versions')?.textContent === '2 / 2' && document.querySelector('.assistant .cost'));
      await press('Alt+KeyT');
      await page.keyboard.type('Named by keys');
      await press('Enter');
      await page.waitForFunction(() => document.querySelector('#chats a')?.textContent === 'Named by keys');
      await press('Alt+KeyN');
      await page.keyboard.type('Another');
      await press('Enter');
      await page.waitForSelector('.assistant .cost');
      await press('Alt+ArrowDown');
      await page.waitForFunction(() => document.querySelector('#title').textContent === 'Named by keys');
      assert.equal(await page.evaluate(() => document.activeElement.id), 'prompt');
      await press('Alt+ArrowUp');
      await page.waitForFunction(() => document.querySelector('#title').textContent === 'Another');
      assert.equal(await count(page, '.editing'), 0);
      await press('Alt+KeyK');
      await page.keyboard.type('anoth');
      assert.equal(await count(page, '#chats li'), 1);
      await press('Enter');
      await page.waitForFunction(() => document.querySelector('#title').textContent === 'Another');
      await press('Alt+KeyH');
      await page.waitForSelector('#shortcuts[open]');
      assert.ok(await count(page, '#shortcut-rows dt') > 15);
      await press('Escape');
      await press('Alt+KeyS');
      await page.waitForSelector('#settings[open]');
      await page.keyboard.type('Be kind.');
      await press('Enter');
      await press('Escape');
      assert.equal(await page.locator('dialog[open]').count(), 0);
      await press('Alt+KeyB');
      assert.ok(await page.isHidden('#side'));
      await press('Alt+KeyB');
      await press('Alt+Delete');
      await page.waitForFunction(() => !document.querySelector('#chats').textContent.includes('Another'));
      await press('Alt+KeyZ');
      await page.waitForFunction(() => document.querySelector('#title').textContent === 'Another');
      // Every control can be reached by Tab alone, and shows that it has the focus.
      const reached = new Set();
      for (let i = 0; i < 60; i += 1) {
        await press('Tab');
        reached.add(await page.evaluate(() => {
          const node = document.activeElement;
          const seen = node === document.body || getComputedStyle(node).outlineStyle !== 'none' || node.id === 'prompt';
          return `${node.id || node.getAttribute('aria-label') || node.tagName}${seen ? '' : ' (focus not visible)'}`;
        }));
      }
      for (const id of ['new-chat', 'find', 'theme', 'keys', 'All chats', 'model', 'settings-open', 'This chat', 'prompt', 'Copy answer', 'Edit message', 'Make this answer again', 'Good answer', 'Bad answer']) {
        assert.ok(reached.has(id), `Tab does not reach ${id}, only ${[...reached].join(', ')}`);
      }
    },
  },
  {
    name: 'keys that follow each other fast go from chat to chat, each one further', async run(context, origin) {
      const page = await open(context, origin);
      for (const title of ['Third', 'Second', 'First']) {
        await ask(page, title);
        await page.keyboard.press('Alt+KeyN');
      }
      const press = (...keys) => page.evaluate((codes) => {
        for (const code of codes) document.body.dispatchEvent(new KeyboardEvent('keydown', { code, key: code, altKey: true, bubbles: true, cancelable: true }));
      }, keys);
      const shown = (title) => page.waitForFunction((wanted) => document.querySelector('#title').textContent === wanted, title);
      await press('ArrowDown', 'ArrowDown', 'ArrowDown');
      await shown('Third');
      await press('ArrowUp', 'ArrowUp', 'ArrowDown', 'ArrowUp');
      await shown('First');
    },
  },
  {
    name: 'a phone 360 pixels wide', options: { viewport: { width: 360, height: 700 }, isMobile: true, hasTouch: true }, async run(context, origin) {
      const rich = await readFile(new URL('rich.md', import.meta.url), 'utf8');
      const long = `${rich}\n\n${'unbroken'.repeat(60)} https://example.org/${'path/'.repeat(60)}\n\n\`${'x'.repeat(300)}\`\n\n# ${'H'.repeat(120)}`;
      const page = await open(context, origin);
      const fits = async (when) => {
        const wide = await page.evaluate(() => [...document.querySelectorAll('body, main, #scroll, #column, article, .top, #composer, dialog[open]')]
          .filter((n) => n.scrollWidth > n.clientWidth + 1 || n.getBoundingClientRect().right > innerWidth + 1).map((n) => n.id || n.className || n.tagName));
        assert.deepEqual(wide, [], when);
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), when);
      };
      await fits('empty');
      await importChats(page, [{ title: 'T'.repeat(60), messages: [{ id: 'a', role: 'user', content: 'word'.repeat(100) }, { id: 'b', parent: 'a', role: 'assistant', content: long, model: 'm'.repeat(80), finish: 'error', error: 'e'.repeat(200), usage: { completion_tokens: 1, prompt_tokens: 1 } }] }]);
      await fits('a chat');
      await page.tap('#prompt');
      await page.fill('#prompt', 'Hello from the phone');
      await page.tap('#send');
      await page.waitForFunction(() => document.querySelectorAll('.assistant .cost').length === 2);
      await fits('an answer');
      for (const id of ['#settings-open', null]) {
        if (id) await page.tap(id);
        else await page.keyboard.press('Alt+KeyH');
        await fits('a dialog');
        await page.keyboard.press('Escape');
      }
      await page.tap('#side-open');
      assert.ok(await page.isVisible('#new-chat'));
      await fits('the list');
      await page.tap('#new-chat');
      assert.ok(await page.isHidden('#side'));
      const small = await page.evaluate(() => [...document.querySelectorAll('button, summary, select')].filter((n) => n.checkVisibility() && n.getBoundingClientRect().height < 28).map((n) => n.id || n.className));
      assert.deepEqual(small, [], 'too small to touch');
    },
  },
  {
    name: 'a refusal is told, and can be tried again', async run(context, origin) {
      // Played once: a server at its limit. Then the real one answers.
      await played(context, null, { status: 503, headers: { 'Retry-After': '2' }, error: 'All places are taken.', times: 1 });
      const page = await open(context, origin);
      await page.fill('#prompt', 'Hello');
      await page.keyboard.press('Enter');
      await page.waitForSelector('.failed');
      assert.match(await text(page, '.failed'), /All places are taken\. Try again in 2 s\./);
      await page.click('.failed button');
      await page.waitForFunction(() => !document.querySelector('.failed') && document.querySelector('.assistant .cost'));
      assert.ok((await text(page, '.answer')).length > 0);
    },
  },
  {
    name: 'a server that is gone and comes back', async run(context, origin) {
      await context.route('**/v1/**', (route) => route.abort());
      const page = await context.newPage();
      await page.goto(origin);
      await page.waitForFunction(() => document.querySelector('#model').textContent === 'no server');
      await page.fill('#prompt', 'Hello');
      await page.keyboard.press('Enter');
      await page.waitForSelector('.failed');
      assert.match(await text(page, '.failed'), /can't be reached/);
      await context.unroute('**/v1/**');
      await page.click('.failed button');
      await page.waitForFunction(() => !document.querySelector('.failed') && document.querySelector('.assistant .cost'));
      assert.ok((await text(page, '.answer')).length > 0);
      assert.ok(await page.isEnabled('#model'));
    },
  },
  {
    name: 'a chat deleted amid its answer stays deleted', async run(context, origin) {
      const page = await open(context, origin);
      await page.fill('#prompt', `${STORY} Make it long.`);
      await page.keyboard.press('Enter');
      await page.waitForSelector('article.assistant');
      await page.keyboard.press('Alt+Delete');
      await page.waitForSelector('#chats .none');
      await page.waitForTimeout(500);
      await page.reload();
      await page.waitForSelector('#chats .none');
    },
  },
  {
    name: 'an error amid the answer keeps what had come', async run(context, origin) {
      await played(context, [...chunks('Half of it', 3), { error: { message: 'The model stopped halfway.' } }]);
      const page = await open(context, origin);
      await page.fill('#prompt', 'Hello');
      await page.keyboard.press('Enter');
      await page.waitForSelector('.failed');
      assert.equal(await text(page, '.answer'), 'Half of it');
      assert.match(await text(page, '.failed'), /The model stopped halfway/);
    },
  },
  {
    name: 'a key is asked for, used, and kept for the session', async run(context, origin) {
      // Played: 401 until the key comes, as a server with keys does; then the request goes to the server without it.
      const seen = [];
      await context.route('**/v1/**', async (route) => {
        const key = route.request().headers().authorization ?? null;
        seen.push(key);
        if (key === 'Bearer secret') return route.continue({ headers: { ...route.request().headers(), authorization: '' } });
        return route.fulfill({ status: 401, json: { error: { message: 'An API key is needed' } } });
      });
      const page = await context.newPage();
      await page.goto(origin);
      await page.waitForSelector('#ask[open]');
      assert.match(await text(page, '#ask-text'), /An API key is needed\. It is kept/);
      assert.equal(await page.getAttribute('#ask-value', 'type'), 'password');
      await page.keyboard.type('wrong');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.querySelector('#ask[open]') && document.querySelector('#ask-value').value === '');
      await page.keyboard.type('schl\u00fcssel');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => document.querySelector('#ask[open]') && /ASCII\. It is kept/.test(document.querySelector('#ask-text').textContent));
      await page.keyboard.press('Escape');
      await page.waitForFunction(() => document.querySelector('#model').textContent === 'no access');
      await page.reload();
      await page.waitForSelector('#ask[open]');
      await page.keyboard.type('secret');
      await page.keyboard.press('Enter');
      await page.waitForSelector('#model:not([disabled]) option', { state: 'attached' });
      await ask(page, 'Hello');
      await page.reload();
      await page.waitForSelector('#model:not([disabled]) option', { state: 'attached' });
      assert.equal(await page.locator('#ask[open]').count(), 0);
      assert.deepEqual(seen.slice(0, 4), [null, 'Bearer wrong', 'Bearer wrong', 'Bearer secret']);
      assert.ok(!(await page.evaluate(() => JSON.stringify(localStorage))).includes('secret'), 'the key outlives the session');
    },
  },
  {
    name: 'without storage the page works and says so', async run(context, origin) {
      await context.addInitScript(() => {
        const denied = { get() { throw new DOMException('denied', 'SecurityError'); } };
        for (const name of ['indexedDB', 'localStorage', 'sessionStorage']) Object.defineProperty(window, name, denied);
      });
      const page = await open(context, origin);
      assert.match(await text(page, '#banner'), /does not let the page keep chats/);
      await ask(page, 'Hello');
      await page.click('#new-chat');
      await page.click('#chats a');
      await page.waitForSelector('.answer');
    },
  },
  {
    name: 'an answer goes on while another chat is read', async run(context, origin) {
      const page = await open(context, origin);
      await page.fill('#prompt', STORY);
      await page.keyboard.press('Enter');
      await page.waitForSelector('article.assistant');
      await page.keyboard.press('Alt+KeyN');
      assert.equal(await count(page, 'article'), 0);
      await page.click('#chats a');
      await page.waitForSelector('.assistant .cost');
      assert.ok((await text(page, '.answer')).length > 0);
      assert.ok(!/Stopped|closed/.test(await text(page, '.assistant .cost')));
    },
  },
  {
    name: 'two tabs see each other\'s chats', async run(context, origin) {
      const [one, two] = [await open(context, origin), await open(context, origin)];
      await ask(one, 'From the first tab');
      await two.waitForFunction(() => document.querySelector('#chats a')?.textContent === 'From the first tab');
      await two.click('#chats a');
      await two.waitForSelector('.assistant .cost');
      await ask(one, 'More of it');
      await two.waitForFunction(() => document.querySelectorAll('article').length === 4);
    },
  },
  {
    name: 'what another tab writes is shown where a reader is, and is not overwritten', async run(context, origin) {
      const [one, two] = [await open(context, origin), await open(context, origin)];
      await ask(one, `${'Line by line.\n'.repeat(60)}`);
      await two.waitForSelector('#chats a');
      await two.click('#chats a');
      await two.waitForSelector('.assistant .cost');
      // An edit, which has the focus, beside what comes.
      await two.click('.user [aria-label="Edit message"]');
      await two.type('.editing textarea', 'half an edit');
      const fieldTop = () => two.evaluate(() => document.querySelector('.editing').getBoundingClientRect().top);
      const before = await fieldTop();
      await ask(one, 'More of it');
      await two.waitForFunction(() => document.querySelectorAll('article').length === 4 && document.querySelectorAll('.assistant .cost').length === 2);
      assert.match(await two.inputValue('.editing textarea'), /half an edit$/);
      assert.equal(await fieldTop(), before);
      assert.ok(await two.evaluate(() => document.querySelector('#scroll').scrollHeight > document.querySelector('#scroll').clientHeight), 'all fits, so nothing could have moved');
      await two.press('.editing textarea', 'Escape');
      // Reading amid the chat, and a name that is being typed, while the other tab goes on.
      const model = await one.locator('#model option').last().getAttribute('value');
      const scrolled = () => two.evaluate(async () => {
        await new Promise((resolve) => { setTimeout(resolve, 100); });
        return document.querySelector('#scroll').scrollTop;
      });
      await two.evaluate(() => { document.querySelector('#scroll').scrollTop = 40; });
      assert.equal(await scrolled(), 40);
      await two.keyboard.press('Alt+KeyT');
      await two.keyboard.type('Named meanwhile');
      await one.selectOption('#model', model);
      await ask(one, 'And more');
      await two.waitForFunction(() => document.querySelectorAll('article').length === 6);
      assert.equal(await scrolled(), 40);
      assert.equal(await two.inputValue('#model'), model);
      await two.keyboard.press('Enter');
      await one.waitForFunction(() => document.querySelector('#title').textContent === 'Named meanwhile');
      assert.equal(await count(one, 'article'), 6);
      // Settings likewise, and versions can still be turned to.
      await two.keyboard.press('Alt+KeyS');
      await two.fill('#system', 'Be brief.');
      await ask(one, 'Still more');
      await two.click('#settings .primary');
      await one.waitForFunction(() => document.querySelector('#settings-open').classList.contains('set'));
      assert.equal(await count(one, 'article'), 8);
      await two.locator('[aria-label="Make this answer again"]').last().click();
      await two.waitForFunction(() => document.querySelector('.assistant .versions')?.textContent === '2 / 2' && document.querySelectorAll('.assistant .cost').length === 4);
      await one.waitForFunction(() => document.querySelector('.assistant .versions')?.textContent === '2 / 2');
      await one.click('[aria-label="Version before"]');
      await two.waitForFunction(() => document.querySelector('.assistant .versions')?.textContent === '1 / 2');
    },
  },
  {
    name: 'the focus stays where it was, or goes to the field', async run(context, origin) {
      await played(context, null, { status: 503, error: 'All places are taken.', times: 1 });
      const page = await open(context, origin);
      const focused = () => page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.tagName);
      const press = async (control) => {
        await page.focus(control);
        await page.keyboard.press('Enter');
      };
      const done = (versions) => page.waitForFunction((wanted) => document.querySelector('.assistant .cost') && (document.querySelector('.assistant .versions')?.textContent ?? '') === wanted, versions);
      await page.fill('#prompt', 'Hello');
      await press('#send');
      await page.waitForSelector('.failed');
      assert.equal(await focused(), 'Message', 'after Send');
      await press('.failed button');
      assert.equal(await focused(), 'Message', 'after Try again');
      await done('2 / 2');
      await press('[aria-label="Make this answer again"]');
      assert.equal(await focused(), 'Message', 'after Make this answer again');
      await done('3 / 3');
      await press('[aria-label="Version before"]');
      await done('2 / 3');
      assert.equal(await focused(), 'Version before');
      await page.keyboard.press('Enter');
      await done('1 / 3');
      assert.equal(await focused(), 'Version behind', 'from the first the way back');
      await page.keyboard.press('Enter');
      await done('2 / 3');
      assert.equal(await focused(), 'Version behind');
    },
  },
  {
    name: 'arrows reach all of a menu that can be chosen', async run(context, origin) {
      const page = await open(context, origin);
      const walk = async (menu, key, n) => {
        await page.focus(`${menu} summary`);
        const ids = [];
        for (let i = 0; i < n; i += 1) {
          await page.keyboard.press(key);
          ids.push(await page.evaluate(() => document.activeElement.id));
        }
        await page.keyboard.press('Escape');
        return ids;
      };
      assert.deepEqual(await walk('#all-menu', 'ArrowDown', 5), ['ledger', 'import', 'export-all', 'delete-all', 'ledger']);
      assert.deepEqual(await walk('#all-menu', 'ArrowUp', 2), ['delete-all', 'export-all']);
      assert.deepEqual(await walk('#chat-menu', 'ArrowDown', 1), [''], 'all of it is disabled');
      await page.evaluate(() => { document.querySelector('#rename').disabled = false; document.querySelector('#delete').disabled = false; });
      assert.deepEqual(await walk('#chat-menu', 'ArrowDown', 3), ['rename', 'delete', 'rename']);
    },
  },
  {
    name: 'readers of the screen are told', async run(context, origin) {
      await played(context, chunks('First paragraph.\n\nSecond one.\n\n```js\nlet a;\n```', 4));
      const page = await open(context, origin);
      await ask(page, 'Hello');
      assert.equal(await page.getAttribute('#announcements', 'aria-live'), 'polite');
      const told = await page.locator('#announcements p').allTextContents();
      assert.deepEqual(told.slice(0, 3), ['First paragraph.', 'Second one.', 'let a;']);
      assert.match(told[3], /^Answer finished/);
      const nameless = await page.evaluate(() => [...document.querySelectorAll('button, summary, input:not([type=file]), textarea, select, a')].filter((n) => n.checkVisibility()
        && !(n.getAttribute('aria-label') || n.getAttribute('aria-labelledby') || n.labels?.length || n.textContent.trim())).map((n) => n.outerHTML.slice(0, 120)));
      assert.deepEqual(nameless, []);
    },
  },
  {
    name: 'code is copied as it is', options: { permissions: ['clipboard-read', 'clipboard-write'] }, async run(context, origin) {
      await played(context, chunks('```py\nif a < b:\n\tprint("<b>")\n```', 5));
      const page = await open(context, origin);
      await ask(page, 'Code');
      await page.click('.code-copy');
      await page.waitForFunction(() => document.querySelector('.code-copy').textContent === 'Copied');
      assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'if a < b:\n\tprint("<b>")');
      const said = () => page.locator('#announcements p').allTextContents().then((all) => all.filter((line) => line === 'Copied.').length);
      assert.equal(await said(), 1);
      await page.click('[aria-label="Copy answer"]');
      await page.waitForSelector('.copied');
      assert.equal(await said(), 2);
    },
  },
  {
    name: 'a long chat stays fast', async run(context, origin) {
      const rich = await readFile(new URL('rich.md', import.meta.url), 'utf8');
      const messages = [];
      for (let i = 0; i < 1000; i += 1) messages.push({ id: `m${i}`, parent: i ? `m${i - 1}` : null, role: i % 2 ? 'assistant' : 'user', content: i % 2 ? rich : `Question ${i}`, finish: 'stop' });
      const page = await open(context, origin);
      await importChats(page, [{ title: 'Long', messages }]);
      const open_ms = await page.evaluate(async () => {
        const id = location.hash;
        document.querySelector('#new-chat').click();
        await new Promise((resolve) => { setTimeout(resolve, 200); });
        const start = performance.now();
        location.hash = id;
        while (!document.querySelector('article')) await new Promise(requestAnimationFrame);
        await new Promise(requestAnimationFrame);
        return performance.now() - start;
      });
      const from = await page.evaluate(() => { const s = document.querySelector('#scroll'); return s.scrollHeight - s.scrollTop - s.clientHeight; });
      assert.ok(from < 41, `it opens ${from} pixels from its end`);
      // Played in the page itself, since only so can pieces come one by one: 3,000 of them, one about every millisecond.
      await page.evaluate((pieces) => {
        const real = window.fetch;
        const event = (value) => new TextEncoder().encode(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`);
        const later = new MessageChannel();
        window.fetch = (path, options) => {
          if (path !== '/v1/chat/completions') return real(path, options);
          const body = new ReadableStream({ start(stream) {
            let at = 0;
            let next = performance.now();
            later.port1.onmessage = () => {
              for (; at < pieces.length && performance.now() >= next; next += 1) stream.enqueue(event(pieces[at++]));
              if (at < pieces.length) later.port2.postMessage(0);
              else { stream.enqueue(event('[DONE]')); stream.close(); }
            };
            later.port2.postMessage(0);
          } });
          return Promise.resolve(new Response(body, { headers: { 'Content-Type': 'text/event-stream' } }));
        };
      }, chunks(`${rich}\n\n`.repeat(20), Math.ceil((rich.length + 2) * 20 / 3000)));
      await page.evaluate(() => {
        window.changed = new Map();
        window.frames = [];
        window.batches = 0;
        new MutationObserver((list) => { window.batches += 1; window.kept ??= document.querySelectorAll('article:last-child .table').length > 2 ? document.querySelector('article:last-child .table') : undefined; for (const m of list) { const id = m.target.nodeType === 1 ? m.target.closest('article')?.dataset.id : null; if (id) window.changed.set(id, (window.changed.get(id) ?? 0) + 1); } })
          .observe(document.querySelector('#column'), { subtree: true, childList: true, characterData: true });
        let last = performance.now();
        const tick = (now) => { window.frames.push(now - last); last = now; requestAnimationFrame(tick); };
        requestAnimationFrame(tick);
      });
      await page.fill('#prompt', 'Go on');
      await page.keyboard.press('Enter');
      await page.waitForFunction(() => [...document.querySelectorAll('.assistant')].at(-1)?.querySelector('.cost') && document.querySelectorAll('.user .said')[document.querySelectorAll('.user .said').length - 1].textContent === 'Go on', null, { timeout: 30_000 });
      const { touched, batches, kept, frames } = await page.evaluate(() => ({ touched: window.changed.size, batches: window.batches, kept: window.kept?.isConnected ?? null, frames: window.frames.sort((a, b) => a - b) }));
      console.log(`      opened in ${Math.round(open_ms)} ms; ${frames.length} frames while 3,000 pieces came: 99 % within ${Math.round(frames[Math.floor(frames.length * 0.99)])} ms, slowest ${Math.round(frames.at(-1))} ms`);
      assert.ok(frames[Math.floor(frames.length / 2)] < 50, 'half of the frames took 50 ms or more');
      assert.equal(kept, true, 'a finished block was drawn again');
      assert.ok(batches < frames.length + 30, `${batches} changes in ${frames.length} frames`);
      assert.equal(touched, 1, 'messages other than the growing one were drawn again');
      assert.ok(open_ms < 2000, `opening took ${open_ms} ms`);
      await page.evaluate(() => { document.querySelector('#scroll').scrollTop = 0; });
      await page.waitForFunction(() => document.querySelectorAll('article').length > 100);
    },
  },
  {
    name: 'the page is small and whole', async run(context, origin) {
      const sizes = new Map();
      context.on('response', async (response) => {
        const { pathname } = new URL(response.url());
        if (pathname === '/' || pathname.startsWith('/page/')) sizes.set(pathname, (await response.body().catch(() => '')).length);
      });
      const page = await open(context, origin);
      const policy = (await page.goto(origin)).headers()['content-security-policy'] ?? '';
      for (const part of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"]) assert.ok(policy.includes(part), `the policy lacks ${part}: ${policy}`);
      await page.waitForLoadState('networkidle');
      const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
      console.log(`      ${sizes.size} files, ${bytes} bytes`);
      assert.ok(bytes < 200_000, `${bytes} bytes`);
      assert.equal(await article(page, 0), null);
    },
  },
];
