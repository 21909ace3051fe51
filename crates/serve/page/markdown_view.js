// Markdown on the screen: blocks and inline nodes become elements, and an answer that grows changes only where it grows.
//
// Every text goes into the document as a text node; nothing here reads HTML, sets an attribute from the model's text but the
// checked address of a link, or loads anything. `update` keeps the elements of finished blocks and parses again only from
// the last one on; of a block of code that grows only the new characters are added. So a frame costs what the last block
// costs, however long the answer is.

import { announce } from './announce.js';
import { el, icon, copyText } from './dom.js';
import { firstOpen, parseBlocks } from './markdown.js';
import { parseInline } from './inline.js';

export class MarkdownView {
  #root;
  #onBlock;
  #text = '';
  #shown = [];   // {at, block, node} per block on the screen
  #final = 0;    // how many of them no more text can change

  /** `onBlock(text)` hears of each block that is final, for readers of the screen. */
  constructor(root, onBlock = () => {}) {
    this.#root = root;
    this.#onBlock = onBlock;
  }

  update(text, done = false) {
    const keep = text.startsWith(this.#text) ? this.#final : 0;
    const from = keep ? this.#shown[keep].at : 0;
    const blocks = parseBlocks(text.slice(from)).map((block) => ({ ...block, at: from + block.at }));
    const shown = this.#shown.slice(0, keep);
    blocks.forEach((block, i) => {
      const old = this.#shown[keep + i];
      const node = old && patch(old, block) ? old.node : element(block);
      if (!old) this.#root.append(node);
      else if (node !== old.node) old.node.replaceWith(node);
      shown.push({ at: block.at, block, node });
    });
    for (const old of this.#shown.slice(shown.length)) old.node.remove();
    const final = done ? shown.length : firstOpen(shown.map(({ block }) => block), text);
    for (let i = keep; i < final; i += 1) this.#onBlock(spoken(shown[i].node));
    this.#text = text;
    this.#shown = shown;
    this.#final = done ? 0 : final;
  }
}

/** Changes the old block's element into the new block's where that is cheap; says whether it did. */
function patch(old, block) {
  const before = old.block;
  if (block.kind !== before.kind) return false;
  if (block.kind === 'code' && block.lang === before.lang && block.text.startsWith(before.text)) {
    const code = old.node.querySelector('code');
    if (block.text.length > before.text.length) code.append(block.text.slice(before.text.length));
    if (block.closed) code.normalize();
    return true;
  }
  return block.kind === 'rule' || (block.kind === 'paragraph' && block.text === before.text);
}

function element(block) {
  switch (block.kind) {
    case 'heading': return inline(el(`h${Math.min(6, block.level + 2)}`), block.text); // the page has h1 and h2
    case 'paragraph': return inline(el('p'), block.text);
    case 'rule': return el('hr');
    case 'code': return code(block);
    case 'math': return el('pre', { class: 'math' }, el('code', {}, block.text));
    case 'quote': return el('blockquote', {}, ...block.blocks.map(element));
    case 'list': return list(block);
    case 'table': return table(block);
    default: throw new Error(`markdown_view: block of kind ${block.kind}`);
  }
}

function code(block) {
  const body = el('code', {}, block.text);
  const copy = el('button', { type: 'button', class: 'code-copy', 'aria-label': 'Copy code' }, icon('copy'), el('span', {}, 'Copy'));
  copy.addEventListener('click', async () => {
    const copied = await copyText(body.textContent);
    announce(copied ? 'Copied.' : 'Not copied.');
    copy.lastChild.textContent = copied ? 'Copied' : 'Not copied';
    setTimeout(() => { copy.lastChild.textContent = 'Copy'; }, 1600);
  });
  const bar = el('div', { class: 'code-bar' }, el('span', { class: 'code-lang' }, block.lang.slice(0, 40) || 'text'), copy);
  return el('div', { class: 'code' }, bar, el('pre', { tabindex: '0', 'aria-label': 'Code' }, body));
}

function list(block) {
  const items = block.items.map(({ task, blocks }) => {
    const only = blocks.length > 0 && blocks[0].kind === 'paragraph';
    const item = el('li', task === null ? {} : { class: 'task' });
    if (task !== null) {
      item.append(el('span', { class: task ? 'box done' : 'box', role: 'img', 'aria-label': task ? 'done' : 'to do' }));
    }
    if (only) inline(item, blocks[0].text); // no paragraph around an item's first line: lists stay tight
    item.append(...blocks.slice(only ? 1 : 0).map(element));
    return item;
  });
  const node = el(block.ordered ? 'ol' : 'ul', {}, ...items);
  if (block.ordered && block.start !== 1) node.start = block.start;
  return node;
}

function table({ align, head, rows }) {
  const cell = (tag) => (text, column) => inline(el(tag, align[column] ? { class: `to-${align[column]}` } : {}), text);
  const line = (tag) => (row) => el('tr', {}, ...row.map(cell(tag)));
  const whole = el('table', {}, el('thead', {}, line('th')(head)), el('tbody', {}, ...rows.map(line('td'))));
  return el('div', { class: 'table', tabindex: '0', role: 'group', 'aria-label': 'Table' }, whole);
}

function inline(parent, text) {
  parent.append(...parseInline(text).map(inlineNode));
  return parent;
}

const WRAPPERS = { strong: 'strong', em: 'em', strike: 's' };

function inlineNode(node) {
  switch (node.kind) {
    case 'text': return document.createTextNode(node.text);
    case 'break': return el('br');
    case 'code': return el('code', {}, node.text);
    case 'math': return el('code', { class: 'math' }, node.text);
    case 'link': return el('a', { href: node.href, rel: 'noopener noreferrer', target: '_blank' }, ...node.children.map(inlineNode));
    default: return el(WRAPPERS[node.kind], {}, ...node.children.map(inlineNode));
  }
}

/** A block's text for speech: without the buttons of code. */
function spoken(node) {
  return (node.querySelector('pre code') ?? node).textContent;
}
