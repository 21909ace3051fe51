//! Days of birth, where a word says that they are.

use super::checksum::is_day;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "DATE_OF_BIRTH", word: "BIRTHDATE", class: Class::Identity },
    about: "a day of the calendar, in digits or with the month's name, shortly behind a word such as born",
    source: "usage; ISO 8601",
    example: "She was born on ⟦7/30/1964⟧.",
    near_misses: &["due on 7/30/1964", "born on 45/30/1964", "born in 12/34", "born 5 minutes ago"],
    find,
};

const CUES: &[&str] = &[
    "born",
    "birth",
    "dob",
    "d.o.b",
    "b-day",
    "bday",
    "geb.",
    "gebor",
    "geburt",
    "née",
    "naissance",
    "nacid",
    "nacimiento",
    "nat",
    "nascimento",
    "födel",
    "født",
    "fødsel",
    "urodz",
];
/// Beginnings of the names of months, in English and neighbours of it.
const MONTHS: &[&str] = &[
    "jan", "feb", "fév", "mar", "mär", "apr", "avr", "abr", "may", "mai", "mag", "maj", "mei", "jun", "juin",
    "giu", "jul", "juil", "lug", "aug", "aoû", "ago", "sep", "set", "oct", "okt", "ott", "out", "nov", "dec",
    "dez", "déc", "dic",
];

fn find(page: &Page<'_>, hits: &mut Hits) {
    let mut found = Vec::new();
    for (i, group) in page.groups.iter().enumerate() {
        let len = group.end - group.start;
        if len > 4 || page.letter_before(group.start) {
            continue;
        }
        let value = |i: usize| {
            page.groups.get(i).and_then(|group| page.text[group.start..group.end].parse::<u64>().ok())
        };
        let in_digits = |i: usize| {
            let [a, b] = [page.groups.get(i)?, page.groups.get(i + 1)?];
            let end = page.groups.get(i + 2)?.end;
            let tied = matches!(a.gap, b'-' | b'.' | b'/') && a.gap == b.gap;
            let [a, b, c] = [value(i)?, value(i + 1)?, value(i + 2)?];
            let (year, first, second) = if a > 31 { (a, b, c) } else { (c, a, b) };
            let day = is_day(first, second) || is_day(second, first);
            (tied && day && (year < 100 || (1850..2150).contains(&year))).then_some(end)
        };
        let end = in_digits(i).or_else(|| with_name(page, i));
        if let Some(end) = end.filter(|end| !page.letter_behind(*end) && page.said_before(group.start, CUES))
        {
            found.push(group.start..end);
        }
    }
    // The month's name may come first: May 5, 1980.
    for (i, group) in page.groups.iter().enumerate() {
        let before = page.text[..group.start].trim_end_matches([' ', '.']);
        let len = before
            .bytes()
            .rev()
            .take(12)
            .take_while(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80)
            .count();
        let start = before.len() - len;
        let Some(year) = page.groups.get(i + 1) else { continue };
        let close = page.text[group.end..year.start].len() <= 4 && year.end - year.start == 4;
        if group.start - before.len() <= 2
            && group.end - group.start <= 2
            && close
            && is_month(&page.text[page.text.ceil_char_boundary(start)..])
            && page.said_before(page.text.ceil_char_boundary(start), CUES)
        {
            found.push(page.text.ceil_char_boundary(start)..year.end);
        }
    }
    found.sort_by_key(|span| span.start);
    for span in found {
        hits.push(span, Certainty::Likely);
    }
}

/// The end of "5th of May 1980", whose day is this group.
fn with_name(page: &Page<'_>, day: usize) -> Option<usize> {
    let (day, year) = (page.groups.get(day)?, page.groups.get(day + 1)?);
    let between = page.text[day.end..year.start].trim_start_matches(['.', ' ', '-']);
    let between = ["st ", "nd ", "rd ", "th ", "er "]
        .iter()
        .find_map(|end| between.strip_prefix(end))
        .unwrap_or(between);
    let between = ["of ", "de "].iter().find_map(|word| between.strip_prefix(word)).unwrap_or(between);
    let close = between.len() <= 16 && day.end - day.start <= 2 && matches!(year.end - year.start, 2 | 4);
    (close && is_month(between)).then_some(year.end)
}

fn is_month(text: &str) -> bool {
    MONTHS.iter().any(|month| text.get(..month.len()).is_some_and(|word| word.eq_ignore_ascii_case(month)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_many_forms_are_found() {
        for day in [
            "1964-07-30",
            "30.7.1964",
            "30 July 1964",
            "30th of July, 1964",
            "July 30, 1964",
            "3/7/64",
            "7 mars 1964",
        ] {
            let text = format!("Date of birth: {day} in Rome");
            let found = DETECTOR.find(&text);
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(&text[found[0].span.clone()], day);
        }
    }

    #[test]
    fn days_of_two_forms_are_found_in_one_text() {
        let text = "He was born on May 5, 1980. She was born on 7/30/1964. Born on June 6, 1981.";
        let found: Vec<&str> = DETECTOR.find(text).into_iter().map(|f| &text[f.span]).collect();
        assert_eq!(found, ["May 5, 1980", "7/30/1964", "June 6, 1981"]);
    }
}
