//! Tax numbers of Australia.
//!
//! Nine digits with a sum that eleven divides.

use super::checksum::weighted;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "AU_TFN", word: "TFN", class: Class::Identity },
    about: "nine digits with a right check digit beside a word such as TFN",
    source: "Australian Taxation Office: tax file number declaration",
    example: "TFN ⟦123 456 782⟧",
    near_misses: &["TFN 123 456 783", "123 456 782"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(9..=9, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(n.span.start, &["tfn", "tax file", "ato"]);
        match n.layout {
            "3 3 3" | "9" | "3-3-3" if said => hits.push(n.span.clone(), Certainty::Certain),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    digits.iter().any(|digit| *digit != 0)
        && weighted(digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
}
