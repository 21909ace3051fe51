//! Numbers of persons in Sweden.
//!
//! A date of birth, four digits behind a hyphen of which the last is a check digit. A plus stands for the hyphen of those older than a hundred years, which is not read.

use super::checksum::{is_day, luhn};
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "SE_PERSONNUMMER", word: "PERSONNUMMER", class: Class::Identity },
    about: "six digits of a date, a hyphen and four with a right check digit; without the hyphen only beside a word",
    source: "Skatteverket: SKV 704",
    example: "personnummer ⟦811228-9874⟧",
    near_misses: &["811228-9875", "8112289874", "811328-9874"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(10..=10, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(
            n.span.start,
            &["personnummer", "pnr", "samordningsnummer", "personal identity", "swedish"],
        );
        match n.layout {
            "6-4" | "10" if said => hits.push(n.span.clone(), Certainty::Certain),
            "6-4" => hits.push(n.span.clone(), Certainty::Likely),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    let (month, day) = (u64::from(digits[2] * 10 + digits[3]), u64::from(digits[4] * 10 + digits[5]));
    // Sixty is added to the day in numbers of those who only visit.
    is_day(month, day % 60) && luhn(digits)
}
