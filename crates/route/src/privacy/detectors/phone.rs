//! Telephone numbers.
//!
//! There is no checksum, and no two countries group digits alike. So a candidate is judged by what it begins with (a plus, two
//! zeros, one zero, an area in brackets), by the North American grouping, and by words nearby, which alone are enough. A
//! number in a row without any of these is left: most such numbers are none.

use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "PHONE_NUMBER", word: "PHONE", class: Class::Contact },
    about: "international, national with a leading zero or area in brackets, North American; any 6 to 15 digits beside a word such as phone",
    source: "ITU-T E.164 and E.123; North American Numbering Plan",
    example: "It is ⟦+46 (0)8 928 571 38⟧, ok?",
    near_misses: &[
        "on 2020-06-20 11:34",
        "on 24.12.2020",
        "at 192.168.10.200",
        "1234567890",
        "$ 555-123-4567",
        "calls: 12",
        "4111 1111 1111 1111",
        "555-123-4567-8",
        "A555-123-4567",
    ],
    find,
};

const BEFORE: &[&str] = &[
    "phone",
    "tel",
    "telephone",
    "telefon",
    "téléphone",
    "mobil",
    "mobile",
    "móvil",
    "movil",
    "cell",
    "celular",
    "call",
    "fax",
    "ring",
    "dial",
    "text",
    "sms",
    "messag",
    "whatsapp",
    "signal",
    "contact",
    "reach",
    "my number",
    "desk",
    "hotline",
    "handy",
    "answering",
    "voicemail",
    "pager",
    "landline",
    "office",
    "ph:",
    "ph.",
    "rufen",
    "anrufen",
    "appelez",
    "llama",
    "chiama",
    "電話",
    "电话",
    "手机",
];
const BEHIND: &[&str] = &["office", "fax", "mobile", "home", "work", "cell", "desk"];
/// Digits of the longest number, without the extension.
const DIGITS_MAX: usize = 15;
const GROUPS_MAX: usize = 8;

fn find(page: &Page<'_>, hits: &mut Hits) {
    let mut i = 0;
    while i < page.groups.len() {
        i = match number_at(page, i) {
            Some((span, sure, next)) => {
                hits.push(span, sure);
                next
            }
            None => i + 1,
        };
    }
}

/// What the number is made of.
struct Shape {
    digits: [u8; DIGITS_MAX],
    n: usize,
    lens: [usize; GROUPS_MAX],
    gaps: [u8; GROUPS_MAX],
    n_groups: usize,
    /// `+`, `(` or 0.
    mark: u8,
}

/// The number that begins with this group, and the index of the group behind it.
fn number_at(page: &Page<'_>, first: usize) -> Option<(std::ops::Range<usize>, Certainty, usize)> {
    let bytes = page.bytes();
    let before = |at: usize| at.checked_sub(1).map_or(0, |at| bytes[at]);
    let mut start = page.groups[first].start;
    let mut mark = 0;
    if before(start) == b'(' && bytes.get(page.groups[first].end) == Some(&b')') {
        (start, mark) = (start - 1, b'(');
    }
    if before(start) == b'+' {
        (start, mark) = (start - 1, b'+');
    }
    if page.letter_before(start) || matches!(before(start), b'$' | b'-' | b'/' | b'_' | b'#' | b'+') {
        return None;
    }
    // Behind a digit and one of these signs a number goes on.
    if matches!(before(start), b'.' | b',') && start > 1 && bytes[start - 2].is_ascii_digit() {
        return None;
    }
    // Within a sequence only what begins like a number begins one, or a sentence.
    if mark == 0 && first > 0 && page.groups[first - 1].gap != 0 && bytes[page.groups[first].start] != b'0' {
        let between = &bytes[page.groups[first - 1].end..start];
        if !between.starts_with(b". ") && !between.contains(&b'(') {
            return None;
        }
    }
    if matches!(page.text[..start].trim_end_matches(' ').chars().next_back(), Some('$' | '€' | '£' | '¥'))
    {
        return None;
    }
    let mut shape = Shape {
        digits: [0; DIGITS_MAX],
        n: 0,
        lens: [0; GROUPS_MAX],
        gaps: [0; GROUPS_MAX],
        n_groups: 0,
        mark,
    };
    let mut best = None;
    for (i, group) in page.groups.iter().enumerate().skip(first).take(GROUPS_MAX) {
        let len = group.end - group.start;
        if shape.n + len > DIGITS_MAX {
            break;
        }
        // An area in brackets has nothing before it but the code of a country.
        let between = if i > first { &bytes[page.groups[i - 1].end..group.start] } else { &[] };
        if (shape.n > 4 && between.contains(&b'(')) || between.starts_with(b". ") {
            break;
        }
        for (to, from) in shape.digits[shape.n..].iter_mut().zip(&bytes[group.start..group.end]) {
            *to = from - b'0';
        }
        shape.n += len;
        shape.lens[shape.n_groups] = len;
        shape.gaps[shape.n_groups] = group.gap;
        shape.n_groups += 1;
        let end = extension(page, group.end);
        let tied = end == group.end
            && page.groups.get(i + 1).is_some()
            && group.gap != 0
            && group.glued
            && group.gap != b'(';
        if !tied && !page.letter_behind(end) && shape.n >= 6 {
            let said = || page.said_before(start, BEFORE) || page.said_behind(end, BEHIND);
            if let Some(sure) = shape.judge(said) {
                let next = page.groups[i + 1..].iter().take(2).take_while(|group| group.start < end).count();
                best = Some((start..end, sure, i + 1 + next));
            }
        }
        if group.gap == 0 || end > group.end {
            break;
        }
    }
    best
}

impl Shape {
    fn judge(&self, said: impl FnOnce() -> bool) -> Option<Certainty> {
        let lens = &self.lens[..self.n_groups];
        let gaps = &self.gaps[..self.n_groups - 1];
        let digits = &self.digits[..self.n];
        // Digits that stand alone, one by one, are no number.
        if lens.iter().filter(|len| **len == 1).count() > 2 {
            return None;
        }
        if self.mark != b'+' && (is_date(lens, gaps) || is_address(lens, gaps, digits)) {
            return None;
        }
        let slashes = gaps.iter().filter(|gap| **gap == b'/').count();
        if slashes > 1 || (slashes == 1 && digits[0] != 0) {
            return None;
        }
        let said = said();
        let either = |sure| Some(if said { Certainty::Certain } else { sure });
        if self.mark == b'+' {
            return if (8..=15).contains(&self.n) && digits[0] != 0 {
                either(Certainty::Likely)
            } else {
                None
            };
        }
        // With the code of a country behind the two zeros that call it.
        if digits.starts_with(&[0, 0])
            && (10..=15).contains(&self.n)
            && digits[2] != 0
            && (lens.len() > 1 || said)
        {
            return either(Certainty::Likely);
        }
        let american = match lens {
            [3, 3, 4] => Some(digits),
            [1, 3, 3, 4] if digits[0] == 1 => Some(&digits[1..]),
            _ => None,
        };
        if american
            .is_some_and(|digits| digits[0] >= 2 && (digits[3] >= 2 || gaps.iter().any(|gap| *gap != b' ')))
        {
            return either(Certainty::Likely);
        }
        if digits[0] == 0 && digits[1] != 0 && (9..=12).contains(&self.n) {
            if lens.len() > 1 && lens[0] <= 5 {
                return either(Certainty::Likely);
            }
            if lens.len() == 1 && (10..=11).contains(&self.n) {
                return either(Certainty::Possible);
            }
        }
        if self.mark == b'(' && (7..=11).contains(&self.n) && (1..=5).contains(&lens[0]) && lens.len() > 1 {
            return either(Certainty::Likely);
        }
        if said && (lens.len() > 1 || self.n >= 7) {
            return Some(Certainty::Likely);
        }
        None
    }
}

/// A day of the calendar.
fn is_date(lens: &[usize], gaps: &[u8]) -> bool {
    let by = |gap: u8| gaps.len() >= 2 && gaps[..2].iter().all(|other| *other == gap);
    let few = |len: usize| (1..=2).contains(&len);
    let date = match lens {
        [4, m, d, ..] => few(*m) && few(*d),
        [d, m, 4, ..] => few(*d) && few(*m),
        _ => false,
    };
    date && (by(b'-') || by(b'.') || by(b'/'))
}

/// An address of a machine on the internet.
fn is_address(lens: &[usize], gaps: &[u8], digits: &[u8]) -> bool {
    lens.len() == 4
        && lens.iter().all(|len| *len <= 3)
        && gaps.iter().all(|gap| *gap == b'.')
        && digits[0] != 0
}

/// Where the extension ends that follows here, or here.
fn extension(page: &Page<'_>, end: usize) -> usize {
    let rest = &page.bytes()[end..];
    let space =
        usize::from(matches!(rest.first(), Some(b' ' | b',' | b';'))) + usize::from(rest.starts_with(b", "));
    for word in ["extension", "ext.", "ext", "x", "#"] {
        let Some(after) = rest.get(space..).filter(|rest| {
            rest.get(..word.len()).is_some_and(|rest| rest.eq_ignore_ascii_case(word.as_bytes()))
        }) else {
            continue;
        };
        let after = &after[word.len()..];
        let gap = after.iter().take(2).take_while(|byte| matches!(byte, b' ' | b':')).count();
        let digits = after[gap..].iter().take(7).take_while(|byte| byte.is_ascii_digit()).count();
        if (1..=6).contains(&digits) {
            return end + space + word.len() + gap + digits;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_many_countries_are_found_whole() {
        for number in [
            "+1-903-140-4508x769",
            "001-518-640-0854",
            "(579)888-3058",
            "(555) 234-5678",
            "555.234.5678",
            "555 234 5678",
            "1-800-555-2345",
            "+447700 921 916",
            "+44 20 7946 0958",
            "020 7946 0958",
            "01.84.17.61.18",
            "030/1234567",
            "+49 (0)30 1234-567",
            "0961-7596216",
            "(08) 8747 6301",
            "+91 98765 43210",
            "+86 138 0013 8000",
            "00 49 30 123456",
            "+1 (555) 234-5678 ext. 12",
            "＋１ ５５５ ２３４ ５６７８",
        ] {
            let text = format!("Well, {number}, thanks.");
            let found = DETECTOR.find(&text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert_eq!(&text[found[0].span.clone()], number);
        }
    }

    #[test]
    fn a_word_nearby_is_enough() {
        for text in
            ["call 467 3395", "Phone:\n9469 9966", "Tel 12345678", "781 1704 office", "(37) 788-063-Office"]
        {
            assert_eq!(DETECTOR.find(text).len(), 1, "{text}");
        }
        assert!(DETECTOR.find("467 3395").is_empty());
    }
}
