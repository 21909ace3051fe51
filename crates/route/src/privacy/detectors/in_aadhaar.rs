//! Numbers of residents of India.
//!
//! Twelve digits of which the last is a check digit by Verhoeff; the first is neither 0 nor 1.

use super::checksum::verhoeff;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "IN_AADHAAR", word: "AADHAAR", class: Class::Identity },
    about: "twelve digits with a right check digit, in groups of four or beside a word such as Aadhaar",
    source: "UIDAI: A UID Numbering Scheme, 2010",
    example: "⟦2341 2341 2346⟧",
    near_misses: &["2341 2341 2347", "234123412346", "1341 2341 2346"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(12..=12, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(n.span.start, &["aadhaar", "aadhar", "adhaar", "uid", "आधार"]);
        match n.layout {
            "4 4 4" | "12" | "4-4-4" if said => hits.push(n.span.clone(), Certainty::Certain),
            "4 4 4" if n.alone => hits.push(n.span.clone(), Certainty::Likely),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    digits[0] >= 2 && verhoeff(digits)
}
