// The Markdown parser: what models write becomes the blocks they mean, hostile text stays text, time stays in proportion.

import test from 'node:test';
import assert from 'node:assert/strict';
import { firstOpen, parseBlocks } from '../../markdown.js';
import { parseInline, safeHref } from '../../inline.js';

// A short notation of what was parsed, so that a case is a line.
const inline = (nodes) => nodes.map((node) => {
  if (node.kind === 'text') return node.text;
  if (node.kind === 'break') return '⏎';
  if (node.text !== undefined) return `${node.kind}<${node.text}>`;
  return `${node.kind}${node.href ? `(${node.href})` : ''}<${inline(node.children)}>`;
}).join('');
const block = (b) => {
  switch (b.kind) {
    case 'heading': return `h${b.level}<${b.text}>`;
    case 'paragraph': return `p<${b.text}>`;
    case 'code': return `code:${b.lang}${b.closed ? '' : '…'}<${b.text}>`;
    case 'math': return `math<${b.text}>`;
    case 'quote': return `quote<${b.blocks.map(block).join(' ')}>`;
    case 'list': return `${b.ordered ? `ol${b.start}` : 'ul'}<${b.items.map((i) =>
      (i.task === null ? '' : i.task ? '[x]' : '[ ]') + i.blocks.map(block).join(' ')).join(' | ')}>`;
    case 'table': return `table:${b.align.map((a) => a?.[0] ?? '-').join('')}<${[b.head, ...b.rows].map((r) => r.join(',')).join(' / ')}>`;
    default: return b.kind;
  }
};
const blocks = (text) => parseBlocks(text).map(block).join(' ');

const INLINE = [
  ['plain words here', 'plain words here'],
  ['**bold** and *it* and ***both***', 'strong<bold> and em<it> and em<strong<both>>'],
  ['__bold__ _it_ snake_case_name', 'strong<bold> em<it> snake_case_name'],
  ['2 * 3 * 4', '2 * 3 * 4'],
  ['**a *b* c**', 'strong<a em<b> c>'],
  ['*a **b***', 'em<a strong<b>>'],
  ['**unfinished', '**unfinished'],
  ['a*b*c', 'aem<b>c'],
  ['~~gone~~ ~kept~', 'strike<gone> ~kept~'],
  ['`a*b*` ``x ` y`` `open', 'code<a*b*> code<x ` y> `open'],
  ['\\*not\\* \\`', '*not* `'],
  ['a\nb  \nc\\\nd', 'a⏎b⏎c⏎d'],
  ['a<br>b<BR />c', 'a⏎b⏎c'],
  ['[x](https://a.b/c_d)', 'link(https://a.b/c_d)<x>'],
  ['[**x**](https://a.b "title") y', 'link(https://a.b/)<strong<x>> y'],
  ['[x](mailto:a@b.c)', 'link(mailto:a@b.c)<x>'],
  ['[x](javascript:alert(1))', '[x](javascript:alert(1))'],
  ['[x](JaVaScRiPt:alert(1))', '[x](JaVaScRiPt:alert(1))'],
  ['[x](data:text/html,hi) [y](//evil) [z](/local)', '[x](data:text/html,hi) [y](//evil) [z](/local)'],
  ['![a cat](https://a.b/cat.png)', 'link(https://a.b/cat.png)<a cat>'],
  ['![](https://a.b/cat.png)', 'link(https://a.b/cat.png)<https://a.b/cat.png>'],
  ['[a](https://en.w/x_(y)) b', 'link(https://en.w/x_(y))<a> b'],
  ['see https://a.b/x?y=1, and <https://c.d>.', 'see link(https://a.b/x?y=1)<https://a.b/x?y=1>, and link(https://c.d/)<https://c.d>.'],
  ['(https://a.b/c)', '(link(https://a.b/c)<https://a.b/c>)'],
  ['<img src=x onerror=alert(1)>', '<img src=x onerror=alert(1)>'],
  ['<script>alert(1)</script>', '<script>alert(1)</script>'],
  ['&lt;b&gt; &amp; &#65; &#x1F; &unknown; &#0;', '<b> & A \u001f &unknown; \ufffd'],
  ['\\(a_1 * b_1\\) and $$x_1$$ cost $5', 'math<a_1 * b_1> and math<x_1> cost $5'],
  ['[a [b](https://c.d) e](https://f.g)', '[a link(https://c.d/)<b> e](link(https://f.g/)<https://f.g>)'],
];
test('inline', () => {
  for (const [text, expected] of INLINE) assert.equal(inline(parseInline(text)), expected, text);
});

const BLOCKS = [
  ['# One\n## Two ##\n####### no', 'h1<One> h2<Two> p<####### no>'],
  ['a\nb\n\nc', 'p<a\nb> p<c>'],
  ['```js\nlet a;\n\n  b\n```\nafter', 'code:js<let a;\n\n  b> p<after>'],
  ['```\nopen', 'code:…<open>'],
  ['~~~\n```\n~~~', 'code:<```>'],
  ['- a\n- b\n  more\n\n- c', 'ul<p<a> | p<b\nmore> | p<c>>'],
  ['1. a\n2. b\n   - c\n   - d\n3. e', 'ol1<p<a> | p<b> ul<p<c> | p<d>> | p<e>>'],
  ['1. a\n  - b', 'ol1<p<a> ul<p<b>>>'],
  ['- a\n    - b\n        - c', 'ul<p<a> ul<p<b> ul<p<c>>>>'],
  ['7) a\n8) b', 'ol7<p<a> | p<b>>'],
  ['- [x] done\n- [ ] open', 'ul<[x]p<done> | [ ]p<open>>'],
  ['text\n- a\n- b', 'p<text> ul<p<a> | p<b>>'],
  ['text\n1986. a year', 'p<text\n1986. a year>'],
  ['- a\n\n  ```py\n  x\n  ```\n- b', 'ul<p<a> code:py<x> | p<b>>'],
  ['> a\nlazy\n> - b\n\nc', 'quote<p<a\nlazy> ul<p<b>>> p<c>'],
  ['| a | b |\n|:--|--:|\n| 1 | `x|y` |\n| 2 |\n\nend', 'table:lr<a,b / 1,`x|y` / 2> p<end>'],
  ['a | b\n--- | :-:\n\\| | 2', 'table:-c<a,b / |,2>'],
  ['Pipe:\n| foo\n- x', 'p<Pipe:\n| foo> ul<p<x>>'],
  ['Pipe:\n| foo\n-', 'p<Pipe:> table:-<foo>'],
  ['a | b\nno table', 'p<a | b\nno table>'],
  ['a\n---\n***', 'p<a> rule rule'],
  ['$$\nx_1\n$$\n\\[\ny\n\\]', 'math<x_1> math<y>'],
  ['<div onclick="x">\n<b>', 'p<<div onclick="x">\n<b>>'],
  ['* * *\n- x', 'rule ul<p<x>>'],
  ['a\r\n\r\n- b\r\n- c', 'p<a> ul<p<b> | p<c>>'],
  ['', ''],
];
test('blocks', () => {
  for (const [text, expected] of BLOCKS) assert.equal(blocks(text), expected, text);
});

test('says where each block begins', () => {
  const text = '# a\n\nb\n\n- c\n- d\n\n```\ne\n';
  assert.deepEqual(parseBlocks(text).map(({ at }) => text.slice(at, at + 3)), ['# a', 'b\n\n', '- c', '```']);
});

test('parsing from the first open block on, as a text grows, gives what parsing it whole gives', () => {
  for (const [whole] of BLOCKS) {
    let from = 0;
    const done = [];
    for (let end = 1; end <= whole.length; end += 1) {
      const text = whole.slice(from, end);
      const found = parseBlocks(text);
      const open = firstOpen(found, text);
      done.push(...found.slice(0, open).map(block));
      if (open > 0) from += found[open].at;
    }
    done.push(...parseBlocks(whole.slice(from)).map(block));
    assert.equal(done.join(' '), blocks(whole), whole);
  }
});

test('only harmless addresses become links', () => {
  for (const bad of ['javascript:1', ' javascript:1', 'java\nscript:1', 'vbscript:1', 'file:///x', 'blob:x', 'http//x', 'http://', '']) {
    assert.equal(safeHref(bad), null, bad);
  }
  assert.equal(safeHref('HTTPS://A.b'), 'https://a.b/');
});

const HOSTILE = ['*', '_', '**a ', '*a **b ', '[', '![', '[a](', '](', '`', '` `` ', '<', '&', '~~', '\\(', '$$ ', 'https://', 'a*b_c', '(', '*_',
  '[a](https://b ', '> ', '- ', '1. ', '|', '| a ', '|-', '#', '```\n', '    ', '\n', '\t- ', '- a\n  ', '> - ', 'h', '$$', '\\['];
const SPACES = ' '.repeat(100_000);
const HOSTILE_LINES = ['~'.repeat(5000) + '`', '```' + 'a'.repeat(100_000) + '`', '```' + SPACES + '`', 'a|b\n-' + SPACES + 'x', '# a' + SPACES + 'b', '#' + SPACES + '\u2028'];
test('takes time in proportion to any text', () => {
  for (const text of [...HOSTILE.map((piece) => piece.repeat(Math.ceil(200_000 / piece.length))), ...HOSTILE_LINES]) {
    const start = process.cpuUsage(); // and not the clock: the machine may be busy
    const found = parseBlocks(text);
    const inlineOf = (b) => { if (b.text !== undefined) parseInline(b.text); b.blocks?.forEach(inlineOf); b.items?.forEach((i) => i.blocks.forEach(inlineOf)); };
    found.forEach(inlineOf);
    parseInline(text);
    const ms = process.cpuUsage(start).user / 1000;
    assert.ok(ms < 2000, `${text.length} characters of ${JSON.stringify(text.slice(0, 16))} took ${Math.round(ms)} ms`); // quadratic: minutes
  }
});

test('a table has no more cells than its text has characters', () => {
  const columns = '|a'.repeat(64);
  const [found] = parseBlocks(`${columns}\n${'|-'.repeat(64)}\n${'|\n'.repeat(1000)}`);
  assert.deepEqual([found.kind, found.head.length, found.rows.length, found.rows.flat().length], ['table', 64, 1000, 1000]);
});

test('caps how deep a tree gets', () => {
  const depth = (nodes) => Math.max(0, ...nodes.map((node) => (node.children ? 1 + depth(node.children) : 0)));
  assert.ok(depth(parseInline('*a **b '.repeat(500) + ' c** d*'.repeat(500))) <= 17);
  const nested = (found) => Math.max(0, ...found.map((b) => (b.blocks ? 1 + nested(b.blocks) : 0)));
  assert.ok(nested(parseBlocks('> '.repeat(1000) + 'x')) <= 10);
});
