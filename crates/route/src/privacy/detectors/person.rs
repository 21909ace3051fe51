//! Names of persons, by lists of frequent names and by what stands before a name.
//!
//! Capitalised words that follow each other are a name if the first is a frequent given name, if the last is a frequent family
//! name, or if a title or words such as "my name is" stand before them. A given name alone is merely possible. Names in small
//! letters, in scripts without capitals and those that no list has are left unless such words introduce them.

use super::gazetteer::{FAMILY, GIVEN, lists};
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "PERSON", word: "PERSON", class: Class::Person },
    about: "capitalised words with a frequent given or family name among them, or behind a title or an introduction",
    source: "lists in names/README.md; usage",
    example: "I met ⟦Anna K. Lindqvist⟧ there.",
    near_misses: &[
        "The Prime Minister spoke.",
        "New Jersey is Great",
        "Smith Ltd. sells",
        "my name is secret",
        "in Paris",
    ],
    find,
};

/// Words of a name at most.
const PARTS_MAX: usize = 5;
const TITLES: &[&str] = &[
    "Mr",
    "Mrs",
    "Ms",
    "Miss",
    "Mx",
    "Dr",
    "Prof",
    "Professor",
    "Sir",
    "Madam",
    "Lord",
    "Lady",
    "Herr",
    "Herrn",
    "Frau",
    "Monsieur",
    "Madame",
    "Mme",
    "Mlle",
    "Señor",
    "Señora",
    "Sr",
    "Sra",
    "Signor",
    "Signora",
    "Sig",
    "Doña",
    "Senhor",
    "Senhora",
    "Pan",
    "Pani",
    "MR",
    "MRS",
    "MS",
    "DR",
];
/// Introduce a name for sure, and maybe.
const INTRODUCTIONS: &[&str] = &[
    "my name is",
    "name is",
    "name:",
    "name?",
    "named",
    "dear",
    "i am called",
    "is called",
    "was called",
    "ich heiße",
    "ich heisse",
    "je m'appelle",
    "me llamo",
    "mi chiamo",
    "user:",
    "patient:",
    "customer:",
    "client:",
    "employee:",
    "contact:",
    "regards,",
    "sincerely,",
    "signed,",
    "attn:",
    "says",
    "by:",
];
const GREETINGS: &[&str] = &[
    "i'm", "i am", "this is", "hi", "hello", "hey", "ich bin", "from:", "to:", "cc:", "said", "asked",
    "told", "with", "speak to",
];
/// Stand behind a name, of humans alone.
const SPEAKS: &[&str] = &[
    "lives ",
    "lived ",
    "was born",
    "said ",
    "says ",
    "told ",
    "asked ",
    "shouted ",
    "wrote ",
    "called me",
    "married ",
    "is my ",
];
/// Stand between parts of a name in small letters.
const PARTICLES: &[&str] = &[
    "van", "von", "de", "da", "del", "der", "den", "di", "du", "la", "le", "bin", "ibn", "al", "el", "dos",
    "das", "ter", "y", "af", "zu",
];
/// Begin sentences and places, and are no names.
const NO_NAMES: &[&str] = &[
    "The",
    "A",
    "An",
    "In",
    "On",
    "At",
    "New",
    "Old",
    "Mount",
    "Mt",
    "Lake",
    "San",
    "Santa",
    "Saint",
    "St",
    "North",
    "South",
    "East",
    "West",
    "Port",
    "Fort",
    "Dear",
    "Hi",
    "Hello",
    "Hey",
    "My",
    "His",
    "Her",
    "Our",
    "Your",
    "Their",
    "This",
    "That",
    "These",
    "If",
    "When",
    "What",
    "Who",
    "Why",
    "How",
    "Is",
    "Are",
    "Was",
    "Do",
    "Does",
    "Did",
    "Can",
    "Could",
    "I",
    "He",
    "She",
    "We",
    "They",
    "It",
    "You",
    "And",
    "Or",
    "But",
    "For",
    "From",
    "To",
    "Of",
    "By",
    "With",
    "As",
    "So",
    "No",
    "Yes",
    "Please",
    "Thanks",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
    "January",
    "February",
    "March",
    "April",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
    "University",
    "Street",
    "Road",
    "Avenue",
    "President",
    "King",
    "Queen",
    "Not",
    "Let",
];
/// Make a firm or a place of the name before them.
const NO_PERSONS: &[&str] = &[
    "Ltd",
    "Inc",
    "LLC",
    "LLP",
    "GmbH",
    "AG",
    "Corp",
    "Corporation",
    "Company",
    "Co",
    "Group",
    "Foundation",
    "Institute",
    "University",
    "College",
    "School",
    "Hospital",
    "Street",
    "St",
    "Road",
    "Rd",
    "Avenue",
    "Ave",
    "Lane",
    "Drive",
    "Court",
    "Square",
    "Park",
    "Bridge",
    "Station",
    "Airport",
    "County",
    "City",
    "Orchestra",
    "Act",
    "Theorem",
    "Law",
    "Award",
    "Prize",
    "Building",
    "Center",
    "Centre",
    "Bank",
    "Holdings",
    "Partners",
    "Associates",
    "Sons",
    "Brothers",
];

/// A word with a capital at its beginning.
#[derive(Clone, Copy)]
struct Word {
    start: usize,
    end: usize,
}

fn find(page: &Page<'_>, hits: &mut Hits) {
    let words = capitalised(page.text);
    let mut i = 0;
    while i < words.len() {
        let chain = chain(page.text, &words[i..]);
        match judge(page, &words[i..i + chain]) {
            Some((n, sure)) => {
                hits.push(words[i].start..words[i + n - 1].end, sure);
                i += n;
            }
            None => i += 1,
        }
    }
}

/// How many of the words are a name, and how sure that is.
fn judge(page: &Page<'_>, chain: &[Word]) -> Option<(usize, Certainty)> {
    let word = |i: usize| chain.get(i).map(|word: &Word| &page.text[word.start..word.end]);
    let first = word(0)?;
    if NO_NAMES.contains(&first) || TITLES.contains(&first) {
        return None;
    }
    // What can't belong to a name ends it.
    let n = (1..chain.len())
        .find(|i| word(*i).is_some_and(|w| NO_NAMES.contains(&w) && w != "San"))
        .unwrap_or(chain.len());
    let firm = (0..n).any(|i| word(i).is_some_and(|w| NO_PERSONS.contains(&w)));
    let before = &page.text[page.text.ceil_char_boundary(chain[0].start.saturating_sub(24))..chain[0].start];
    let before = before.trim_end_matches([' ', '\n', '"', '>']);
    let (title, introduced) = (titled(before), INTRODUCTIONS.iter().any(|words| ends_with(before, words)));
    let initials = |i: usize| word(i).is_some_and(|w| w.trim_end_matches('.').chars().count() == 1);
    if title || (introduced && !initials(0)) {
        return Some((if firm { 1 } else { n }, Certainty::Likely));
    }
    if firm || first.chars().all(char::is_uppercase) && first.chars().count() < 3 {
        return None;
    }
    // Of Mary-Ann the first half is enough.
    let given = lists(GIVEN, first.split('-').next().unwrap_or_default());
    let last = (1..n).rev().find(|i| !initials(*i));
    let family = last.and_then(word).is_some_and(|w| lists(FAMILY, w));
    match last {
        Some(last) if given || family => Some((last + 1, Certainty::Likely)),
        // A letter between two words is an initial.
        Some(2) if initials(1) && !initials(0) && !are_no_name(&[first, word(2)?]) => {
            Some((3, Certainty::Likely))
        }
        Some(last) if speaks(&page.text[chain[last].end..]) => Some((last + 1, Certainty::Possible)),
        _ if given => Some((1, Certainty::Possible)),
        _ if GREETINGS.iter().any(|words| ends_with(before, words)) && n <= 3 => {
            Some((n, Certainty::Possible))
        }
        _ => None,
    }
}

/// Whether one of these is no part of a name.
fn are_no_name(words: &[&str]) -> bool {
    words.iter().any(|word| {
        NO_NAMES.contains(word) || NO_PERSONS.contains(word) || word.chars().all(char::is_uppercase)
    })
}

/// Whether what only humans do follows.
fn speaks(behind: &str) -> bool {
    SPEAKS.iter().any(|word| behind.strip_prefix(' ').is_some_and(|rest| rest.starts_with(word)))
}

fn titled(before: &str) -> bool {
    let word = before.trim_end_matches('.');
    let start =
        word.rfind(|char: char| !char.is_alphabetic()).map_or(0, |at| word.ceil_char_boundary(at + 1));
    let title = &word[start..];
    TITLES.contains(&title) || (before.ends_with('.') && matches!(title, "mr" | "mrs" | "ms" | "dr" | "prof"))
}

/// Whether a text ends in these words, in whatever case.
fn ends_with(before: &str, words: &str) -> bool {
    let Some(at) = before.len().checked_sub(words.len()) else { return false };
    before.get(at..).is_some_and(|tail| tail.eq_ignore_ascii_case(words))
        && !before[..at].ends_with(|char: char| char.is_alphanumeric())
}

/// How many words from the first on may be parts of one name.
fn chain(text: &str, words: &[Word]) -> usize {
    words
        .windows(2)
        .take(PARTS_MAX - 1)
        .take_while(|pair| joined(&text[pair[0].start..pair[0].end], &text[pair[0].end..pair[1].start]))
        .count()
        + 1
}

/// Whether what lies between two words keeps them together: a space, a point behind an initial, particles.
fn joined(word: &str, between: &str) -> bool {
    if between.len() > 16 {
        return false;
    }
    let between =
        if word.chars().count() == 1 { between.strip_prefix('.').unwrap_or(between) } else { between };
    between.starts_with(' ') && between.split(' ').all(|part| part.is_empty() || PARTICLES.contains(&part))
}

fn capitalised(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut chars = text.char_indices().peekable();
    let mut inside = false;
    while let Some((start, char)) = chars.next() {
        let begins = char.is_uppercase() && !inside;
        inside = char.is_alphanumeric() || char == '_';
        if !begins {
            continue;
        }
        let mut end = start + char.len_utf8();
        while let Some((at, char)) = chars.peek().copied() {
            let tied =
                matches!(char, '\'' | '-') && text[at + 1..].starts_with(|next: char| next.is_alphabetic());
            // The genitive's s belongs to the sentence.
            let genitive = char == '\''
                && text[at + 1..].starts_with('s')
                && !text[at + 2..].starts_with(|next: char| next.is_alphabetic());
            if !(char.is_alphabetic() || (tied && !genitive)) {
                break;
            }
            end = at + char.len_utf8();
            chars.next();
        }
        // Digits behind it make it no name.
        if !text[end..].starts_with(|next: char| next.is_alphanumeric() || next == '_') {
            words.push(Word { start, end });
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole() {
        for (text, name) in [
            ("Hello, this is Mr. Ronald Bodnár. Who", "Ronald Bodnár"),
            ("says Ludwig van Beethoven today", "Ludwig van Beethoven"),
            ("My name is Xqzw Vbnm.", "Xqzw Vbnm"),
            ("Dear Zuzka,", "Zuzka"),
            ("Karin M. Beike\nLeasing", "Karin M. Beike"),
            ("near Mary-Ann O'Neil's house", "Mary-Ann O'Neil"),
            ("when Qwerty Johansson came", "Qwerty Johansson"),
            ("Dr. Brown came", "Brown"),
        ] {
            let found = DETECTOR.find(text);
            assert_eq!(found.iter().map(|f| &text[f.span.clone()]).collect::<Vec<_>>(), [name], "{text}");
        }
    }
}
