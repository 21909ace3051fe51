//! Numbers of patients in England, Wales and the Isle of Man.
//!
//! Ten digits of which the last is right by chance in one of eleven, written as telephone numbers are: so a word must say what it is.

use super::checksum::weighted;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "UK_NHS", word: "NHS", class: Class::Identity },
    about: "ten digits with a right check digit beside a word such as NHS",
    source: "NHS Data Dictionary: NHS number",
    example: "NHS number: ⟦943 476 5919⟧",
    near_misses: &["NHS number: 943 476 5918", "943 476 5919", "9434765919"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(10..=10, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(n.span.start, &["nhs", "patient", "health", "national health"]);
        match n.layout {
            "3 3 4" | "3-3-4" | "10" if said => hits.push(n.span.clone(), Certainty::Certain),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    let rest = weighted(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    u32::from(digits[9]) == (11 - rest) % 11
}
