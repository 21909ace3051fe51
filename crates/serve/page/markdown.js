// Markdown in blocks: text becomes an array of plain objects. No DOM here; markdown_view.js builds that.
//
// Blocks: heading {level, text}, paragraph {text}, code {lang, text, closed}, math {text}, rule, quote {blocks},
// list {ordered, start, items: [{task, blocks}]}, table {align, head, rows}; a row of fewer cells than the head stays short, so
// that a table has no more cells than its text has characters. Texts go through inline.js when they are shown.
// The parser reads lines downward and never goes back, so a block is final once another begins behind it on a line that is
// whole: `parseBlocks` says at which character each block begins, `firstOpen` which of them may still change, and an answer
// that grows is parsed again only from there on.
// Nesting is capped. Left out: HTML blocks (they are text), link definitions, code by indentation alone (models indent
// prose far more often than they mean code by it), headings by underlining (a `-` that arrives may become a list).

const DEPTH_MAX = 10;
// No two neighbours below can take the same character, so that a line that fits none is given up in one pass.
const FENCE = /^( {0,3})(`{3,}(?!`)|~{3,}(?!~))[ \t]*(?![ \t])([^\s`]*)(?:\s[^`]*)?$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+([^\n]*))?$/;
const RULE = /^ {0,3}(?:(?:\*[ \t]*){3,}|(?:-[ \t]*){3,}|(?:_[ \t]*){3,})$/;
const QUOTE = /^ {0,3}>/;
const ITEM = /^( {0,3})([-*+]|(\d{1,9})[.)])(?: {1,4}(?=\S)| *$| (?= {4}))/;
const DELIMITER_ROW = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*(?:\|[ \t]*)?$/;
const MATH = /^ {0,3}(\$\$|\\\[)[ \t]*$/;
const COLUMNS_MAX = 64;

/** The blocks of a text, each with `at`, the character it begins at. */
export function parseBlocks(text) {
  const lines = text.split('\n');
  const offsets = [0];
  for (const line of lines) offsets.push(offsets.at(-1) + line.length + 1);
  const blocks = [];
  for (const block of parse(lines.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line)), 0)) blocks.push({ ...block, at: offsets[block.line] });
  return blocks;
}

/** The first block that more text could change: the last, and the one before while the lines that make the last one what it
 *  is (the first; of a table the second too) are not whole. */
export function firstOpen(blocks, text) {
  const last = blocks.length - 1;
  if (last < 1) return 0;
  let end = text.indexOf('\n', blocks[last].at);
  if (end >= 0 && blocks[last].kind === 'table') end = text.indexOf('\n', end + 1);
  return end < 0 ? last - 1 : last;
}

function parse(lines, depth) {
  const blocks = [];
  let line = 0;
  while (line < lines.length) {
    if (blank(lines[line])) {
      line += 1;
      continue;
    }
    const [block, next] = blockAt(lines, line, depth);
    block.line = line;
    blocks.push(block);
    line = next;
  }
  return blocks;
}

function blockAt(lines, line, depth) {
  const text = lines[line];
  const fence = FENCE.exec(text);
  if (fence) return code(lines, line, fence);
  const heading = HEADING.exec(text);
  if (heading) return [{ kind: 'heading', level: heading[1].length, text: closed(heading[2] ?? '') }, line + 1];
  if (RULE.test(text)) return [{ kind: 'rule' }, line + 1];
  if (MATH.test(text)) return math(lines, line);
  if (depth < DEPTH_MAX && QUOTE.test(text)) return quote(lines, line, depth);
  if (depth < DEPTH_MAX && ITEM.test(text)) return list(lines, line, depth);
  if (tableAt(lines, line)) return table(lines, line);
  return paragraph(lines, line, depth);
}

/** Whether a line ends the paragraph before it. */
function interrupts(lines, line, depth) {
  const text = lines[line];
  if (blank(text) || FENCE.test(text) || HEADING.test(text) || RULE.test(text) || MATH.test(text)) return true;
  if (depth < DEPTH_MAX && QUOTE.test(text)) return true;
  if (tableAt(lines, line)) return true;
  if (depth >= DEPTH_MAX) return false;
  const item = ITEM.exec(text);
  return item !== null && !blank(text.slice(item[0].length)) && (item[3] === undefined || item[3] === '1');
}

function paragraph(lines, line, depth) {
  let end = line + 1;
  while (end < lines.length && !interrupts(lines, end, depth)) end += 1;
  return [{ kind: 'paragraph', text: joined(lines, line, end) }, end];
}

function joined(lines, from, to) {
  return lines.slice(from, to).map((text) => text.trimStart()).join('\n').trimEnd();
}

function code(lines, line, [, indent, mark, lang]) {
  const body = [];
  let end = line + 1;
  for (; end < lines.length; end += 1) {
    const closing = /^ {0,3}(`{3,}|~{3,})[ \t]*$/.exec(lines[end]);
    if (closing && closing[1][0] === mark[0] && closing[1].length >= mark.length) {
      return [{ kind: 'code', lang, text: body.join('\n'), closed: true }, end + 1];
    }
    body.push(withoutIndent(lines[end], indent.length));
  }
  return [{ kind: 'code', lang, text: body.join('\n'), closed: false }, end];
}

function math(lines, line) {
  const closing = lines[line].trim() === '$$' ? '$$' : '\\]';
  let end = line + 1;
  while (end < lines.length && lines[end].trim() !== closing) end += 1;
  return [{ kind: 'math', text: lines.slice(line + 1, end).join('\n') }, end + 1];
}

function quote(lines, line, depth) {
  const inner = [];
  let end = line;
  for (; end < lines.length; end += 1) {
    if (QUOTE.test(lines[end])) inner.push(lines[end].replace(/^ {0,3}> ?/, ''));
    else if (end > line && !interrupts(lines, end, depth) && !blank(inner.at(-1))) inner.push(lines[end]);
    else break;
  }
  return [{ kind: 'quote', blocks: parse(inner, depth + 1) }, end];
}

function list(lines, line, depth) {
  const first = ITEM.exec(lines[line]);
  const ordered = first[3] !== undefined;
  const block = { kind: 'list', ordered, start: ordered ? Number(first[3]) : null, items: [] };
  let at = line;
  while (at < lines.length) {
    const marker = RULE.test(lines[at]) ? null : ITEM.exec(lines[at]);
    if (!marker || markOf(marker) !== markOf(first)) break;
    const [item, next] = listItem(lines, at, marker, depth);
    block.items.push(item);
    at = next;
    let after = at;
    while (after < lines.length && blank(lines[after])) after += 1;
    if (after < lines.length && ITEM.test(lines[after])) at = after;
  }
  return [block, at];
}

function markOf(marker) {
  return marker[3] === undefined ? marker[2] : marker[2].at(-1);
}

function listItem(lines, line, marker, depth) {
  const width = marker[0].trimEnd() === marker[0] ? marker[0].length + 1 : marker[0].length;
  const inner = [lines[line].slice(marker[0].length)];
  let end = line + 1;
  let gap = 0; // blank lines that belong to the item only if more of it follows
  for (; end < lines.length; end += 1) {
    const text = lines[end];
    const indent = indentOf(text);
    if (blank(text)) {
      gap += 1;
      continue;
    }
    const inside = indent >= width || (indent >= 2 && ITEM.test(text.slice(2)) && indent > marker[1].length);
    const lazy = gap === 0 && !interrupts(lines, end, depth) && !ITEM.test(text);
    if (!inside && !lazy) break;
    for (; gap > 0; gap -= 1) inner.push('');
    inner.push(withoutIndent(text, inside ? Math.min(width, indent) : 0));
  }
  const task = /^\[([ xX])\] /.exec(inner[0]);
  if (task) inner[0] = inner[0].slice(4);
  const blocks = parse(inner, depth + 1);
  return [{ task: task ? task[1] !== ' ' : null, blocks }, end - gap];
}

function tableAt(lines, line) {
  return lines[line].includes('|') && line + 1 < lines.length && lines[line + 1].includes('-') && DELIMITER_ROW.test(lines[line + 1])
    && cells(lines[line]).length === cells(lines[line + 1]).length;
}

function table(lines, line) {
  const head = cells(lines[line]);
  const align = cells(lines[line + 1]).map((cell) => {
    const [left, right] = [cell.startsWith(':'), cell.endsWith(':')];
    return left && right ? 'center' : right ? 'right' : left ? 'left' : null;
  });
  const rows = [];
  let end = line + 2;
  for (; end < lines.length && !blank(lines[end]) && lines[end].includes('|'); end += 1) {
    rows.push(cells(lines[end]).slice(0, head.length));
  }
  return [{ kind: 'table', align, head, rows }, end];
}

/** The cells of a row; a bar after a backslash, or in code, is text. */
function cells(line) {
  const row = line.trim().replace(/^\|/, '').replace(/(?<!\\)\|$/, '');
  const found = [];
  let cell = '';
  let inCode = false;
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] === '\\' && row[at + 1] === '|') {
      cell += '|';
      at += 1;
    } else if (row[at] === '|' && !inCode) {
      found.push(cell.trim());
      cell = '';
    } else {
      if (row[at] === '`' && (inCode || row.indexOf('`', at + 1) > 0)) inCode = !inCode;
      cell += row[at];
    }
  }
  found.push(cell.trim());
  return found.slice(0, COLUMNS_MAX);
}

function closed(heading) {
  return heading.replace(/(?:^|(?<![ \t])[ \t]+)#+[ \t]*$/, '').trim();
}

function blank(line) {
  return line.trim() === '';
}

function indentOf(line) {
  let columns = 0;
  for (const c of line) {
    if (c === ' ') columns += 1;
    else if (c === '\t') columns += 4 - (columns % 4);
    else break;
  }
  return columns;
}

/** The line without `width` columns of white space, a tab counting up to the next multiple of 4. */
function withoutIndent(line, width) {
  let columns = 0;
  let at = 0;
  while (columns < width && (line[at] === ' ' || line[at] === '\t')) {
    columns += line[at] === ' ' ? 1 : 4 - (columns % 4);
    at += 1;
  }
  return ' '.repeat(Math.max(0, columns - width)) + line.slice(at);
}
