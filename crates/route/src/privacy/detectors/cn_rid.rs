//! Numbers of residents of China.

use super::checksum::is_day;
use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "CN_RID", word: "RESIDENTID", class: Class::Identity },
    about: "a place, a date of birth, three digits and a right check digit or X: 18 in a row",
    source: "GB 11643-1999; ISO/IEC 7064 MOD 11-2",
    example: "身份证号⟦11010519491231002X⟧。",
    near_misses: &["110105194912310021", "11010519491331002X"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    for span in words(page.text, |byte| byte.is_ascii_alphanumeric()) {
        if span.len() == 18 && is_right(&page.bytes()[span.clone()]) {
            hits.push(span, Certainty::Certain);
        }
    }
}

fn is_right(word: &[u8]) -> bool {
    let Some((last, digits)) = word.split_last() else { return false };
    if !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let number = |from: usize, to: usize| {
        digits[from..to].iter().fold(0, |value, byte| value * 10 + u64::from(byte - b'0'))
    };
    let sum = digits.iter().fold(0, |sum, byte| (sum + u32::from(byte - b'0')) * 2 % 11);
    let check = match (12 - sum) % 11 {
        10 => b'X',
        value => b'0' + value as u8,
    };
    (1800..2100).contains(&number(6, 10))
        && is_day(number(10, 12), number(12, 14))
        && check == last.to_ascii_uppercase()
}
