//! Names that nothing else has, and seeds.

use std::hash::{BuildHasher, Hasher};

/// The length of a call's id, where its format demands none.
const CALL_ID_LEN: usize = 24;

/// Bits that nobody can foresee, from the keys that hash tables are given.
fn random() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// A name of a `kind` of thing, as `chatcmpl-…`.
pub fn fresh(kind: &str) -> String {
    format!("{kind}{}", letters(CALL_ID_LEN))
}

/// A call's name: of `len` letters and digits where its format demands that.
pub fn of_call(len: Option<usize>) -> String {
    len.map_or_else(|| fresh("call_"), letters)
}

/// A number that stands for a thing in a file, and nowhere else.
pub fn number() -> u64 {
    random()
}

/// A seed for who gives none, short enough to be typed.
pub fn seed() -> u64 {
    random() >> 32
}

fn letters(n: usize) -> String {
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut out = String::with_capacity(n);
    while out.len() < n {
        let mut bits = random();
        for _ in 0..8.min(n - out.len()) {
            out.push(char::from(LETTERS[(bits % LETTERS.len() as u64) as usize]));
            bits /= LETTERS.len() as u64;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_have_the_length_that_is_asked_for() {
        let ids: std::collections::HashSet<String> = (0..1000).map(|_| of_call(Some(9))).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() == 9 && id.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert!(fresh("chatcmpl-").len() == 33 && of_call(None).starts_with("call_"));
    }
}
