//! Words that look as if drawn by lot: keys without a mark of their own.
//!
//! The letters of a key are nearly all different and change between small, capital and digit all the time; names in code
//! don't. Hexadecimal words of the lengths of hashes are as often names of versions: without a word nearby they are merely
//! possible, as is all else here.

use super::words::words;
use super::{Certainty, Class, Detector, Hits, Kind, Page};

pub(super) static DETECTOR: Detector = Detector {
    kind: Kind { name: "TOKEN", word: "TOKEN", class: Class::Secret },
    about: "24 to 200 letters and digits that look drawn by lot; likely beside a word such as key, possible elsewhere",
    source: "Shannon's entropy; bounds chosen on identifiers and keys of the tests",
    example: "the key ⟦q7Rk2ZpL9xWv4TnB8sYd3MhF⟧",
    near_misses: &[
        "TransformerEncoderLayer2Config",
        "test_that_tokens_are_counted_2024_11",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "123456789012345678901234567890",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123",
        "CHAPTER_TWENTY_SEVEN_SECTION_12",
    ],
    find,
};

const CUES: &[&str] =
    &["key", "token", "secret", "password", "auth", "credential", "bearer", "api", "hash", "salt", "seed"];

const LEN_MIN: usize = 24;

fn find(page: &Page<'_>, hits: &mut Hits) {
    for span in
        words(page.text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'='))
    {
        if span.len() < LEN_MIN {
            continue;
        }
        let word = page.text[span.clone()].trim_end_matches(['=', '-', '_']);
        let start = span.start + word.len() - word.trim_start_matches(['=', '-', '_', '+']).len();
        // Behind an equals sign the value begins, which is looked at alone.
        let start = start
            + page.text[start..span.end].trim_end_matches(['=', '-', '_']).rfind('=').map_or(0, |at| at + 1);
        let word = &page.text[start..span.start + word.len()];
        if (LEN_MIN..=200).contains(&word.len()) && looks_drawn(word.as_bytes()) && !page.letter_before(start)
        {
            let said = page.said_before(start, CUES);
            hits.push(start..span.end, if said { Certainty::Likely } else { Certainty::Possible });
        }
    }
}

fn looks_drawn(word: &[u8]) -> bool {
    let mut counts = [0u16; 128];
    for byte in word {
        counts[usize::from(byte & 127)] += 1;
    }
    let n = word.len() as f32;
    let entropy: f32 =
        counts.iter().filter(|c| **c > 0).map(|c| f32::from(*c) / n).map(|p| -p * p.log2()).sum();
    let sort = |byte: &u8| match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        b'A'..=b'Z' => 2,
        _ => 3,
    };
    let n_sorts = |of: u8| word.iter().filter(|byte| sort(byte) == of).count();
    let changes = word.windows(2).filter(|pair| sort(&pair[0]) != sort(&pair[1])).count();
    let hex = word.iter().all(u8::is_ascii_hexdigit);
    if hex {
        return word.len() >= 32 && entropy > 3.0 && n_sorts(0) > 4 && n_sorts(0) < word.len() - 4;
    }
    n_sorts(0) >= 2 && n_sorts(1) >= 2 && n_sorts(2) >= 2 && entropy > 3.7 && changes as f32 > 0.35 * n
}
