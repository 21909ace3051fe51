//! Addresses of mail.
//!
//! From each `@` (or `%40`, as addresses of pages write it) to the left over what a mailbox is named with and to the right
//! over labels of a domain, letters of every script in both. Also `name [at] domain [dot] org`, in brackets of any sort.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "EMAIL_ADDRESS", word: "EMAIL", class: Class::Contact },
    about: "name@domain with a dot, in letters of any script; name [at] domain [dot] org in brackets",
    source: "RFC 5321 and 6531, without quoted names",
    example: "Write to ⟦jo.o'neil+x@mail.example.org⟧.",
    near_misses: &["@someone", "left-pad@1.3.0", "a @ b.org", "x@y", "name@.org"],
    find,
};

/// Bytes of a name, and of a domain: the standard has 64 and 255, in other scripts a character takes more.
const NAME_MAX: usize = 128;
const DOMAIN_MAX: usize = 255;

fn find(page: &Page<'_>, hits: &mut Hits) {
    let bytes = page.bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let len = match byte {
            b'@' => 1,
            b'%' if bytes[at..].starts_with(b"%40") => 3,
            b'(' | b'[' | b'{' | b'<' => {
                if let Some(span) = spoken(page.text, at) {
                    hits.push(span, Certainty::Likely);
                }
                continue;
            }
            _ => continue,
        };
        let start = name_start(page.text, at);
        let end = domain_end(&page.text[at + len..]).map(|end| at + len + end);
        if let Some(end) = end.filter(|_| start < at) {
            hits.push(start..end, Certainty::Certain);
        }
    }
}

/// Where the name begins that ends here.
fn name_start(text: &str, end: usize) -> usize {
    let mut start = end;
    for (at, char) in text[..end].char_indices().rev() {
        let fits = char.is_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(char);
        if !fits || end - at > NAME_MAX {
            break;
        }
        start = at;
    }
    // Quotes, dots and what stands before a name in queries and code belong to the text around.
    let name = &text[start..end];
    let cut = name.rfind(['=', '&', '?', '/', '|', '{', '}', '`', '*']).map_or(0, |at| at + 1);
    let name = &name[cut..];
    end - name.trim_start_matches(|char: char| !char.is_alphanumeric() && char != '_').len()
}

/// How long the domain is that begins here: labels between dots, the last of letters.
fn domain_end(text: &str) -> Option<usize> {
    let mut end = None;
    let (mut label, mut letters) = (0, true);
    let mut dots = 0;
    for (at, char) in text.char_indices().take_while(|(at, _)| *at <= DOMAIN_MAX) {
        if char.is_alphanumeric() {
            letters &= char.is_alphabetic() || char == '-';
            // Punycode of a name in another script may have digits.
            if dots > 0 && at + char.len_utf8() - label >= 2 && (letters || is_punycode(&text[label..])) {
                end = Some(at + char.len_utf8());
            } else if dots > 0 && !letters {
                // The last label has a digit, so it is none; the one before it may have been.
                end = end.filter(|end| *end < label);
            }
        } else if char == '.' && at > label {
            dots += 1;
            (label, letters) = (at + 1, true);
        } else if !(char == '-' && at > label) {
            break;
        }
    }
    end
}

fn is_punycode(label: &str) -> bool {
    label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
}

/// `name [at] domain [dot] org`, whose bracket before "at" is here.
fn spoken(text: &str, at: usize) -> Option<std::ops::Range<usize>> {
    let after = bracketed(&text[at..], "at")?;
    let name = text[..at].trim_end_matches(' ');
    if at - name.len() > 2 {
        return None;
    }
    let start = name_start(text, name.len());
    let mut end = at + after;
    let mut dots = 0;
    // Labels of a domain are at most 63 bytes, and there are few.
    for _ in 0..8 {
        let rest = text.get(end..)?;
        let space = rest.len() - rest.trim_start_matches(' ').len();
        let label: usize = rest[space..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '-')
            .take(63)
            .map(char::len_utf8)
            .sum();
        if space > 2 || label == 0 {
            return None;
        }
        end += space + label;
        let rest = &text[end..];
        let space = (rest.len() - rest.trim_start_matches(' ').len()).min(2);
        if let Some(dot) = bracketed(&rest[space..], "dot") {
            end += space + dot;
        } else if rest.starts_with('.') && rest[1..].starts_with(char::is_alphanumeric) {
            end += 1;
        } else {
            break;
        }
        dots += 1;
    }
    (dots > 0 && start < name.len()).then_some(start..end)
}

/// The length of this word in brackets, spaces within allowed.
fn bracketed(text: &str, word: &str) -> Option<usize> {
    let inner = text.strip_prefix(['(', '[', '{', '<'])?;
    let close =
        inner.bytes().take(word.len() + 4).position(|byte| matches!(byte, b')' | b']' | b'}' | b'>'))?;
    inner[..close].trim().eq_ignore_ascii_case(word).then_some(close + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_end_where_they_end() {
        for (text, address) in [
            ("<a.b@c.de>, and", "a.b@c.de"),
            ("mailto:joe@ex-am.ple.co.uk?subject=hi", "joe@ex-am.ple.co.uk"),
            ("see https://x.org/?mail=jo@x.org&b=c", "jo@x.org"),
            ("u=jo%40x.org&b", "jo%40x.org"),
            ("'jo@x.org'.", "jo@x.org"),
            ("**jo@x.org**", "jo@x.org"),
            ("jo@x.org...", "jo@x.org"),
            ("jo@x.org.2", "jo@x.org"),
            ("иван@пример.рф!", "иван@пример.рф"),
            ("jo＠x．org", "jo＠x．org"),
            ("j\u{200b}o@x.org", "j\u{200b}o@x.org"),
            ("jo at jo [at] x (dot) org now", "jo [at] x (dot) org"),
            ("jo{at}x.y.org", "jo{at}x.y.org"),
            ("a@b.xn--p1ai", "a@b.xn--p1ai"),
        ] {
            let found = DETECTOR.find(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(&text[found[0].span.clone()], address);
        }
    }
}
