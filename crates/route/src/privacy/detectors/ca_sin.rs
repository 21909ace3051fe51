//! Numbers of the social insurance of Canada.
//!
//! Nine digits of which the last is by Luhn; none begins with 8, and those with 0 are not given to persons.

use super::checksum::luhn;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "CA_SIN", word: "SIN", class: Class::Identity },
    about: "nine digits with a right check digit in groups of three; in a row only beside a word such as SIN",
    source: "Service Canada: Social Insurance Number code of practice",
    example: "my SIN: ⟦130 692 544⟧",
    near_misses: &["130 692 545", "130692544", "830 692 544"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(9..=9, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page.said_before(n.span.start, &["sin", "social insurance", "nas", "assurance sociale"]);
        match n.layout {
            "3 3 3" | "3-3-3" | "9" | "3.3.3" if said => hits.push(n.span.clone(), Certainty::Certain),
            "3-3-3" => hits.push(n.span.clone(), Certainty::Possible),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    !matches!(digits[0], 0 | 8) && luhn(digits)
}
