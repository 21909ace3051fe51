//! Tax codes of persons in Italy.

use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "IT_FISCAL_CODE", word: "FISCALCODE", class: Class::Identity },
    about: "six letters of the name, date and place of birth and the right check letter; letters in place of digits too",
    source: "Decreto Ministeriale 12 marzo 1974, n. 2227",
    example: "codice fiscale ⟦RSSMRA85T10A562S⟧",
    near_misses: &["RSSMRA85T10A562T", "RSSMRA85Z10A562S"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    for span in words(page.text, |byte| byte.is_ascii_alphanumeric()) {
        if span.len() == 16
            && is_right(&page.bytes()[span.clone()])
            && !page.letter_before(span.start)
            && !page.letter_behind(span.end)
        {
            hits.push(span, Certainty::Certain);
        }
    }
}

fn is_right(word: &[u8]) -> bool {
    /// Values of 0 to 9, or A to J, in places counted from one that are odd; then of K to Z.
    const ODD: [u32; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    /// Of letters in the place of digits, which keep two codes apart that would be one.
    const DIGITS: &[u8] = b"LMNPQRSTUV";
    let mut sum = 0;
    for (i, byte) in word.iter().enumerate() {
        let byte = byte.to_ascii_uppercase();
        let is_letter = byte.is_ascii_alphabetic();
        let fits = match i {
            6 | 7 | 9 | 10 | 12..=14 => !is_letter || DIGITS.contains(&byte),
            8 => b"ABCDEHLMPRST".contains(&byte),
            _ => is_letter,
        };
        if !fits {
            return false;
        }
        let value = u32::from(if is_letter { byte - b'A' } else { byte - b'0' });
        sum += match i {
            15 => return value == sum % 26,
            i if i % 2 == 0 => ODD[value as usize],
            _ => value,
        };
    }
    false
}
