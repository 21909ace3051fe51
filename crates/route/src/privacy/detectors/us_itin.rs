//! Tax numbers of the United States for those who have no social security number.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "US_ITIN", word: "ITIN", class: Class::Identity },
    about: "3-2-4 digits that begin with 9 and whose fourth and fifth are in the ranges in use; nine in a row only beside a word",
    source: "Internal Revenue Manual 3.21.263",
    example: "my ITIN ⟦912-71-1234⟧",
    near_misses: &["912-49-1234", "812-71-1234", "912711234"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(9..=9, |n| {
        let in_use = matches!(n.value(3..5), 50..=65 | 70..=88 | 90..=92 | 94..=99);
        if n.digits[0] != 9 || !in_use || !n.is_whole() {
            return;
        }
        let said = page.said_before(n.span.start, &["itin", "tax", "taxpayer"]);
        match n.layout {
            "3-2-4" | "3 2 4" => {
                hits.push(n.span.clone(), if said { Certainty::Certain } else { Certainty::Likely });
            }
            "9" if said => hits.push(n.span.clone(), Certainty::Certain),
            _ => {}
        }
    });
}
