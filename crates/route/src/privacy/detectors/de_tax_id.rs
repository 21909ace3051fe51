//! Tax numbers of persons in Germany.
//!
//! Eleven digits, the last a check digit; of the first ten one stands there twice or three times, which one random number in twelve has.

use super::checksum::mod_11_10;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "DE_TAX_ID", word: "TAXID", class: Class::Identity },
    about: "eleven digits with a right check digit and one digit repeated, in groups of 2 3 3 3 or beside a word such as Steuer",
    source: "Bundeszentralamt für Steuern: identification number; ISO/IEC 7064 MOD 11,10",
    example: "Steuer-ID ⟦86 095 742 719⟧",
    near_misses: &["Steuer-ID 86 095 742 718", "86095742719", "Steuer-ID 01234567890"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(11..=11, |n| {
        if !n.is_whole() || !is_right(n.digits) {
            return;
        }
        let said = page
            .said_before(n.span.start, &["steuer", "idnr", "id-nr", "tin", "tax", "identifikationsnummer"]);
        match n.layout {
            "2 3 3 3" | "11" | "2-3-3-3" | "2/3/3/3" | "2.3.3.3" if said => {
                hits.push(n.span.clone(), Certainty::Certain);
            }
            "2 3 3 3" if n.alone => hits.push(n.span.clone(), Certainty::Likely),
            _ => {}
        }
    });
}

fn is_right(digits: &[u8]) -> bool {
    let mut counts = [0; 10];
    for digit in &digits[..10] {
        counts[usize::from(*digit)] += 1;
    }
    let repeated = counts.iter().filter(|count| **count > 1).count();
    digits[0] != 0 && repeated == 1 && counts.iter().all(|count| *count <= 3) && mod_11_10(digits)
}
