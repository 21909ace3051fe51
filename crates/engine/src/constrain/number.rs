//! Numbers that every reader of JSON can hold.
//!
//! JSON sets no limit to a number, and llguidance's grammars none to its digits: a model that goes on with them writes `2e1640`,
//! which is no number of 64 bits. So where an answer is JSON, tokens that would take a number to 10^308 are masked: digits of
//! the part before the point, with the exponent added, are 308 at most. A negative exponent may be any: what is too small is
//! read as zero.
//!
//! Readers also round: `0.99999999999999999999` is 1 to them, and so is not below it. Where a form has bounds that a number must
//! not reach, a number with a fraction has [`FINE_DIGITS_MAX`] digits at most, which no reader rounds to a bound of so many.
//!
//! The text is followed byte by byte, as far as it takes to know a number from what stands in a string. Only where a number
//! is long already, or its exponent is being written, is a list of tokens looked through; anywhere else there is nothing to do.

use super::vocabulary::STRUCTURE;

/// Digits before the point and the exponent, together.
const DIGITS_MAX: u16 = 308;
/// Digits of a number with a fraction that all readers tell from other numbers.
const FINE_DIGITS_MAX: u16 = 15;
/// So many digits are followed by no exponent of two digits that is too large, nor by a token of [`DIGITS_NEAR`] digits.
const DIGITS_NEAR: u16 = 100;

/// Where in a JSON text a byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In no string and no number.
    Between,
    String,
    /// Behind a backslash in a string.
    Escape,
    /// So many digits before the point.
    Whole(u16),
    /// Behind the point; so many digits before it, and so many with those behind it.
    Fraction(u16, u16),
    /// So much may the exponent still be, and it is this.
    Exponent(u16, u16),
    /// An exponent below zero.
    Small,
}

impl Place {
    /// Behind `byte`; `None` where that makes a number too large, or too long with a fraction.
    fn step(self, byte: u8, fine_max: u16) -> Option<Self> {
        let digit = byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
        Some(match (self, byte, digit) {
            // A token that is no text ends whatever it was.
            (_, STRUCTURE, _) => Self::Between,
            (Self::Escape, ..) => Self::String,
            (Self::String, b'\\', _) => Self::Escape,
            (Self::String, b'"', _) => Self::Between,
            (Self::String, ..) => Self::String,
            (Self::Between, _, Some(_)) => Self::Whole(1),
            (Self::Whole(n), _, Some(_)) => (n < DIGITS_MAX).then_some(Self::Whole(n + 1))?,
            (Self::Whole(n), b'.', _) => (n < fine_max).then_some(Self::Fraction(n, n))?,
            (Self::Fraction(n, all), _, Some(_)) => {
                (all < fine_max).then_some(Self::Fraction(n, all.saturating_add(1)))?
            }
            (Self::Whole(n) | Self::Fraction(n, _), b'e' | b'E', _) => Self::Exponent(DIGITS_MAX - n, 0),
            (Self::Exponent(max, so_far), _, Some(digit)) => {
                let exponent = so_far * 10 + digit;
                (exponent <= max).then_some(Self::Exponent(max, exponent))?
            }
            (Self::Exponent(..), b'+', _) => self,
            (Self::Exponent(..), b'-', _) | (Self::Small, _, Some(_)) => Self::Small,
            (_, b'"', _) => Self::String,
            _ => Self::Between,
        })
    }

    /// Behind all of `bytes`.
    fn walk(self, bytes: &[u8], fine_max: u16) -> Option<Self> {
        bytes.iter().try_fold(self, |place, &byte| place.step(byte, fine_max))
    }

    /// Whether a few more bytes could make a number too large.
    fn is_near(self) -> bool {
        match self {
            Self::Whole(n) | Self::Fraction(n, _) => n >= DIGITS_NEAR,
            Self::Exponent(..) => true,
            Self::Between | Self::String | Self::Escape | Self::Small => false,
        }
    }
}

/// The tokens of a vocabulary that can make a number too large.
#[derive(Debug)]
pub(super) struct Numerals {
    /// Where a number is nearly that: all with digits.
    near: Vec<u32>,
    /// Elsewhere: those with so many digits, or so large an exponent, that one is enough.
    anywhere: Vec<u32>,
}

impl Numerals {
    /// Reads `words`: the bytes of each token.
    pub fn read(words: &[Vec<u8>]) -> Self {
        let n = DIGITS_NEAR - 1;
        let far = [Place::Between, Place::String, Place::Whole(n), Place::Fraction(n, n)];
        let with_digits = words.iter().enumerate().filter(|(_, word)| word.iter().any(u8::is_ascii_digit));
        let mut numerals = Self { near: Vec::new(), anywhere: Vec::new() };
        for (id, word) in with_digits {
            numerals.near.push(id as u32);
            let is_long = |place: &Place| place.walk(word, u16::MAX).is_none();
            if far.iter().any(is_long) || Place::Between.walk(word, FINE_DIGITS_MAX).is_none() {
                numerals.anywhere.push(id as u32);
            }
        }
        numerals
    }
}

/// The numbers of one answer that is JSON.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    /// Behind each token, the beginning first.
    places: Vec<Place>,
    /// Digits that a number with a fraction may have.
    fine_max: u16,
}

impl Numbers {
    /// Nothing is written yet. `bounded` says that there are bounds which a number must not reach.
    pub fn new(bounded: bool) -> Self {
        Self { places: vec![Place::Between], fine_max: if bounded { FINE_DIGITS_MAX } else { u16::MAX } }
    }

    /// Nothing is written again.
    pub fn reset(&mut self) {
        self.places.truncate(1);
    }

    fn place(&self) -> Place {
        self.places.last().copied().unwrap_or(Place::Between)
    }

    /// Calls `forbid` with each token that makes a number too large; `bytes` says what a token writes.
    pub fn mask<'a>(
        &self,
        numerals: &Numerals,
        bytes: impl Fn(u32) -> &'a [u8],
        mut forbid: impl FnMut(u32),
    ) {
        let place = self.place();
        let is_fine = self.fine_max < u16::MAX && !matches!(place, Place::String | Place::Escape);
        let tokens = if place.is_near() || is_fine { &numerals.near } else { &numerals.anywhere };
        tokens
            .iter()
            .filter(|&&id| place.walk(bytes(id), self.fine_max).is_none())
            .for_each(|&id| forbid(id));
    }

    /// Goes on with a token that writes `bytes`; `false` where that makes a number too large.
    pub fn accept(&mut self, bytes: &[u8]) -> bool {
        let next = self.place().walk(bytes, self.fine_max);
        self.places.extend(next);
        next.is_some()
    }

    /// Undoes the last `n` tokens.
    pub fn take_back(&mut self, n: usize) {
        self.places.truncate(self.places.len().saturating_sub(n).max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_held(text: &str) -> bool {
        Place::Between.walk(text.as_bytes(), u16::MAX).is_some()
    }

    #[test]
    fn what_is_held_is_finite_and_what_is_usual_is_held() {
        let digits = |n: usize| "9".repeat(n);
        let held = [
            "0".into(),
            "-12.5e3".into(),
            "6.02214076e+23".into(),
            "1E-4000".into(),
            "9e307".into(),
            "0.001e307".into(),
            "18446744073709551616".into(),
            digits(308),
            format!("{}e0", digits(308)),
            format!("{}.{}e208", digits(100), digits(400)),
            "[1e300,2e300,0.5]".into(),
            format!("{{\"1e999\\\"{}\": 1e5}}", digits(400)),
        ];
        for text in &held {
            assert!(is_held(text), "{text}");
            serde_json::from_str::<serde_json::Value>(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        }
        for text in [
            "2e1640".into(),
            "1e308".into(),
            digits(309),
            format!("{}e9", digits(300)),
            "\"\":1e00309".into(),
        ] {
            assert!(!is_held(&text), "{text}");
        }
    }

    #[test]
    fn tokens_are_masked_where_they_overflow() {
        let words: Vec<Vec<u8>> = ["1", "9", "e", "00", ",", "e999", "e99", "\""].map(|w| w.into()).into();
        let numerals = Numerals::read(&words);
        assert_eq!(numerals.near, [0, 1, 3, 5, 6]);
        let forbidden = |text: &str| {
            let mut numbers = Numbers::new(false);
            assert!(text.bytes().all(|byte| numbers.accept(&[byte])), "{text}");
            let mut forbidden = Vec::new();
            numbers.mask(&numerals, |id| &words[id as usize], |id| forbidden.push(id));
            forbidden
        };
        assert_eq!(forbidden("1"), [5]);
        assert_eq!(forbidden("\"1"), [] as [u32; 0], "in a string");
        assert_eq!(forbidden("1e30"), [1, 3], "1e301 is one");
        assert_eq!(forbidden(&"1".repeat(307)), [3, 5, 6]);
        assert_eq!(forbidden(&"1".repeat(308)), [0, 1, 3, 5, 6]);
    }

    #[test]
    fn fractions_end_before_readers_round_them() {
        let words: Vec<Vec<u8>> = ["9", ".", "e", "99", "\"", "."].map(|w| w.into()).into();
        let numerals = Numerals::read(&words);
        let forbidden = |text: &str| {
            let mut numbers = Numbers::new(true);
            assert!(text.bytes().all(|byte| numbers.accept(&[byte])), "{text}");
            let mut forbidden = Vec::new();
            numbers.mask(&numerals, |id| &words[id as usize], |id| forbidden.push(id));
            forbidden
        };
        assert_eq!(forbidden("0.9999999999999"), [3]);
        assert_eq!(forbidden("0.99999999999999"), [0, 3]);
        assert_eq!(forbidden("99999999999999999999"), [] as [u32; 0], "without a fraction");
        let mut numbers = Numbers::new(true);
        assert!(!numbers.accept(b"0.99999999999999999999") && !numbers.accept(b"1234567890123456.5"));
        assert!(Numbers::new(false).accept(b"0.99999999999999999999"));
    }

    #[test]
    fn what_was_taken_back_leaves_no_trace() {
        let mut numbers = Numbers::new(false);
        assert!(numbers.accept(b"1e3") && numbers.accept(b"0") && !numbers.accept(b"99"));
        numbers.take_back(1);
        assert!(numbers.accept(b"07") && !numbers.accept(b"0"));
        numbers.take_back(9);
        assert!(numbers.accept(b"1"));
    }
}
