//! SentencePiece's table of rewritings, as models carry it (`precompiled_charsmap`).
//!
//! The blob is a length, a double-array trie of that many bytes (Kanda 2018; entries of 32 bits: value or offset, a flag for a
//! leaf, the label) from what is written to an offset, and at these offsets the texts to write, each closed by a zero. It comes
//! from a file, so every step is checked; a walk is never longer than the text.

use unicode_segmentation::UnicodeSegmentation;

use crate::error::{Error, Result};

/// The table.
#[derive(Debug)]
pub struct Charsmap {
    trie: Vec<u32>,
    texts: String,
}

impl Charsmap {
    /// Reads the blob; `part` is where it stands.
    ///
    /// # Errors
    /// [`Error::Malformed`] when the trie is longer than the blob or the texts are not UTF-8.
    pub fn parse(part: &str, blob: &[u8]) -> Result<Self> {
        let cut = |expected: &str| Error::malformed(part, format!("{} bytes", blob.len()), expected);
        let (size, rest) = blob.split_first_chunk::<4>().ok_or_else(|| cut("a length and a trie"))?;
        let size = u32::from_le_bytes(*size) as usize / 4 * 4;
        let (trie, texts) =
            rest.split_at_checked(size).ok_or_else(|| cut(&format!("a trie of {size} bytes and texts")))?;
        let texts = String::from_utf8(texts.to_vec())
            .map_err(|_| Error::malformed(part, "texts that are not UTF-8", "UTF-8"))?;
        let trie = trie.as_chunks::<4>().0.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect();
        Ok(Self { trie, texts })
    }

    /// The rewritten text as the tokenizers library has it: graphemes of at most five bytes and, where there is none for
    /// them, their characters; of entries that match the shortest counts. `None` where nothing changes.
    pub fn by_grapheme(&self, text: &str) -> Option<String> {
        let (mut out, mut changed) = (String::with_capacity(text.len()), false);
        for grapheme in text.graphemes(true) {
            if grapheme.len() < 6
                && let Some(written) = self.first(grapheme)
            {
                out.push_str(written);
                changed = true;
                continue;
            }
            for (at, c) in grapheme.char_indices() {
                match self.first(&grapheme[at..at + c.len_utf8()]) {
                    Some(written) => {
                        out.push_str(written);
                        changed = true;
                    }
                    None => out.push(c),
                }
            }
        }
        changed.then_some(out)
    }

    /// The rewritten text as SentencePiece has it: the longest entry at every place.
    pub fn by_longest(&self, text: &str) -> String {
        let (mut out, mut left) = (String::with_capacity(text.len()), text);
        while let Some(c) = left.chars().next() {
            let n = match self.longest(left) {
                Some((n, written)) if left.is_char_boundary(n) => {
                    out.push_str(written);
                    n
                }
                _ => {
                    out.push(c);
                    c.len_utf8()
                }
            };
            left = &left[n..];
        }
        out
    }

    fn first(&self, text: &str) -> Option<&str> {
        self.matches(text).next().map(|(_, written)| written)
    }

    fn longest(&self, text: &str) -> Option<(usize, &str)> {
        self.matches(text).last()
    }

    /// The entries that `text` begins with, shortest first: their lengths and what to write.
    fn matches(&self, text: &str) -> impl Iterator<Item = (usize, &str)> {
        let unit = |at: usize| self.trie.get(at).copied();
        let offset = |unit: u32| (unit as usize >> 10) << ((unit & (1 << 9)) >> 6);
        let mut node = unit(0).map(offset);
        let steps = text.bytes().enumerate().map_while(move |(i, byte)| {
            let at = node? ^ usize::from(byte);
            let here = unit(at).filter(|here| byte != 0 && here & (1 << 31 | 0xff) == u32::from(byte))?;
            let child = at ^ offset(here);
            node = Some(child);
            let is_leaf = here >> 8 & 1 == 1;
            Some(is_leaf.then(|| unit(child)).flatten().map(|value| (i + 1, value & !(1 << 31))))
        });
        steps.flatten().filter_map(|(n, value)| {
            let from = self.texts.get(value as usize..)?;
            Some((n, &from[..from.find('\0').unwrap_or(from.len())]))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trie of one entry: "a" is written "bc". The root's offset is 0, so the node of `a` is unit 0x61.
    fn one_entry() -> Vec<u8> {
        let mut trie = vec![0u32; 256];
        let child = 0x61 ^ 0x80;
        trie[0x61] = 0x80 << 10 | 1 << 8 | 0x61;
        trie[child] = 1 << 31;
        let mut blob = (trie.len() as u32 * 4).to_le_bytes().to_vec();
        blob.extend(trie.iter().flat_map(|unit| unit.to_le_bytes()));
        blob.extend(b"bc\0");
        blob
    }

    #[test]
    fn an_entry_is_written_instead() {
        let map = Charsmap::parse("map", &one_entry()).unwrap();
        assert_eq!(map.by_grapheme("xaé"), Some("xbcé".into()));
        assert_eq!(map.by_grapheme("xé"), None);
        assert_eq!(map.by_longest("aa<\0"), "bcbc<\0");
    }

    #[test]
    fn broken_blobs_are_refused_or_harmless() {
        for n in 0..4 {
            assert!(Charsmap::parse("map", &vec![0; n]).unwrap_err().to_string().contains("a length"));
        }
        assert!(Charsmap::parse("map", &[255; 12]).unwrap_err().to_string().contains("a trie of 4294967292"));
        let whole = one_entry();
        let mut state = 9u64;
        for _ in 0..20_000 {
            let mut blob = whole.clone();
            for _ in 0..4 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let at = 4 + (state >> 33) as usize % (blob.len() - 4);
                blob[at] ^= 1 << (state >> 60 & 7);
            }
            if let Ok(map) = Charsmap::parse("map", &blob) {
                let text = "abc aéß\u{ff01} \u{10ffff}";
                map.by_longest(text);
                map.by_grapheme(text);
            }
        }
    }
}
