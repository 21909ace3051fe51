//! A prompt as numbers: which words and pairs of words stand in it, and its shape.
//!
//! Words are runs of letters and digits in lower case; any other character that is no space is a word of its own, so that notation
//! tells. Words and pairs of neighbours are hashed to [`N_BUCKETS`] places, by FNV-1a, with a sign, so that what collides cancels rather
//! than adds up. A place's value is `1 + ln(count)`, and all together have length 1, so that long prompts don't speak louder.
//! The [shape](SHAPES) says what words don't: length, numbers, lines, signs.
//!
//! Of a long prompt only the first and the last [`END_BYTES`] are read, so that no prompt costs much. No text is kept.

/// Places for words and pairs of words.
pub const N_BUCKETS: usize = 1 << 16;
/// Bytes that are read at either end of a prompt.
pub const END_BYTES: usize = 4096;

/// What a prompt looks like, one number each. Counts are taken as logarithms, so that the hundredth weighs less than the first.
pub static SHAPES: &[Shape] = &[
    Shape { name: "bytes", of: |s| ln(s.n_bytes) },
    Shape { name: "words", of: |s| ln(s.n_words) },
    Shape { name: "mean word", of: |s| ratio(s.n_letters, s.n_words) },
    Shape { name: "different words", of: |s| ratio(s.n_distinct, s.n_words) },
    Shape { name: "numbers", of: |s| ln(s.n_numbers) },
    Shape { name: "share of numbers", of: |s| ratio(s.n_numbers, s.n_words) },
    Shape { name: "largest number", of: |s| (s.largest_number.ln_1p() / 4.0) as f32 },
    Shape { name: "digits", of: |s| ratio(s.n_digits, s.n_bytes) },
    Shape { name: "capitals", of: |s| ratio(s.n_capitals, s.n_bytes) },
    Shape { name: "signs", of: |s| ratio(s.n_signs, s.n_bytes) },
    Shape { name: "lines", of: |s| ln(s.n_of(b'\n')) },
    Shape { name: "longest line", of: |s| ln(s.longest_line) },
    Shape { name: "full stops", of: |s| ln(s.n_of(b'.')) },
    Shape { name: "commas", of: |s| ln(s.n_of(b',')) },
    Shape { name: "question marks", of: |s| ln(s.n_of(b'?')) },
    Shape { name: "quotes", of: |s| ln(s.n_of(b'"') + s.n_of(b'\'')) },
    Shape { name: "brackets", of: |s| ln(s.n_of(b'(') + s.n_of(b'[') + s.n_of(b'{')) },
    Shape { name: "dashes", of: |s| ln(s.n_of(b'-') + s.n_of(b'_')) },
    Shape { name: "equals", of: |s| ln(s.n_of(b'=') + s.n_of(b'+') + s.n_of(b'*')) },
    Shape { name: "slashes", of: |s| ln(s.n_of(b'/')) },
    Shape { name: "percent", of: |s| ln(s.n_of(b'%')) },
    Shape { name: "dollars", of: |s| ln(s.n_of(b'$')) },
    Shape { name: "code marks", of: |s| ln(s.n_of(b';') + s.n_of(b'`') + s.n_of(b'<')) },
];

/// One number of a prompt's shape.
#[derive(Debug)]
pub struct Shape {
    /// What it is.
    pub name: &'static str,
    of: fn(&Seen) -> f32,
}

/// A prompt as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Places and their values, each place once; the squares sum to 1 unless there are none.
    pub buckets: Vec<(u32, f32)>,
    /// In the order of [`SHAPES`].
    pub shape: Vec<f32>,
}

/// What one pass over a prompt counts.
struct Seen {
    n_bytes: u32,
    n_words: u32,
    n_distinct: u32,
    n_letters: u32,
    n_numbers: u32,
    n_digits: u32,
    n_capitals: u32,
    n_signs: u32,
    longest_line: u32,
    largest_number: f64,
    ascii: [u32; 128],
}

impl Seen {
    fn n_of(&self, byte: u8) -> u32 {
        self.ascii[usize::from(byte & 127)]
    }
}

fn ln(count: u32) -> f32 {
    (count as f32).ln_1p()
}

fn ratio(part: u32, whole: u32) -> f32 {
    part as f32 / (whole + 1) as f32
}

/// The numbers of `prompt`.
pub fn features(prompt: &str) -> Features {
    let (head, tail) = ends(prompt);
    let mut counts = Counts { of: vec![0; N_BUCKETS], met: Vec::new(), n_words: 0, n_distinct: 0 };
    let mut seen = Seen {
        n_bytes: prompt.len().min(u32::MAX as usize) as u32,
        n_words: 0,
        n_distinct: 0,
        n_letters: 0,
        n_numbers: 0,
        n_digits: 0,
        n_capitals: 0,
        n_signs: 0,
        longest_line: 0,
        largest_number: 0.0,
        ascii: [0; 128],
    };
    for text in [head, tail] {
        read(text, &mut counts, &mut seen);
    }
    (seen.n_words, seen.n_distinct) = (counts.n_words, counts.n_distinct);
    // A place whose count came back to 0 on the way was met twice.
    counts.met.sort_unstable();
    counts.met.dedup();
    let left = counts.met.iter().filter(|&&place| counts.of[place as usize] != 0);
    let mut buckets: Vec<(u32, f32)> = left
        .map(|&place| {
            let count = f32::from(counts.of[place as usize]);
            (place, count.signum() * (1.0 + count.abs().ln()))
        })
        .collect();
    let length = buckets.iter().map(|(_, x)| x * x).sum::<f32>().sqrt();
    buckets.iter_mut().for_each(|(_, x)| *x /= length);
    Features { buckets, shape: SHAPES.iter().map(|shape| (shape.of)(&seen)).collect() }
}

/// The first and the last [`END_BYTES`], without a part twice.
fn ends(prompt: &str) -> (&str, &str) {
    if prompt.len() <= 2 * END_BYTES {
        return (prompt, "");
    }
    let head = prompt.floor_char_boundary(END_BYTES);
    let tail = prompt.ceil_char_boundary(prompt.len() - END_BYTES);
    (&prompt[..head], &prompt[tail..])
}

/// Occurrences by place, with signs.
struct Counts {
    of: Vec<i16>,
    /// Places that were met.
    met: Vec<u32>,
    n_words: u32,
    n_distinct: u32,
}

impl Counts {
    /// Counts one; whether its place was never met.
    fn add(&mut self, hash: u64) -> bool {
        // The low bits of FNV-1a mix least: fold the high half in.
        let hash = hash ^ (hash >> 32);
        let place = hash as usize % N_BUCKETS;
        let count = &mut self.of[place];
        let is_new = *count == 0;
        if is_new {
            self.met.push(place as u32);
        }
        *count = count.saturating_add(if hash & (1 << 20) == 0 { 1 } else { -1 });
        is_new
    }

    /// Counts a word and its pair with the word before.
    fn word(&mut self, hash: u64, before: &mut Option<u64>) {
        self.n_words += 1;
        self.n_distinct += u32::from(self.add(hash));
        if let Some(before) = before.replace(hash) {
            self.add((before.rotate_left(17) ^ hash).wrapping_mul(PRIME));
        }
    }
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

fn fnv(hash: u64, c: char) -> u64 {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// Counts what is in `text`.
fn read(text: &str, counts: &mut Counts, seen: &mut Seen) {
    let (mut word, mut number, mut before, mut line) = (None, None, None, 0);
    // The space behind it ends the last word.
    for c in text.chars().chain([' ']) {
        if c.is_ascii() {
            seen.ascii[c as usize] += 1;
        }
        line = if c == '\n' { 0 } else { line + 1 };
        seen.longest_line = seen.longest_line.max(line);
        match c.to_digit(10) {
            Some(digit) => {
                seen.n_digits += 1;
                number = Some(number.unwrap_or(0.0) * 10.0 + f64::from(digit));
            }
            // A comma or point within a number is part of it as people write it; here it begins another.
            None => {
                if let Some(number) = number.take() {
                    seen.n_numbers += 1;
                    seen.largest_number = seen.largest_number.max(f64::min(number, 1e18));
                }
            }
        }
        if c.is_alphanumeric() {
            seen.n_letters += 1;
            seen.n_capitals += u32::from(c.is_uppercase());
            word = Some(c.to_lowercase().fold(word.unwrap_or(BASIS), fnv));
            continue;
        }
        if let Some(hash) = word.take() {
            counts.word(hash, &mut before);
        }
        if !c.is_whitespace() {
            seen.n_signs += 1;
            counts.word(fnv(BASIS, c), &mut before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(prompt: &str, name: &str) -> f32 {
        let place = SHAPES.iter().position(|s| s.name == name).expect("it is on the shelf");
        features(prompt).shape[place]
    }

    #[test]
    fn words_pairs_and_signs_are_counted() {
        // Words a, b, ?; pairs ab, b?; case does not matter.
        let found = features("A b?");
        assert_eq!(found.buckets.len(), 5);
        assert_eq!(found, Features { shape: found.shape.clone(), ..features("a B?") });
        assert!((found.buckets.iter().map(|(_, x)| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
        // The order of words changes pairs only.
        let turned = features("b a?");
        let same = turned.buckets.iter().filter(|b| found.buckets.iter().any(|f| f.0 == b.0)).count();
        assert_eq!(same, 3);
    }

    #[test]
    fn shapes_are_what_they_are_called() {
        assert_eq!(shape("one 22 333.", "numbers"), 2f32.ln_1p());
        assert_eq!(shape("one 22 333.", "words"), 4f32.ln_1p());
        assert_eq!(shape("7", "numbers"), 1f32.ln_1p());
        assert_eq!(shape("ab\nabcd", "longest line"), 5f32.ln_1p());
        assert_eq!(shape("(a) = $5?", "dollars"), 1f32.ln_1p());
        assert_eq!(shape("x x x", "different words"), 0.25);
    }

    #[test]
    fn empty_long_and_odd_prompts_have_finite_numbers() {
        let long = "\u{1F98A} 9".repeat(100_000);
        let digits = "9".repeat(5_000);
        for prompt in ["", " ", "\0", "\u{130}\u{FB03}", &digits, &long] {
            let found = features(prompt);
            assert!(found.shape.iter().chain(found.buckets.iter().map(|(_, x)| x)).all(|x| x.is_finite()));
            assert_eq!(found.shape.len(), SHAPES.len());
        }
        assert!(features("").buckets.is_empty());
        // What lies between the ends is not read, but counted as bytes.
        let around = |middle: &str| {
            features(&["a ".repeat(END_BYTES / 2), middle.into(), "b ".repeat(END_BYTES / 2)].concat())
        };
        let (one, other) = (around("c "), around("d d d "));
        assert_eq!(one.buckets, other.buckets);
        assert_ne!(one.shape[0], other.shape[0]);
    }
}
