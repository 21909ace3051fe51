//! Numbers of the national insurance of the United Kingdom.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "UK_NINO", word: "NINO", class: Class::Identity },
    about: "two letters in use, six digits and a letter from A to D; pairs may stand apart",
    source: "HMRC manual NIM39110",
    example: "NI number ⟦AB 12 34 56 C⟧.",
    near_misses: &["DB 12 34 56 C", "GB 12 34 56 C", "AB 12 34 56 E", "AB 12 34 56 CD", "xAB123456C"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    let bytes = page.bytes();
    for group in &page.groups {
        let apart = usize::from(group.start > 0 && bytes[group.start - 1] == b' ');
        let Some(start) = group.start.checked_sub(2 + apart) else { continue };
        if !is_prefix(bytes[start], bytes[start + 1]) || page.letter_before(start) {
            continue;
        }
        if let Some(len) = rest(&bytes[group.start..])
            && !page.letter_behind(group.start + len)
        {
            hits.push(start..group.start + len, Certainty::Likely);
        }
    }
}

fn is_prefix(a: u8, b: u8) -> bool {
    let (a, b) = (a.to_ascii_uppercase(), b.to_ascii_uppercase());
    let letters = a.is_ascii_uppercase() && b.is_ascii_uppercase();
    let given = !b"DFIQUV".contains(&a) && !b"DFIOQUV".contains(&b);
    letters && given && !matches!(&[a, b], b"BG" | b"GB" | b"NK" | b"KN" | b"TN" | b"NT" | b"ZZ")
}

/// How many bytes the digits and the last letter take.
fn rest(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for i in 0..7 {
        if i % 2 == 0 && i > 0 && bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        let byte = bytes.get(at)?;
        let fits =
            if i < 6 { byte.is_ascii_digit() } else { matches!(byte.to_ascii_uppercase(), b'A'..=b'D') };
        if !fits {
            return None;
        }
        at += 1;
    }
    Some(at)
}
