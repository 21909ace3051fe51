//! Numbers of persons in Turkey.
//!
//! Eleven digits, the last two of them sums of the others.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "TR_ID", word: "KIMLIK", class: Class::Identity },
    about: "eleven digits with two right check digits beside a word such as kimlik",
    source: "Law on population services 5490",
    example: "T.C. kimlik no: ⟦10000000146⟧",
    near_misses: &["kimlik no: 10000000145", "10000000146"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(11..=11, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(n.span.start, &["kimlik", "tc", "t.c", "tckn"]);
        match n.layout {
            "11" if said => hits.push(n.span.clone(), Certainty::Certain),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    let sum = |digits: &mut dyn Iterator<Item = &u8>| digits.map(|digit| u32::from(*digit)).sum::<u32>();
    let odd = sum(&mut digits[..9].iter().step_by(2));
    let even = sum(&mut digits[1..8].iter().step_by(2));
    digits[0] != 0
        && (odd * 7 + 100 - even) % 10 == u32::from(digits[9])
        && sum(&mut digits[..10].iter()) % 10 == u32::from(digits[10])
}
