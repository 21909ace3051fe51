// Chromium for the tests: Debian's, or the one that CHROMIUM names, without anything that would look for the network.

import { existsSync } from 'node:fs';

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];

export async function launch() {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
  if (!existsSync(executablePath)) throw new Error(`${executablePath}: no Chromium here; install Debian's package chromium, or name one in CHROMIUM`);
  let playwright;
  try {
    playwright = await import('playwright-core');
  } catch {
    throw new Error('playwright-core is not installed; run npm ci in crates/serve/page/tests');
  }
  return playwright.chromium.launch({ executablePath, headless: true, args: FLAGS });
}
