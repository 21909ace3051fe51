//! Numbers of citizens in the Netherlands.
//!
//! Nine digits (of old eight) with a sum that eleven divides.

use super::checksum::weighted;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "NL_BSN", word: "BSN", class: Class::Identity },
    about: "nine digits with a right check digit beside a word such as BSN",
    source: "Logisch Ontwerp BSN: the test of eleven",
    example: "mijn BSN is ⟦111222333⟧",
    near_misses: &["mijn BSN is 111222334", "111222333", "BSN 000000000"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(9..=9, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(n.span.start, &["bsn", "burgerservice", "sofi", "citizen service"]);
        match n.layout {
            "9" | "4.2.3" | "3 3 3" | "3-3-3" | "4 2 3" | "3.3.3" if said => {
                hits.push(n.span.clone(), Certainty::Certain);
            }
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    let sum = weighted(&digits[..8], &[9, 8, 7, 6, 5, 4, 3, 2]) + 10 * u32::from(digits[8]);
    // The last digit counts minus one, which is ten modulo eleven.
    digits.iter().any(|digit| *digit != 0) && sum.is_multiple_of(11)
}
