//! What cutting and replacing look for: a text, or a regular expression with look-around as Oniguruma reads it.
//!
//! Patterns are somebody else's programs, and so is the text. A search sees a window of 32 KiB and may turn back a million
//! times; what is not found by then is not there. A match can therefore not be longer than a window, and nobody's look-ahead
//! sees further.

use fancy_regex::{Regex, RegexBuilder};

use crate::error::{Error, Result};

const WINDOW_BYTES: usize = 32 << 10;
/// Matches that end nearer to the window's end might have gone on, so the window moves first.
const MARGIN_BYTES: usize = 4 << 10;
/// What a look-behind may see before the window.
const BEHIND_BYTES: usize = 64;
const BACKTRACK_MAX: usize = 1_000_000;
/// The largest published pattern compiles to a tenth.
const PROGRAM_BYTES_MAX: usize = 10 << 20;
const PROGRAM_LEN_MAX: usize = 100_000;
const PATTERN_BYTES_MAX: usize = 16 << 10;

/// What is looked for.
#[derive(Debug)]
pub enum Pattern {
    /// This text.
    Text(String),
    /// This expression.
    Regex(Box<Regex>),
}

impl Pattern {
    /// The expression `source`; `part` is where it stands.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is none, or too large.
    pub fn regex(part: &str, source: &str) -> Result<Self> {
        if source.len() > PATTERN_BYTES_MAX {
            let expected = format!("at most {PATTERN_BYTES_MAX}");
            return Err(Error::malformed(part, format!("a pattern of {} bytes", source.len()), expected));
        }
        let built = RegexBuilder::new(source)
            .oniguruma_mode(true)
            .multi_line(true)
            .backtrack_limit(BACKTRACK_MAX)
            .delegate_size_limit(PROGRAM_BYTES_MAX)
            .max_prog_size(PROGRAM_LEN_MAX)
            .build();
        built.map(|regex| Self::Regex(Box::new(regex))).map_err(|e| {
            let why = e.to_string();
            let why = why.lines().next_back().unwrap_or_default().trim();
            Error::malformed(part, format!("the pattern {source:?} ({why})"), "a regular expression")
        })
    }

    /// The length of a match that `text` begins with.
    pub fn at_start(&self, text: &str) -> Option<usize> {
        match self {
            Self::Text(what) => (!what.is_empty() && text.starts_with(what.as_str())).then_some(what.len()),
            Self::Regex(regex) => next(regex, text, 0).filter(|&(start, _)| start == 0).map(|(_, end)| end),
        }
    }

    /// Calls `found` with every match in `text`, in order: where it begins and ends. An empty match counts unless it stands
    /// where the last one ended.
    pub fn each(&self, text: &str, mut found: impl FnMut(usize, usize)) {
        match self {
            Self::Text(what) if what.is_empty() => {}
            Self::Text(what) => {
                text.match_indices(what.as_str()).for_each(|(at, _)| found(at, at + what.len()));
            }
            Self::Regex(regex) => {
                let (mut at, mut last) = (0, None);
                while at <= text.len() {
                    let Some((start, end)) = next(regex, text, at) else { return };
                    if start == end && last == Some(end) {
                        at += text[end..].chars().next().map_or(1, char::len_utf8);
                        continue;
                    }
                    found(start, end);
                    (at, last) = (end, Some(end));
                }
            }
        }
    }
}

/// The first match at or after byte `from`.
fn next(regex: &Regex, text: &str, mut from: usize) -> Option<(usize, usize)> {
    loop {
        let behind = text.floor_char_boundary(from.saturating_sub(BEHIND_BYTES));
        let ahead = text.floor_char_boundary(from + WINDOW_BYTES);
        let is_last = ahead == text.len();
        let found = regex.find_from_pos(&text[behind..ahead], from - behind).ok().flatten();
        let found = found.map(|m| (behind + m.start(), behind + m.end()));
        match found {
            Some((start, end)) if is_last || end + MARGIN_BYTES <= ahead || start == from => {
                return Some((start, end));
            }
            Some((start, _)) => from = start,
            None if is_last => return None,
            None => from = text.floor_char_boundary(ahead - MARGIN_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pattern: &Pattern, text: &str) -> Vec<(usize, usize)> {
        let mut out = Vec::new();
        pattern.each(text, |start, end| out.push((start, end)));
        out
    }

    #[test]
    fn empty_matches_count_once_and_not_after_another() {
        assert_eq!(all(&Pattern::regex("p", "a*").unwrap(), "baac"), [(0, 0), (1, 3), (4, 4)]);
        assert_eq!(all(&Pattern::regex("p", r"(?=(\d{3})+(?!\d))").unwrap(), "1234567"), [(1, 1), (4, 4)]);
        assert_eq!(all(&Pattern::Text("aa".into()), "aaa"), [(0, 2)]);
        assert_eq!(all(&Pattern::Text(String::new()), "aaa"), []);
    }

    #[test]
    fn windows_do_not_show() {
        let text = "word, ".repeat(20_000);
        let found = all(&Pattern::regex("p", r"\w+(?!\S)|[^\w\s](?= )|(?<=,) ").unwrap(), &text);
        let expected: Vec<_> =
            (0..20_000).flat_map(|i| [(6 * i + 4, 6 * i + 5), (6 * i + 5, 6 * i + 6)]).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_pattern_that_never_ends_ends() {
        let pattern = Pattern::regex("p", r"(?:(a|aa)+(?=b))+c").unwrap();
        let start = std::time::Instant::now();
        assert_eq!(all(&pattern, &"a".repeat(2_000)), []);
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }

    #[test]
    fn what_is_no_pattern_is_refused_in_one_sentence() {
        for source in ["(", "[", r"\p{Nonsense}", "(?<n>a)(?P>m)"] {
            let message = Pattern::regex("pre_tokenizer", source).unwrap_err().to_string();
            assert!(message.contains("a regular expression") && !message.contains('\n'), "{message}");
        }
        assert!(Pattern::regex("p", &"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }
}
