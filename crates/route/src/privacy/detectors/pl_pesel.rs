//! Numbers of persons in Poland.
//!
//! A date of birth whose month tells the century, a number of the day and a check digit.

use super::checksum::{is_day, weighted};
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "PL_PESEL", word: "PESEL", class: Class::Identity },
    about: "eleven digits with a date and a right check digit beside a word such as PESEL",
    source: "Act on the population register of 24 September 2010",
    example: "PESEL: ⟦44051401359⟧",
    near_misses: &["PESEL: 44051401358", "44051401359", "PESEL 44131401359"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(11..=11, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said =
            page.said_before(n.span.start, &["pesel", "numer ewidencyjny", "personal number", "identity"]);
        match n.layout {
            "11" | "6 5" | "6-5" if said => hits.push(n.span.clone(), Certainty::Certain),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    let (month, day) = (u64::from(digits[2] * 10 + digits[3]) % 20, u64::from(digits[4] * 10 + digits[5]));
    let sum = weighted(&digits[..10], &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]);
    is_day(month, day) && (10 - sum % 10) % 10 == u32::from(digits[10])
}
