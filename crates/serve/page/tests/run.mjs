// The page in a real browser: node run.mjs BASE_URL [NAME...]
//
// BASE_URL is a running server: `ingle serve demo` for results that count, stand-in.mjs while the page is changed. Each case
// gets a fresh browser profile; a case fails on the first thing that is not so, on any script error, on any breach of the
// Content-Security-Policy, and on any request to another origin. What no server can be made to say (a hostile answer,
// a refusal, thinking) is put in the place of one response by `played`, and said so in the case; all else is the server's.
// Needs Chromium and `npm ci` in this folder; see browser.mjs. Exits with the number of failures.

import { launch } from './browser.mjs';
import { CASES } from './cases.mjs';

const [baseUrl, ...names] = process.argv.slice(2);
if (!baseUrl) {
  console.error('node run.mjs BASE_URL [NAME...]');
  process.exit(2);
}
const CASE_MS_MAX = 60_000;
const origin = new URL(baseUrl).origin;
const browser = await launch();
let failures = 0;
let ran = 0;
for (const { name, run, options = {} } of CASES) {
  if (names.length && !names.some((wanted) => name.includes(wanted))) continue;
  ran += 1;
  const context = await browser.newContext({ viewport: { width: 1180, height: 820 }, acceptDownloads: true, ...options });
  context.setDefaultTimeout(10_000);
  const faults = [];
  context.on('weberror', (error) => faults.push(`script error: ${error.error()}`));
  context.on('console', (message) => { if (/Content Security Policy/i.test(message.text())) faults.push(message.text()); });
  context.on('request', (request) => {
    const { protocol, origin: asked } = new URL(request.url());
    if (asked !== origin && !['data:', 'blob:'].includes(protocol)) faults.push(`a request to ${request.url()}`);
  });
  context.on('dialog', (dialog) => {
    faults.push(`a dialog of the browser: ${dialog.message()}`);
    dialog.dismiss();
  });
  const started = performance.now();
  try {
    await within(CASE_MS_MAX, run(context, origin));
    if (faults.length) throw new Error(faults.join('\n'));
    console.log(`ok    ${name} (${Math.round(performance.now() - started)} ms)`);
  } catch (error) {
    failures += 1;
    console.log(`FAIL  ${name}\n      ${String(error.stack ?? error).split('\n').slice(0, 12).join('\n      ')}`);
    for (const fault of faults) console.log(`      ${fault}`);
  }
  await context.close();
}
await browser.close();
console.log(`${ran - failures} of ${ran} hold`);
process.exit(ran === 0 ? 2 : Math.min(failures, 100));

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`took more than ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
