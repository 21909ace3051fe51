//! Numbers of persons in Spain: the DNI of citizens and the NIE of foreigners.

use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "ES_NIF", word: "NIF", class: Class::Identity },
    about: "eight digits, or X, Y or Z and seven, and the letter that follows from them; hyphens and points may stand between",
    source: "Real Decreto 1553/2005; Real Decreto 557/2011",
    example: "DNI ⟦12345678Z⟧",
    near_misses: &["DNI 12345678A", "X1234567A"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    for span in words(page.text, |byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.') {
        if !(9..=12).contains(&span.len()) || page.letter_before(span.start) || page.letter_behind(span.end) {
            continue;
        }
        let mut word = [0; 9];
        let mut n = 0;
        for byte in page.bytes()[span.clone()].iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            if let Some(place) = word.get_mut(n) {
                *place = byte.to_ascii_uppercase();
            }
            n += 1;
        }
        let ends_well = page.bytes()[span.end - 1].is_ascii_alphanumeric();
        if n == 9 && ends_well && is_right(&word) {
            hits.push(span, Certainty::Certain);
        }
    }
}

fn is_right(word: &[u8; 9]) -> bool {
    const LETTERS: &[u8] = b"TRWAGMYFPDXBNJZSQVHLCKE";
    let first = match word[0] {
        b'X'..=b'Z' => word[0] - b'X',
        digit => digit.wrapping_sub(b'0'),
    };
    let digits = word[1..8].iter().map(|byte| byte.wrapping_sub(b'0'));
    let value = digits.clone().fold(usize::from(first), |value, digit| value * 10 + usize::from(digit));
    first < 10 && digits.into_iter().all(|digit| digit < 10) && word[8] == LETTERS[value % 23]
}
