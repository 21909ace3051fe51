//! Numbers of persons in Norway.
//!
//! A date of birth, three digits and two check digits.

use super::checksum::weighted;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "NO_FODSELSNUMMER", word: "FODSELSNUMMER", class: Class::Identity },
    about: "eleven digits with a date and two right check digits, in groups of 6 5 or beside a word",
    source: "Forskrift om folkeregistrering, 2017",
    example: "fødselsnummer ⟦01010750160⟧",
    near_misses: &["fødselsnummer 01010750161", "01010750160"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(11..=11, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(
            n.span.start,
            &["fødselsnummer", "fodselsnummer", "fnr", "personnummer", "d-nummer", "national identity"],
        );
        match n.layout {
            "6 5" | "11" | "6-5" if said => hits.push(n.span.clone(), Certainty::Certain),
            "6 5" if n.alone => hits.push(n.span.clone(), Certainty::Likely),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    // Forty is added to the day of a D number.
    let (day, month) = ((digits[0] * 10 + digits[1]) % 40, digits[2] * 10 + digits[3]);
    (1..=31).contains(&day)
        && (1..=12).contains(&month)
        && weighted(digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]).is_multiple_of(11)
        && weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}
