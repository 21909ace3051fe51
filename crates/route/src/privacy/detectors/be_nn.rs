//! Numbers of the national register of Belgium.
//!
//! A date of birth, a number of the day and two check digits; for those born since 2000 a 2 is put before when the check digits are made.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "BE_NN", word: "REGISTER", class: Class::Identity },
    about: "eleven digits with a date and right check digits, as 85.07.30-033.28 or beside a word",
    source: "Royal decree of 3 April 1984: the identification number of the national register",
    example: "⟦85.07.30-033.28⟧",
    near_misses: &["85.07.30-033.29", "85073003328", "85.17.30-033.28"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(11..=11, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(
            n.span.start,
            &[
                "rijksregister",
                "registre national",
                "national register",
                "nationalregister",
                "insz",
                "niss",
                "nn",
            ],
        );
        match n.layout {
            "2.2.2-3.2" | "11" | "2 2 2 3 2" | "6 3 2" | "6-3-2" | "2.2.2 3 2" | "6-3.2" if said => {
                hits.push(n.span.clone(), Certainty::Certain);
            }
            "2.2.2-3.2" => hits.push(n.span.clone(), Certainty::Certain),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    let number = digits[..9].iter().fold(0, |value, digit| value * 10 + u64::from(*digit));
    let check = u64::from(digits[9]) * 10 + u64::from(digits[10]);
    // Months of 20 and 40 more are of those whose sex is not known.
    let month = (digits[2] * 10 + digits[3]) % 20;
    let day = digits[4] * 10 + digits[5];
    month <= 12
        && day <= 31
        && [number, number + 2_000_000_000].iter().any(|number| 97 - number % 97 == check)
}
