//! Addresses of machines on the internet, of both versions.

use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "IP_ADDRESS", word: "IP", class: Class::Network },
    about: "four numbers below 256 between points; groups of up to four hexadecimal digits between colons, in ranges that are given out",
    source: "RFC 791, RFC 4291, RFC 5952",
    example: "from ⟦86.121.97.248⟧:8080",
    near_misses: &[
        "1.2.3.256",
        "1.2.3",
        "1.2.3.4.5",
        "v1.2.3.4x",
        "12:34:56",
        "std::vec::Vec",
        "a::b",
        "fe::add",
    ],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    let mut found = Vec::new();
    page.numbers(4..=12, |n| {
        let mut lens = n.layout.split('.');
        let quad = n.layout.bytes().filter(|byte| *byte == b'.').count() == 3
            && lens.all(|len| matches!(len, "1" | "2" | "3"));
        let spaced = page.text[n.span.clone()].contains(' ');
        if !quad || spaced || n.tied_before == b'.' || n.tied_behind == b'.' {
            return;
        }
        let parts = page.text[n.span.clone()].split('.');
        if parts.clone().all(|part| part.parse::<u8>().is_ok()) {
            let own = n.digits[0] == 0 || page.text[n.span.clone()].starts_with("127.");
            let version =
                page.said_before(n.span.start, &["version", "ver.", "release", "section", "§", "chapter"]);
            let sure = match own || version {
                true => Certainty::Possible,
                false if page.said_before(n.span.start, &["ip", "address", "host", "server", "client"]) => {
                    Certainty::Certain
                }
                false => Certainty::Likely,
            };
            found.push((n.span.clone(), sure));
        }
    });
    for span in words(page.text, |byte| byte.is_ascii_alphanumeric() || byte == b':' || byte == b'.') {
        // At least two colons and at most eight groups, the last of them maybe of the other version.
        if !(3..=64).contains(&span.len()) {
            continue;
        }
        let word = page.text[span.clone()].trim_end_matches(['.', ':']);
        if is_six(word) && !page.letter_before(span.start) {
            found.push((span.start..span.start + word.len(), Certainty::Likely));
        }
    }
    found.sort_by_key(|(span, _)| span.start);
    for (span, sure) in found {
        hits.push(span, sure);
    }
}

fn is_six(word: &str) -> bool {
    if word.bytes().filter(|byte| *byte == b':').count() < 2 {
        return false;
    }
    let (left, right) = match word.split_once("::") {
        Some((_, right)) if right.contains("::") => return false,
        Some((left, right)) => (left, Some(right)),
        None => (word, None),
    };
    let count = |part: &str| -> Option<usize> {
        if part.is_empty() {
            return Some(0);
        }
        part.split(':').try_fold(0, |n, group| {
            let hex = (1..=4).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_hexdigit());
            let four =
                group.split('.').count() == 4 && group.split('.').all(|part| part.parse::<u8>().is_ok());
            (hex || four).then_some(n + 1 + usize::from(four && !hex))
        })
    };
    let Some(n_left) = count(left) else { return false };
    let n = match right {
        None => return n_left == 8,
        Some(right) => match count(right) {
            Some(n_right) => n_left + n_right,
            None => return false,
        },
    };
    // What is left out leaves words of other languages with colons: the first group must be of a range in use.
    let first = left.split(':').next().unwrap_or_default();
    let given_out = first.len() == 4
        && matches!(
            u16::from_str_radix(first, 16),
            Ok(0x2000..=0x3fff | 0xfc00..=0xfdff | 0xfe80..=0xfebf | 0xff00..)
        );
    n < 8
        && (given_out
            || (left.is_empty() && word.len() > 4 && word.bytes().any(|byte| byte.is_ascii_digit())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_version_six_are_found() {
        for address in [
            "2001:db8::8a2e:370:7334",
            "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
            "fe80::1",
            "::ffff:192.0.2.128",
            "2a00:1450:4001:81b::200e",
        ] {
            let text = format!("at [{address}]:80.");
            let found = DETECTOR.find(&text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(&text[found[0].span.clone()], address);
        }
    }
}
