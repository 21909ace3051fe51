//! Numbers of the social insurance of Switzerland.
//!
//! Thirteen digits that begin with 756, the last made as that of bar codes.

use super::checksum::weighted;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "CH_AHV", word: "AHV", class: Class::Identity },
    about: "756 and ten digits of which the last is a right check digit, as 756.9217.0769.85 or beside a word",
    source: "Bundesamt für Sozialversicherungen: AHV number; EAN-13",
    example: "⟦756.9217.0769.85⟧",
    near_misses: &["756.9217.0769.86", "7569217076985", "755.9217.0769.85"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(13..=13, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page
            .said_before(n.span.start, &["ahv", "avs", "sozialversicherung", "assurance sociale", "social"]);
        match n.layout {
            "3.4.4.2" | "13" | "3 4 4 2" | "3-4-4-2" if said => hits.push(n.span.clone(), Certainty::Certain),
            "3.4.4.2" => hits.push(n.span.clone(), Certainty::Certain),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    digits.starts_with(&[7, 5, 6])
        && weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}
