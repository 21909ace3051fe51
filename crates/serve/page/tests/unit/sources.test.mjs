// What the sources must not have in them, so that nobody adds it unseen: ways for text to become HTML or code, and addresses
// outside of the server. And that together they stay as small as promised.

import test from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';

const PAGE = new URL('../../', import.meta.url);
const FILES = readdirSync(PAGE).filter((name) => /\.(?:js|html|css|svg)$/.test(name)).map((name) => [name, readFileSync(new URL(name, PAGE), 'utf8')]);
const HTML_SINKS = /innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc|\beval\(|new Function/;
const ADDRESS = /https?:\/\/[a-z0-9]/gi;

test('no text can become HTML or code', () => {
  for (const [name, text] of FILES) assert.ok(!HTML_SINKS.test(text), `${name}: ${HTML_SINKS.exec(text)}`);
});

test('nothing names an address outside of the server', () => {
  for (const [name, text] of FILES) {
    const found = text.replaceAll('http://www.w3.org/2000/svg', '').match(ADDRESS);
    assert.equal(found, null, `${name}: ${found}`);
  }
});

test('nothing is inline that the policy forbids', () => {
  const html = FILES.find(([name]) => name === 'index.html')[1];
  assert.ok(!/\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)|javascript:/i.test(html));
});

test('every file is loaded by another, and every file that is loaded is there', () => {
  const names = new Set(FILES.map(([name]) => name));
  const loaded = new Set(['index.html']);
  for (const [name, text] of FILES) {
    for (const [, found] of text.matchAll(/(?:from '\.\/|"\/page\/)([a-z_]+\.[a-z]+)/g)) {
      assert.ok(names.has(found), `${name} loads ${found}, which is not there`);
      loaded.add(found);
    }
  }
  assert.deepEqual([...names].filter((name) => !loaded.has(name)), []);
});

test('the page is under 200,000 bytes', () => {
  const bytes = FILES.reduce((sum, [, text]) => sum + Buffer.byteLength(text), 0);
  assert.ok(bytes < 200_000, `${bytes} bytes`);
});
