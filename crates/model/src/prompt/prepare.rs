//! The rewriting of a template before minijinja compiles it: one scan over its tags, which leaves all else as it is.

/// The filter that [`prepare`] puts before joins.
pub const METERED: &str = "ingle_metered";

/// Rewrites a template for minijinja: `{% generation %}` blocks become blocks that always apply, and the left side of each
/// `~` and `+` is metered. Also gives the length of the longest stretch of plain text.
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
    /// Something that a filter can follow and that may be long.
    Value,
    /// The name of a test is next.
    Is,
    /// Anything else: operators, keywords, literals, test names.
    Other,
}

/// Copies one `{{` or `{%` tag, rewritten; gives its length in `tag`.
fn prepare_tag(tag: &str, kind: u8, out: &mut String) -> usize {
    let close = if kind == b'{' { "}}" } else { "%}" };
    let bytes = tag.as_bytes();
    out.push_str(&tag[..2]);
    let (mut at, mut depth, mut last) = (2, 0usize, Last::Other);
    if matches!(bytes.get(2), Some(b'-' | b'+')) {
        out.push(char::from(bytes[2]));
        at = 3;
    }
    if kind == b'%'
        && let word @ ("generation" | "endgeneration") = tag_word(tag)
    {
        out.push_str(if word == "generation" { " if true " } else { " endif " });
        at += tag[at..].find(word).map_or(0, |n| n + word.len());
    }
    while let Some(&byte) = bytes.get(at) {
        let rest = &tag[at..];
        if depth == 0 && rest.starts_with(close) {
            out.push_str(close);
            return at + 2;
        }
        // One token of the language, or a stretch of white space.
        let (n, next) = match byte {
            b'\'' | b'"' => (text_bytes(rest), Last::Other),
            b'(' | b'[' | b'{' => {
                depth += 1;
                (1, Last::Other)
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                (1, Last::Value)
            }
            b'0'..=b'9' => {
                (rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()), Last::Other)
            }
            _ if byte.is_ascii_whitespace() => (1, last),
            _ if byte == b'_' || byte.is_ascii_alphabetic() || !byte.is_ascii() => {
                let n = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let n = n.max(rest.chars().next().map_or(1, char::len_utf8));
                let next = match (&rest[..n], last) {
                    ("is", _) | ("not", Last::Is) => Last::Is,
                    (_, Last::Is) => Last::Other,
                    (
                        "if" | "else" | "elif" | "and" | "or" | "not" | "in" | "for" | "set" | "recursive"
                        | "do" | "with" | "call" | "filter" | "macro",
                        _,
                    ) => Last::Other,
                    _ => Last::Value,
                };
                (n, next)
            }
            b'~' | b'+' => {
                let ends_tag = byte == b'+' && rest[1..].starts_with(close);
                if last == Last::Value && !ends_tag {
                    out.push('|');
                    out.push_str(METERED);
                    out.push(' ');
                }
                (1, Last::Other)
            }
            _ => (1, Last::Other),
        };
        out.push_str(&rest[..n]);
        at += n;
        last = next;
    }
    at
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
