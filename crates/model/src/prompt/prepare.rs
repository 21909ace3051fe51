//! The rewriting of a template before minijinja compiles it: one scan over its tags, which leaves all else as it is.

/// The filters that [`prepare`] puts behind operands and values.
pub mod filters {
    /// What `~` and `+` join.
    pub const JOINED: &str = "ingle_joined";
    /// What brackets made.
    pub const MADE: &str = "ingle_made";
    /// What a namespace keeps.
    pub const KEPT: &str = "ingle_kept";
    /// The first operand of `*`, the last, and one between.
    pub const FACTOR: &str = "ingle_factor";
    pub const LAST_FACTOR: &str = "ingle_last_factor";
    pub const NEXT_FACTOR: &str = "ingle_next_factor";
    /// The base of a power that is itself a factor.
    pub const POWER: &str = "ingle_power";
    /// What is compared with something, or looked up.
    pub const COMPARED: &str = "ingle_compared";
    /// What `in` looks into.
    pub const SEARCHED: &str = "ingle_searched";
    /// What a loop goes through.
    pub const ITERATED: &str = "ingle_iterated";
    /// What brackets take an item or a part from.
    pub const INDEXED: &str = "ingle_indexed";
}

/// A longer text in the source is metered like any value.
const LITERAL_BYTES_MAX: usize = 256;

/// Rewrites a template for minijinja: `{% generation %}` blocks become blocks that always apply, and what makes values grow
/// or takes time with their length is metered: operands of `~`, `+`, `*` and comparisons, what brackets make and what they
/// take from, what is set in a namespace. Also gives the length of the longest stretch of plain text or name.
pub fn prepare(source: &str) -> (String, usize) {
    let mut out = String::with_capacity(source.len() + source.len() / 8);
    let mut longest_plain = 0;
    let mut rest = source;
    while let Some(start) = rest
        .match_indices('{')
        .map(|(i, _)| i)
        .find(|&i| matches!(rest.as_bytes().get(i + 1), Some(b'{' | b'%' | b'#')))
    {
        longest_plain = longest_plain.max(start);
        let (plain, tag) = rest.split_at(start);
        out.push_str(plain);
        let n = match tag.as_bytes()[1] {
            b'#' => {
                let n = tag.find("#}").map_or(tag.len(), |end| end + 2);
                out.push_str(&tag[..n]);
                n
            }
            b'%' if tag_word(tag) == "raw" => {
                let n = end_of_raw(tag);
                longest_plain = longest_plain.max(n);
                out.push_str(&tag[..n]);
                n
            }
            kind => {
                let mut tag = Tag::new(tag, kind);
                let n = tag.prepare(&mut out);
                longest_plain = longest_plain.max(tag.longest_name);
                n
            }
        };
        rest = &tag[n..];
    }
    out.push_str(rest);
    (out, longest_plain.max(rest.len()))
}

/// The first word of a `{%` tag.
fn tag_word(tag: &str) -> &str {
    let inside = tag[2..].trim_start_matches(['-', '+']).trim_start();
    &inside[..inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len())]
}

/// Where the tag ends that closes the raw block `tag` opens.
fn end_of_raw(tag: &str) -> usize {
    let closing = tag.match_indices("{%").skip(1).find(|&(i, _)| tag_word(&tag[i..]) == "endraw");
    let from = closing.map_or(tag.len(), |(i, _)| i);
    tag[from..].find("%}").map_or(tag.len(), |n| from + n + 2)
}

/// What stood last, as far as metering it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// The end of something that may be long.
    Value,
    /// The end of a short text or a number in the source.
    Literal,
    /// The name of a test is next.
    Is,
    /// Anything else: operators, keywords, test names.
    Other,
}

/// What must be metered at its end: the operand that began last, in one pair of brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    Nothing,
    /// It is a join's right side.
    Join,
    /// It is the right side of a `*`.
    Factor,
    /// It is the right side of a comparison, or a call takes each of its items.
    Compared,
    /// It is the right side of `in`.
    Searched,
    /// A loop goes through it.
    Iterated,
    /// It ended with a bracket.
    Made,
}

/// A pair of brackets that is open, or what is around all of them.
struct Level {
    due: Due,
    /// Where the operand that began last begins in what was written.
    start: usize,
    /// Whether it went through a filter: then no brackets may follow.
    is_filtered: bool,
    /// Whether it follows a test's name: then brackets around it would be taken for those of the test's arguments.
    is_argument: bool,
    /// Whether such brackets were opened, and have yet to be closed.
    is_open: bool,
    /// Whether every operand here is looked up or compared.
    pays: bool,
}

impl Level {
    /// `start` is behind the bracket: for what belongs to an operand that is missing.
    fn new(start: usize, pays: bool) -> Self {
        Self { due: Due::Nothing, start, is_filtered: false, is_argument: false, is_open: false, pays }
    }
}

/// Heads of tags that take no filter, or only as part of what they are.
const HEADS: &[&str] =
    &["macro", "call", "filter", "block", "include", "extends", "import", "from", "do", "autoescape"];

/// One `{{` or `{%` tag on its way through.
struct Tag<'a> {
    /// From its opening to the end of the source.
    text: &'a str,
    close: &'static str,
    /// The first word of a `{%` tag.
    word: &'a str,
    at: usize,
    last: Last,
    /// One for each open bracket, and one around all.
    levels: Vec<Level>,
    /// Where, in what was written, a parenthesis has yet to be opened.
    parentheses: Vec<usize>,
    /// Whether a dot or a bar stood last, and what follows belongs to what precedes.
    is_joint: bool,
    /// Whether the name of `loop.changed` stood last.
    is_changed: bool,
    /// Whether the name of a test stood last.
    is_test: bool,
    /// Whether the `in` of a `{% for %}` is yet to come.
    is_target: bool,
    /// Of `{% set a.b = ... %}`: whether a dot was seen, and whether what is set was put in parentheses.
    is_field: bool,
    is_kept: bool,
    longest_name: usize,
}

impl<'a> Tag<'a> {
    fn new(text: &'a str, kind: u8) -> Self {
        let word = if kind == b'%' { tag_word(text) } else { "" };
        Self {
            text,
            close: if kind == b'{' { "}}" } else { "%}" },
            word,
            at: 2,
            last: Last::Other,
            levels: vec![Level::new(0, false)],
            parentheses: Vec::new(),
            is_joint: false,
            is_changed: false,
            is_test: false,
            is_target: word == "for",
            is_field: false,
            is_kept: false,
            longest_name: 0,
        }
    }

    /// Copies the tag, rewritten; gives its length.
    fn prepare(&mut self, out: &mut String) -> usize {
        let bytes = self.text.as_bytes();
        out.push_str(&self.text[..2]);
        if matches!(bytes.get(2), Some(b'-' | b'+')) {
            out.push(char::from(bytes[2]));
            self.at = 3;
        }
        if let "generation" | "endgeneration" = self.word {
            out.push_str(if self.word == "generation" { " if true " } else { " endif " });
            self.at += self.text[self.at..].find(self.word).map_or(0, |n| n + self.word.len());
        }
        let begin = out.len();
        self.levels[0].start = begin;
        while let Some(&byte) = bytes.get(self.at) {
            let rest = &self.text[self.at..];
            let sign = usize::from(matches!(byte, b'-' | b'+'));
            let closes = self.levels.len() == 1 && rest[sign..].starts_with(self.close);
            if !byte.is_ascii_whitespace() && matches!(self.last, Last::Value | Last::Literal) {
                let goes_on = matches!(byte, b'.' | b'[' | b'(' | b'|');
                if closes || !goes_on {
                    self.meter(if closes { "" } else { rest }, out);
                }
            }
            if closes {
                if self.is_kept {
                    write(out, ")|", filters::KEPT);
                }
                out.push_str(&rest[..sign + 2]);
                self.at += sign + 2;
                break;
            }
            self.token(byte, rest, out);
        }
        self.open_parentheses(begin, out);
        self.at
    }

    /// Copies one token of the language, or white space.
    fn token(&mut self, byte: u8, rest: &str, out: &mut String) {
        if byte.is_ascii_whitespace() {
            out.push(char::from(byte));
            self.at += 1;
            return;
        }
        let depth = self.levels.len() - 1;
        let ends = matches!(self.last, Last::Value | Last::Literal);
        let (was_joint, was_changed) = (self.is_joint, self.is_changed);
        (self.is_joint, self.is_changed) = (false, false);
        let was_test = std::mem::take(&mut self.is_test);
        let (n, next) = match byte {
            b'\'' | b'"' => {
                self.begin(was_joint, was_test, out);
                let n = text_bytes(rest);
                (n, if n > LITERAL_BYTES_MAX { Last::Value } else { Last::Literal })
            }
            b'(' | b'[' | b'{' => {
                if !ends {
                    self.begin(was_joint, was_test, out);
                } else if byte == b'[' && !is_simple_key(rest) && !self.levels[depth].is_filtered {
                    let level = &mut self.levels[depth];
                    let n = if level.is_argument && !level.is_open { 2 } else { 1 };
                    level.is_open = level.is_argument;
                    self.parentheses.extend(std::iter::repeat_n(level.start, n));
                    write(out, "|", filters::INDEXED);
                    out.push(')');
                }
                self.levels.push(Level::new(out.len() + 1, ends && byte == b'[' || was_changed));
                (1, Last::Other)
            }
            b')' | b']' | b'}' => {
                if depth > 0 {
                    self.levels.pop();
                }
                let due = &mut self.levels.last_mut().expect("the first stays").due;
                if *due == Due::Nothing {
                    // The keys of a map are looked up as it is made.
                    *due = if byte == b'}' { Due::Compared } else { Due::Made };
                }
                (1, Last::Value)
            }
            b'0'..=b'9' => {
                self.begin(was_joint, was_test, out);
                (rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()), Last::Literal)
            }
            _ if byte == b'_' || byte.is_ascii_alphabetic() || !byte.is_ascii() => {
                self.begin(was_joint, was_test, out);
                self.name(rest, was_joint)
            }
            _ => (self.operator(byte, rest, ends, out), Last::Other),
        };
        out.push_str(&rest[..n]);
        self.at += n;
        self.last = next;
    }

    /// An operand begins, unless what stands here belongs to the one before.
    fn begin(&mut self, is_joint: bool, is_argument: bool, out: &str) {
        if !is_joint {
            let level = self.levels.last_mut().expect("the first stays");
            (level.start, level.is_filtered, level.is_argument) = (out.len(), false, is_argument);
        }
    }

    fn name(&mut self, rest: &str, was_joint: bool) -> (usize, Last) {
        let n = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let n = n.max(rest.chars().next().map_or(1, char::len_utf8));
        self.longest_name = self.longest_name.max(n);
        let name = &rest[..n];
        if was_joint {
            self.is_changed = name == "changed";
            return (n, Last::Value);
        }
        self.is_test = self.last == Last::Is && name != "not";
        if name == "in" && self.last != Last::Is {
            let is_loop = self.levels.len() == 1 && std::mem::take(&mut self.is_target);
            let due = if is_loop { Due::Iterated } else { Due::Searched };
            self.levels.last_mut().expect("the first stays").due = due;
        }
        (n, after_word(name, self.last))
    }

    /// Notes what an operator's right side is due; gives how long it is.
    fn operator(&mut self, byte: u8, rest: &str, ends: bool, out: &mut String) -> usize {
        let is_outside = self.levels.len() == 1;
        let level = self.levels.last_mut().expect("the first stays");
        match byte {
            b'*' if rest.starts_with("**") || !ends => {
                if !ends {
                    level.due = Due::Compared;
                }
                1 + usize::from(rest.starts_with("**"))
            }
            b'~' | b'+' | b'*' => {
                if ends {
                    level.due = if byte == b'*' { Due::Factor } else { Due::Join };
                }
                1
            }
            _ if is_comparison(rest) => {
                level.due = Due::Compared;
                1 + usize::from(rest[1..].starts_with('='))
            }
            b'=' if self.word == "set" && is_outside && self.is_field && !self.is_kept => {
                self.is_kept = true;
                // The sign is copied by the caller, what follows it is in parentheses.
                out.push_str("=(");
                self.at += 1;
                0
            }
            _ => {
                level.is_filtered |= byte == b'|';
                self.is_joint = matches!(byte, b'.' | b'|');
                self.is_field |= byte == b'.' && is_outside;
                1
            }
        }
    }

    /// Puts the filters that are due behind an operand that ended; `rest` is what follows it, nothing at the end of the tag.
    fn meter(&mut self, rest: &str, out: &mut String) {
        let is_outside = self.levels.len() == 1;
        let takes_none = is_outside && HEADS.contains(&self.word);
        let level = self.levels.last_mut().expect("the first stays");
        if std::mem::take(&mut level.is_open) {
            out.push(')');
        }
        let was = std::mem::replace(&mut level.due, Due::Nothing);
        let is_power = rest.starts_with("**");
        let is_times = rest.starts_with('*') && !is_power;
        let is_long = self.last == Last::Value;
        let is_join = rest.starts_with(['~', '+']) && is_long;
        let is_for_target = is_outside && self.is_target;
        let is_in = begins_with_word(rest, "in");
        let is_target = (rest.starts_with('=') && !rest.starts_with("==")) || (is_in && is_for_target);
        let is_compared = is_comparison(rest) || is_in || begins_with_word(rest, "not") || level.pays;
        let filter = match was {
            Due::Factor if is_power => Some(filters::POWER),
            Due::Factor if is_times => Some(filters::NEXT_FACTOR),
            Due::Factor => Some(filters::LAST_FACTOR),
            _ if !is_long || is_target => None,
            Due::Join => Some(filters::JOINED),
            _ if is_join || is_times => None,
            _ if is_compared => Some(filters::COMPARED),
            Due::Compared => Some(filters::COMPARED).filter(|_| !takes_none),
            Due::Searched => Some(filters::SEARCHED),
            Due::Iterated => Some(filters::ITERATED),
            Due::Made => Some(filters::MADE).filter(|_| !takes_none),
            Due::Nothing => None,
        };
        if let Some(filter) = filter {
            write(out, "|", filter);
        }
        if is_join && was != Due::Join {
            write(out, "|", filters::JOINED);
        }
        if is_times && was != Due::Factor {
            write(out, "|", filters::FACTOR);
        }
    }

    /// Opens the parentheses around what brackets take from, behind `begin`.
    fn open_parentheses(&mut self, begin: usize, out: &mut String) {
        if self.parentheses.is_empty() {
            return;
        }
        self.parentheses.sort_unstable();
        let written = out.split_off(begin);
        let mut done = begin;
        for &at in &self.parentheses {
            out.push_str(&written[done - begin..at - begin]);
            out.push('(');
            done = at;
        }
        out.push_str(&written[done - begin..]);
    }
}

fn is_comparison(text: &str) -> bool {
    ["==", "!=", "<", ">"].iter().any(|sign| text.starts_with(sign))
}

fn begins_with_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

/// Whether brackets hold a short text or a small number alone: what they take is near, whatever they take it from.
fn is_simple_key(brackets: &str) -> bool {
    let key = brackets[1..].trim_start();
    let n = match key.as_bytes().first() {
        Some(b'\'' | b'"') => text_bytes(key),
        Some(b'0'..=b'9') => key.find(|c: char| !c.is_ascii_digit()).filter(|&n| n <= 2).unwrap_or(key.len()),
        _ => return false,
    };
    n <= LITERAL_BYTES_MAX && key[n..].trim_start().starts_with(']')
}

fn after_word(word: &str, last: Last) -> Last {
    match (word, last) {
        ("is", _) | ("not", Last::Is) => Last::Is,
        (_, Last::Is) => Last::Other,
        (
            "if" | "else" | "elif" | "and" | "or" | "not" | "in" | "for" | "set" | "recursive" | "do"
            | "with" | "call" | "filter" | "macro",
            _,
        ) => Last::Other,
        _ => Last::Value,
    }
}

fn write(out: &mut String, before: &str, filter: &str) {
    out.push_str(before);
    out.push_str(filter);
    out.push(' ');
}

/// The length of the quoted text at the start.
fn text_bytes(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return i + 1,
            _ => {}
        }
    }
    text.len()
}
