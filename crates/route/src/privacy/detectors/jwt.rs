//! Signed tokens of JSON, which open what they name until they expire.

use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "JWT", word: "JWT", class: Class::Secret },
    about: "three parts of base64 between points (five if encrypted), the first of which begins with the braces of JSON",
    source: "RFC 7519, 7515, 7516",
    example: concat!(
        "Bearer ⟦eyJhbGciOiJIUzI1NiJ9.",
        "eyJzdWIiOiIxMjM0In0.",
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk⟧"
    ),
    near_misses: &["eyJhbGciOiJIUzI1NiJ9", "eye.to.eye", "eyJhbGciOiJIUzI1NiJ9.x.y"],
    find,
};

/// Bytes of the shortest that says anything.
const LEN_MIN: usize = 28;

fn find(page: &Page<'_>, hits: &mut Hits) {
    for span in words(page.text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
        if span.len() < LEN_MIN {
            continue;
        }
        // `{"` and what may follow: a name's first letter or a space.
        let word = page.text[span.clone()].trim_end_matches('.');
        let Some(start) = word.find("eyJ").or_else(|| word.find("eyA")) else { continue };
        let word = &word[start..];
        let mut parts = word.split('.');
        let long = parts.next().is_some_and(|head| head.len() >= 16)
            && parts.next().is_some_and(|body| body.len() >= 8);
        if long && matches!(parts.count(), 1 | 3) {
            hits.push(span.start + start..span.start + start + word.len(), Certainty::Certain);
        }
    }
}
