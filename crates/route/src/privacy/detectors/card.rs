//! Numbers of payment cards.
//!
//! A sequence of groups of digits of a length and with a beginning that a network gives out, and Luhn's check digit. One
//! random number in some sixty of 16 digits passes both, which nothing but the words around can tell. Numbers of 12 and 13
//! digits, of which few cards and all bar codes are, need such a word.

use super::checksum::luhn;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "CREDIT_CARD", word: "CARD", class: Class::Financial },
    about: "12 to 19 digits in groups, of a network's range, with Luhn's check digit; 12 and 13 only beside a word such as card",
    source: "ISO/IEC 7812-1; ranges as the networks publish them",
    example: "Charge ⟦4111 1111 1111 1111⟧ please.",
    near_misses: &[
        "Charge 4111 1111 1111 1112 please.",
        "order 9111111111111111",
        "pi is 3.4111111111111111",
        "id a4111111111111111",
        "EAN 4006381333931",
    ],
    find,
};

const CUES: &[&str] = &[
    "card",
    "cc",
    "credit",
    "debit",
    "visa",
    "mastercard",
    "maestro",
    "amex",
    "american express",
    "discover",
    "diners",
    "jcb",
    "payment",
    "pan",
    "kredit",
    "karte",
    "ec-karte",
    "carte",
    "tarjeta",
    "carta",
    "cartão",
    "kort",
    "kaart",
    "karta",
];

fn find(page: &Page<'_>, hits: &mut Hits) {
    page.numbers(12..=19, |n| {
        // Behind a point a fraction goes on.
        if n.tied_before == b'.' || n.tied_behind == b'.' || !is_layout(n.layout) {
            return;
        }
        if !in_range(n.digits) || !luhn(n.digits) {
            return;
        }
        let said = page.said_before(n.span.start, CUES);
        if n.digits.len() >= 14 || said {
            hits.push(n.span.clone(), if said { Certainty::Certain } else { Certainty::Likely });
        }
    });
}

/// Groups of three at least, but for the last, by one sort of gap.
fn is_layout(layout: &str) -> bool {
    let mut gaps = layout.bytes().filter(|byte| !byte.is_ascii_digit());
    let Some(first) = gaps.next() else { return true };
    if first == b'/' || first == b'(' || gaps.any(|gap| gap != first) {
        return false;
    }
    let mut lens = layout.split(char::from(first)).rev();
    lens.next().is_some_and(|last| last != "0") && lens.all(|len| !matches!(len, "1" | "2"))
}

/// Whether a network gives out such numbers.
fn in_range(digits: &[u8]) -> bool {
    let start = digits[..6].iter().fold(0, |value, digit| value * 10 + u32::from(*digit));
    let len = digits.len();
    match start {
        // Visa; 13 digits are of old.
        400_000..=499_999 => matches!(len, 13 | 16 | 18 | 19),
        // Mastercard.
        510_000..=559_999 | 222_100..=272_099 => len == 16,
        // American Express.
        340_000..=349_999 | 370_000..=379_999 => len == 15,
        // Diners Club; those of 16 digits and more are Discover's.
        300_000..=305_999 | 309_500..=309_599 | 360_000..=369_999 | 380_000..=399_999 => {
            matches!(len, 14 | 16..=19)
        }
        // JCB, of old with 15 digits.
        352_800..=358_999 => (16..=19).contains(&len),
        350_000..=352_799 | 359_000..=359_999 => len == 16,
        180_000..=180_099 | 213_100..=213_199 => len == 15,
        // Discover, UnionPay, RuPay, Mir, Verve, Troy.
        601_100..=601_199 | 644_000..=659_999 => (16..=19).contains(&len),
        620_000..=629_999 | 810_000..=817_199 => (16..=19).contains(&len),
        220_000..=220_499 => (16..=19).contains(&len),
        506_099..=506_198 | 507_865..=507_964 => matches!(len, 16 | 18 | 19),
        606_985..=607_984 | 608_001..=608_500 => len == 16,
        // Maestro and cards of single countries.
        500_000..=509_999 | 560_000..=589_999 | 600_000..=699_999 => (12..=19).contains(&len),
        _ => false,
    }
}
