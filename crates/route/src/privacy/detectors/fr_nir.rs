//! Numbers of the social security of France.
//!
//! Sex, year and month of birth, place, a number and two check digits. Those born in Corsica since 1976 have a letter in the
//! place's number, which is not read.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "FR_NIR", word: "NIR", class: Class::Identity },
    about: "13 digits that say sex, month and place of birth, and right check digits; the place not in Corsica",
    source: "INSEE: numéro d'inscription au répertoire",
    example: "⟦2 55 08 14 168 025 38⟧",
    near_misses: &["2 55 08 14 168 025 39", "9 55 08 14 168 025 38"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(15..=15, |n| {
        let month = n.value(3..5);
        let known = matches!(n.digits[0], 1..=4 | 7 | 8) && matches!(month, 1..=12 | 20..=42 | 50..=99);
        if known && n.is_whole() && 97 - n.value(0..13) % 97 == n.value(13..15) {
            hits.push(n.span.clone(), Certainty::Certain);
        }
    });
}
