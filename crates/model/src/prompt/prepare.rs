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
}

/// Rewrites a template for minijinja: `{% generation %}` blocks become blocks that always apply, and what makes values grow
/// is metered: operands of `~`, `+` and `*`, what brackets make, what is set in a namespace. Also gives the length of the
/// longest stretch of plain text.
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
            kind => prepare_tag(tag, kind, &mut out),
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
    /// The end of a text or number in the source.
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
    /// It ended with a bracket.
    Made,
}

/// Heads of tags that take no filter, or only as part of what they are.
const HEADS: &[&str] =
    &["macro", "call", "filter", "block", "include", "extends", "import", "from", "do", "autoescape"];

/// Copies one `{{` or `{%` tag, rewritten; gives its length in `tag`.
fn prepare_tag(tag: &str, kind: u8, out: &mut String) -> usize {
    let close = if kind == b'{' { "}}" } else { "%}" };
    let bytes = tag.as_bytes();
    out.push_str(&tag[..2]);
    let mut at = 2;
    if matches!(bytes.get(2), Some(b'-' | b'+')) {
        out.push(char::from(bytes[2]));
        at = 3;
    }
    let word = if kind == b'%' { tag_word(tag) } else { "" };
    if let "generation" | "endgeneration" = word {
        out.push_str(if word == "generation" { " if true " } else { " endif " });
        at += tag[at..].find(word).map_or(0, |n| n + word.len());
    }
    let is_head = HEADS.contains(&word);
    let mut last = Last::Other;
    // One for each open bracket, and one around all.
    let mut dues = vec![Due::Nothing];
    // `{% set a.b = ... %}`: whether a dot was seen, and whether what is set was put in parentheses.
    let (mut is_field, mut is_kept) = (false, false);
    while let Some(&byte) = bytes.get(at) {
        let rest = &tag[at..];
        let depth = dues.len() - 1;
        let sign = usize::from(matches!(byte, b'-' | b'+'));
        let closes = depth == 0 && rest[sign..].starts_with(close);
        if !byte.is_ascii_whitespace() && matches!(last, Last::Value | Last::Literal) {
            let goes_on = matches!(byte, b'.' | b'[' | b'(' | b'|');
            let is_made_here = depth == 0 && is_head;
            if closes || !goes_on {
                meter(&mut dues[depth], last, if closes { "" } else { rest }, is_made_here, out);
            }
        }
        if closes {
            if is_kept {
                write(out, ")|", filters::KEPT);
            }
            out.push_str(&rest[..sign + 2]);
            return at + sign + 2;
        }
        // One token of the language, or a stretch of white space.
        let (n, next) = match byte {
            b'\'' | b'"' => (text_bytes(rest), Last::Literal),
            b'(' | b'[' | b'{' => {
                dues.push(Due::Nothing);
                (1, Last::Other)
            }
            b')' | b']' | b'}' => {
                if depth > 0 {
                    dues.pop();
                }
                let due = dues.last_mut().expect("the first stays");
                if *due == Due::Nothing {
                    *due = Due::Made;
                }
                (1, Last::Value)
            }
            b'0'..=b'9' => {
                (rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()), Last::Literal)
            }
            _ if byte.is_ascii_whitespace() => (1, last),
            _ if byte == b'_' || byte.is_ascii_alphabetic() || !byte.is_ascii() => {
                let n = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let n = n.max(rest.chars().next().map_or(1, char::len_utf8));
                (n, after_word(&rest[..n], last))
            }
            b'=' if rest.starts_with("==") => (2, Last::Other),
            b'=' if word == "set" && depth == 0 && is_field && !is_kept => {
                is_kept = true;
                out.push_str("=(");
                at += 1;
                last = Last::Other;
                continue;
            }
            b'*' if rest.starts_with("**") => (2, Last::Other),
            b'~' | b'+' | b'*' => {
                if matches!(last, Last::Value | Last::Literal) {
                    dues[depth] = if byte == b'*' { Due::Factor } else { Due::Join };
                }
                (1, Last::Other)
            }
            _ => {
                is_field |= byte == b'.' && depth == 0;
                (1, Last::Other)
            }
        };
        out.push_str(&rest[..n]);
        at += n;
        last = next;
    }
    at
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

/// Puts the filters that are due behind an operand that ended; `rest` is what follows it, nothing at the end of the tag.
fn meter(due: &mut Due, last: Last, rest: &str, takes_none: bool, out: &mut String) {
    let was = std::mem::replace(due, Due::Nothing);
    let is_power = rest.starts_with("**");
    let is_times = rest.starts_with('*') && !is_power;
    let is_join = rest.starts_with(['~', '+']) && last == Last::Value;
    let is_target = (rest.starts_with('=') && !rest.starts_with("=="))
        || rest
            .strip_prefix("in")
            .is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
    match was {
        Due::Factor if is_power => write(out, "|", filters::POWER),
        Due::Factor if is_times => write(out, "|", filters::NEXT_FACTOR),
        Due::Factor => write(out, "|", filters::LAST_FACTOR),
        Due::Join if last == Last::Value => write(out, "|", filters::JOINED),
        Due::Made if !is_join && !is_times && !is_target && !takes_none => write(out, "|", filters::MADE),
        _ => {}
    }
    if is_join && was != Due::Join {
        write(out, "|", filters::JOINED);
    }
    if is_times && was != Due::Factor {
        write(out, "|", filters::FACTOR);
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
