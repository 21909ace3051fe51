// Markdown within a line: text becomes a tree of plain objects. No DOM here; markdown_view.js builds that.
//
// Nodes: {kind: 'text'|'code'|'math', text}, {kind: 'break'}, {kind: 'strong'|'em'|'strike'|'link', children}; a link has
// `href`, checked here: http, https and mailto only, anything else stays the text it was written as. An image becomes a link
// with its description, so that nothing is loaded. HTML is text, but for <br>, which models write in tables. A newline is a
// line break, as people mean it in a chat. The rule for * and _ is CommonMark's list of delimiters. Formulas are kept as they
// are written, so that their underscores survive. Time is proportional to the text, whatever the text (tests/unit).
// Left out: reference links, footnotes, inline HTML.

const PUNCTUATION = /[\p{P}\p{S}]/u;
const PLAIN = /(?:[^\\`*_~[\]!<&\nh$]|h(?!ttps?:\/\/))+/y;
const URL_TEXT = /https?:\/\/[^\s<>`]{1,2000}/y;
const AUTOLINK = /<((?:https?:\/\/|mailto:)[^\s<>]{1,2000})>/y;
const LINE_BREAK = /<br ?\/?>/iy;
const ENTITY = /&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-z]{2,6}));/y;
const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };
const DESTINATION_CHARS_MAX = 2048;

/** The tree of one paragraph, heading or cell. */
export function parseInline(text) {
  return new Parser(text).run();
}

/** What a link may lead to, or null: absolute addresses with a harmless scheme. */
export function safeHref(href) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(href)) return null;
  try {
    const url = new URL(href);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

// Nodes stand in a doubly linked list while they are found, so that wrapping a stretch costs nothing however long it is.
class List {
  first = null;
  last = null;

  push(node) {
    node.prev = this.last;
    node.next = null;
    if (this.last) this.last.next = node;
    else this.first = node;
    this.last = node;
    return node;
  }

  /** Moves what lies between two nodes, or behind the first one, into `wrapper`, which takes its place. */
  wrap(before, after, wrapper) {
    const first = before.next;
    const last = after ? after.prev : this.last;
    wrapper.list = new List();
    if (first !== after && first) {
      wrapper.list.first = first;
      wrapper.list.last = last;
      first.prev = null;
      last.next = null;
    }
    wrapper.prev = before;
    wrapper.next = after;
    before.next = wrapper;
    if (after) after.prev = wrapper;
    else this.last = wrapper;
  }

  remove(node) {
    if (node.prev) node.prev.next = node.next;
    else this.first = node.next;
    if (node.next) node.next.prev = node.prev;
    else this.last = node.prev;
  }
}

class Parser {
  constructor(text) {
    this.text = text;
    this.at = 0;
    this.list = new List();
    this.delimiters = [];
    this.brackets = [];
    this.ticks = null;
  }

  run() {
    while (this.at < this.text.length) this.step();
    this.emphasize(0);
    return flatten(this.list, 0);
  }

  step() {
    const plain = this.match(PLAIN);
    if (plain) return this.say(plain[0]);
    const c = this.text[this.at];
    switch (c) {
      case '\\': return this.escape();
      case '`': return this.code();
      case '*': case '_': case '~': return this.delimiter(c);
      case '$': return this.dollars();
      case '[': return this.open(1);
      case '!': return this.text[this.at + 1] === '[' ? this.open(2) : this.take(1);
      case ']': return this.close();
      case '<': return this.angle();
      case '&': return this.entity();
      case '\n': return this.newline();
      case 'h': return this.bareLink();
      default: return this.take(1);
    }
  }

  match(sticky) {
    sticky.lastIndex = this.at;
    return sticky.exec(this.text);
  }

  /** Adds text that stands for `length` characters of the source. */
  say(text, length = text.length) {
    const last = this.list.last;
    if (last && last.kind === 'text' && !last.fixed) last.text += text;
    else this.list.push({ kind: 'text', text });
    this.at += length;
  }

  take(length) {
    this.say(this.text.slice(this.at, this.at + length));
  }

  escape() {
    const next = this.text[this.at + 1];
    if (next === '\n') {
      this.list.push({ kind: 'break' });
      this.at += 2;
    } else if (next === '(' || next === '[') {
      const end = this.nextOf(next === '(' ? '\\)' : '\\]', this.at + 2);
      if (end < 0) return this.say(next, 2);
      this.list.push({ kind: 'math', text: this.text.slice(this.at + 2, end).trim() });
      this.at = end + 2;
    } else if (next && /[!-/:-@[-`{-~]/.test(next)) {
      this.say(next, 2);
    } else {
      this.take(1);
    }
  }

  /** Where `mark` comes next; a mark that was not found once is not looked for again. */
  nextOf(mark, from) {
    this.absent ??= new Set();
    if (this.absent.has(mark)) return -1;
    const found = this.text.indexOf(mark, from);
    if (found < 0) this.absent.add(mark);
    return found;
  }

  dollars() {
    if (this.text[this.at + 1] !== '$') return this.take(1);
    const end = this.nextOf('$$', this.at + 2);
    if (end < 0) return this.take(2);
    this.list.push({ kind: 'math', text: this.text.slice(this.at + 2, end).trim() });
    this.at = end + 2;
  }

  code() {
    const run = this.match(/`+/y)[0].length;
    const start = this.at + run;
    const end = this.closingTicks(run, start);
    if (end < 0) return this.take(run);
    let code = this.text.slice(start, end).replaceAll('\n', ' ');
    if (code.startsWith(' ') && code.endsWith(' ') && code.trim() !== '') code = code.slice(1, -1);
    this.list.push({ kind: 'code', text: code });
    this.at = end + run;
  }

  /** Where the next run of exactly `run` backticks begins: all runs are noted once, and each list is only walked forward. */
  closingTicks(run, from) {
    if (!this.ticks) {
      this.ticks = new Map();
      for (const found of this.text.matchAll(/`+/g)) {
        const length = found[0].length;
        if (!this.ticks.has(length)) this.ticks.set(length, { positions: [], next: 0 });
        this.ticks.get(length).positions.push(found.index);
      }
    }
    const runs = this.ticks.get(run);
    if (!runs) return -1;
    while (runs.next < runs.positions.length && runs.positions[runs.next] < from) runs.next += 1;
    return runs.positions[runs.next] ?? -1;
  }

  delimiter(c) {
    let end = this.at;
    while (this.text[end] === c) end += 1;
    const count = end - this.at;
    if (c === '~' && count !== 2) return this.take(count);
    const before = this.text[this.at - 1] ?? ' ';
    const after = this.text[end] ?? ' ';
    const [left, right] = flanking(before, after);
    const canOpen = c === '_' ? left && (!right || PUNCTUATION.test(before)) : left;
    const canClose = c === '_' ? right && (!left || PUNCTUATION.test(after)) : right;
    const node = this.list.push({ kind: 'text', text: this.text.slice(this.at, end), fixed: true });
    if (canOpen || canClose) this.delimiters.push({ c, count, full: count, canOpen, canClose, node });
    this.at = end;
  }

  open(length) {
    const node = this.list.push({ kind: 'text', text: this.text.slice(this.at, this.at + length), fixed: true });
    this.brackets.push({ node, delimiters: this.delimiters.length, image: length === 2 });
    this.at += length;
  }

  close() {
    const bracket = this.brackets.pop();
    const target = bracket && this.destination(this.at + 1);
    const href = target && safeHref(target.href);
    if (!href) return this.take(1);
    this.emphasize(bracket.delimiters);
    const empty = !bracket.node.next;
    const link = { kind: 'link', href };
    this.list.wrap(bracket.node, null, link);
    if (empty) link.list.push({ kind: 'text', text: href });
    this.list.remove(bracket.node);
    if (!bracket.image) this.brackets = []; // a link holds no link
    this.at = target.end;
  }

  /** `(address "title")` at a place: the address and where it ends, or null. */
  destination(at) {
    if (this.text[at] !== '(') return null;
    const window = this.text.slice(at, at + DESTINATION_CHARS_MAX);
    const found = /^\((?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\([^\s()]*\))*))(?:\s+(?:"[^"]*"|'[^']*'))?\s*\)/.exec(window);
    return found && { href: (found[1] ?? found[2]).replace(/\\([!-/:-@[-`{-~])/g, '$1'), end: at + found[0].length };
  }

  angle() {
    const line = this.match(LINE_BREAK);
    if (line) {
      this.list.push({ kind: 'break' });
      this.at += line[0].length;
      return undefined;
    }
    const found = this.match(AUTOLINK);
    const href = found && safeHref(found[1]);
    return href ? this.link(href, found[1], found[0].length) : this.take(1);
  }

  bareLink() {
    const found = /[\p{L}\p{N}]/u.test(this.text[this.at - 1] ?? ' ') ? null : this.match(URL_TEXT);
    if (!found) return this.take(1);
    let end = found[0].length;
    while (end > 0 && `.,;:!?'"*_~`.includes(found[0][end - 1])) end -= 1; // the sentence's, not the address's
    let url = found[0].slice(0, end);
    if (url.endsWith(')') && !url.includes('(')) url = url.slice(0, -1);
    if (url.endsWith(']')) url = url.slice(0, -1);
    const href = safeHref(url);
    return href ? this.link(href, url, url.length) : this.take(url.length || 1);
  }

  link(href, text, length) {
    const link = this.list.push({ kind: 'link', href, list: new List() });
    link.list.push({ kind: 'text', text });
    this.at += length;
  }

  entity() {
    const found = this.match(ENTITY);
    if (!found) return this.take(1);
    const [whole, decimal, hex, name] = found;
    const code = decimal ? Number(decimal) : parseInt(hex ?? '0', 16);
    const text = name ? ENTITIES[name] : code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
    return text === undefined ? this.take(1) : this.say(text, whole.length);
  }

  newline() {
    const last = this.list.last;
    if (last && last.kind === 'text' && !last.fixed) last.text = last.text.replace(/(?<! ) +$/, '');
    this.list.push({ kind: 'break' });
    this.at += 1;
    while (this.text[this.at] === ' ') this.at += 1;
  }

  /** Pairs the delimiters from `bottom` on, as CommonMark's "process emphasis" does; they are then used up. */
  emphasize(bottom) {
    const openers = [];
    const floors = new Map(); // per kind of closer: how many of `openers` are known not to match it
    const shrink = (length) => {
      openers.length = length;
      for (const [kind, floor] of floors) if (floor > length) floors.set(kind, length);
    };
    for (const closer of this.delimiters.splice(bottom)) {
      const kind = `${closer.c}${closer.canOpen}${closer.full % 3}`;
      while (closer.canClose && closer.count > 0) {
        let at = openers.length - 1;
        while (at >= (floors.get(kind) ?? 0) && !pairs(openers[at], closer)) at -= 1;
        if (at < (floors.get(kind) ?? 0)) {
          floors.set(kind, openers.length);
          break;
        }
        this.pair(openers[at], closer);
        shrink(openers[at].count > 0 ? at + 1 : at); // what stood between can't match any more
      }
      if (closer.canOpen && closer.count > 0) openers.push(closer);
    }
  }

  pair(opener, closer) {
    const length = opener.c === '~' || (opener.count > 1 && closer.count > 1) ? 2 : 1;
    const kind = opener.c === '~' ? 'strike' : length === 2 ? 'strong' : 'em';
    this.list.wrap(opener.node, closer.node, { kind });
    for (const end of [opener, closer]) {
      end.count -= length;
      end.node.text = end.node.text.slice(length);
    }
  }
}

function flanking(before, after) {
  const spaceBefore = /\s/.test(before);
  const spaceAfter = /\s/.test(after);
  const markBefore = PUNCTUATION.test(before);
  const markAfter = PUNCTUATION.test(after);
  const left = !spaceAfter && (!markAfter || spaceBefore || markBefore);
  const right = !spaceBefore && (!markBefore || spaceAfter || markAfter);
  return [left, right];
}

function pairs(opener, closer) {
  if (opener.c !== closer.c || !opener.canOpen) return false;
  if (!opener.canClose && !closer.canOpen) return true;
  return (opener.full + closer.full) % 3 !== 0 || (opener.full % 3 === 0 && closer.full % 3 === 0);
}

const DEPTH_MAX = 16;

/** The list as an array, neighbouring texts joined; what is nested deeper than anybody reads becomes plain text. */
function flatten(list, depth) {
  const nodes = [];
  for (let node = list.first; node; node = node.next) {
    if (node.kind === 'text') {
      const last = nodes.at(-1);
      if (last?.kind === 'text') last.text += node.text;
      else if (node.text !== '') nodes.push({ kind: 'text', text: node.text });
    } else if (!node.list) {
      nodes.push(node.kind === 'break' ? { kind: 'break' } : { kind: node.kind, text: node.text });
    } else if (depth >= DEPTH_MAX) {
      nodes.push({ kind: 'text', text: plainText(node.list) });
    } else {
      const wrapped = { kind: node.kind, children: flatten(node.list, depth + 1) };
      if (node.href) wrapped.href = node.href;
      nodes.push(wrapped);
    }
  }
  return nodes;
}

function plainText(list) {
  let text = '';
  const stack = [list.first];
  while (stack.length) {
    const node = stack.pop();
    if (!node) continue;
    stack.push(node.next);
    if (node.list) stack.push(node.list.first);
    else text += node.text ?? ' ';
  }
  return text;
}
