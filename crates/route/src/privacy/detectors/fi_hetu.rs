//! Numbers of persons in Finland.

use super::checksum::is_day;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "FI_HETU", word: "HETU", class: Class::Identity },
    about: "a date of birth, a sign of the century, three digits and the right check letter or digit",
    source: "Decree 128/2010; Act 661/2009 with the signs added in 2023",
    example: "hetu ⟦131052-308T⟧",
    near_misses: &["hetu 131052-308U", "131352-308T", "131052=308T"],
    find,
};

fn find(page: &Page<'_>, hits: &mut Hits) {
    const CHECKS: &[u8] = b"0123456789ABCDEFHJKLMNPRSTUVWXY";
    for group in page.groups.iter().filter(|group| group.end - group.start == 6) {
        let Some(word) = page.bytes().get(group.start..group.start + 11) else { continue };
        let number = word[..6].iter().chain(&word[7..10]);
        let fits = matches!(word[6], b'+' | b'-' | b'A'..=b'F' | b'U'..=b'Y')
            && word[7..10].iter().all(u8::is_ascii_digit)
            && is_day(two(&word[2..4]), two(&word[..2]));
        let value = number.fold(0, |value, byte| value * 10 + usize::from(byte.wrapping_sub(b'0')));
        if fits
            && CHECKS[value % 31] == word[10].to_ascii_uppercase()
            && !page.letter_before(group.start)
            && !page.letter_behind(group.start + 11)
        {
            hits.push(group.start..group.start + 11, Certainty::Certain);
        }
    }
}

fn two(digits: &[u8]) -> u64 {
    u64::from(digits[0] - b'0') * 10 + u64::from(digits[1] - b'0')
}
