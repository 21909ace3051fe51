//! A text to be found in a stream of bytes, by Knuth-Morris-Pratt: time linear in the stream, whatever the text.

/// One text and how much of it the end of the stream matches.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Box<[u8]>,
    /// `fallback[n]`: how much still matches when the byte after `n` matched ones differs.
    fallback: Box<[usize]>,
    matched: usize,
}

impl Pattern {
    /// Looks for `text`, which must not be empty.
    pub fn new(text: &str) -> Self {
        assert!(!text.is_empty(), "an empty text is everywhere");
        let text: Box<[u8]> = text.as_bytes().into();
        let mut fallback = vec![0; text.len() + 1].into_boxed_slice();
        let mut n = 0;
        for i in 1..text.len() {
            while n > 0 && text[i] != text[n] {
                n = fallback[n];
            }
            n += usize::from(text[i] == text[n]);
            fallback[i + 1] = n;
        }
        Self { text, fallback, matched: 0 }
    }

    /// Takes the next byte; `true` when the text is complete with it.
    pub fn advance(&mut self, byte: u8) -> bool {
        self.matched = self.step(self.matched, byte);
        self.matched == self.text.len()
    }

    /// How many of `bytes` complete the text, were they next.
    pub fn completes_in(&self, bytes: &[u8]) -> Option<usize> {
        let mut matched = self.matched;
        let completes = |&byte: &u8| {
            matched = self.step(matched, byte);
            matched == self.text.len()
        };
        bytes.iter().position(completes).map(|i| i + 1)
    }

    /// How much matches with `byte` behind `matched` bytes.
    fn step(&self, matched: usize, byte: u8) -> usize {
        let mut matched = if matched == self.text.len() { self.fallback[matched] } else { matched };
        while matched > 0 && self.text[matched] != byte {
            matched = self.fallback[matched];
        }
        matched + usize::from(self.text[matched] == byte)
    }

    /// Bytes at the end of the stream that the text begins with.
    pub fn matched(&self) -> usize {
        self.matched
    }

    /// Bytes of the text.
    pub fn n_bytes(&self) -> usize {
        self.text.len()
    }

    /// Forgets the stream.
    pub fn reset(&mut self) {
        self.matched = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_occurrence_is_found_overlapping_ones_too() {
        for (text, stream, ends) in [
            ("aa", "aaa", vec![2, 3]),
            ("aba", "ababa", vec![3, 5]),
            ("x", "yxxy", vec![2, 3]),
            ("ab", "ba", vec![]),
        ] {
            let mut pattern = Pattern::new(text);
            let found: Vec<usize> =
                stream.bytes().zip(1..).filter(|&(b, _)| pattern.advance(b)).map(|(_, end)| end).collect();
            assert_eq!(found, ends, "{text} in {stream}");
            assert_eq!(Pattern::new(text).completes_in(stream.as_bytes()), ends.first().copied());
        }
    }
}
