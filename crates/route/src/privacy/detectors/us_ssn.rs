//! Numbers of the social security of the United States.
//!
//! There is no check digit, only numbers that are never given out. Three, two and four digits with hyphens or spaces are
//! one; nine digits in a row, or with points, need a word that says so.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "US_SSN", word: "SSN", class: Class::Identity },
    about: "3-2-4 digits in ranges that are given out; nine in a row or with points only beside a word such as SSN",
    source: "Social Security Administration: Social Security Number Randomization, 2011",
    example: "mine is ⟦054-28-6917⟧, keep it",
    near_misses: &[
        "000-28-6917",
        "666-28-6917",
        "954-28-6917",
        "054-00-6917",
        "054-28-0000",
        "054286917",
        "1-054-28-6917",
        "054-28-6917-2",
    ],
    find,
};

const CUES: &[&str] = &[
    "ssn",
    "ss#",
    "ss #",
    "social sec",
    "social-sec",
    "social is",
    "social number",
    "social #",
    "social:",
    "soc sec",
    "tax id",
    "taxpayer",
];

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(9..=9, |n| {
        let plain = matches!(n.layout, "3-2-4" | "3 2 4");
        if !(plain || matches!(n.layout, "9" | "3.2.4" | "3/2/4")) || !n.is_whole() || !is_given_out(n.digits)
        {
            return;
        }
        let said = page.said_before(n.span.start, CUES);
        if plain || said {
            hits.push(n.span.clone(), if said { Certainty::Certain } else { Certainty::Likely });
        }
    });
}

fn is_given_out(digits: &[u8]) -> bool {
    digits[0] != 9
        && !matches!(digits[..3], [0, 0, 0] | [6, 6, 6])
        && digits[3..5] != [0, 0]
        && digits[5..] != [0; 4]
}
