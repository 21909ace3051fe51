//! Ids to text, one at a time, never half a character.
//!
//! A token may end inside a character; its bytes wait until the next token completes them. Bytes that can't become valid
//! UTF-8 whatever follows come out as U+FFFD, the same number of them as `String::from_utf8_lossy` gives for the whole.

use std::sync::Arc;

use super::{Kind, Tokenizer};

/// Whether control tokens show in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Render {
    /// They write nothing.
    Text,
    /// They write their name: `<|im_end|>`.
    Special,
}

/// Where the ids stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// They are a whole text: the space that encoding put before its first word goes again.
    Start,
    /// They continue another text.
    Continuation,
}

/// A stream of ids becoming text. Allocates nothing itself, but for the first token of vocabularies in which that is written
/// in a way of its own.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    render: Render,
    /// Tokens that write their names whatever `render` says.
    shown: Arc<[u32]>,
    /// The next text loses one leading space.
    trims: bool,
    /// No token has been seen that writes.
    is_first: bool,
    /// A space that is written when something follows.
    holds_space: bool,
    /// The beginning of a character, `held[..n_held]`.
    held: [u8; 4],
    n_held: usize,
}

impl Detokenizer {
    /// A stream that has seen nothing yet.
    pub fn new(render: Render, place: Place) -> Self {
        let at_start = place == Place::Start;
        Self {
            render,
            shown: Arc::default(),
            trims: at_start,
            is_first: at_start,
            holds_space: false,
            held: [0; 4],
            n_held: 0,
        }
    }

    /// This stream, in which the tokens `ids` write their names: those that mean something to who reads the text. Looked through
    /// for every token.
    #[must_use]
    pub fn showing(self, ids: Arc<[u32]>) -> Self {
        Self { shown: ids, ..self }
    }

    /// Appends what `id` completes. An id outside the vocabulary writes U+FFFD.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32, out: &mut String) {
        let shows = self.render == Render::Special || self.shown.contains(&id);
        let bytes = if shows { tokenizer.token_name(id) } else { tokenizer.token_bytes(id) };
        let Some(mut bytes) = bytes else {
            self.flush(out);
            return out.push(char::REPLACEMENT_CHARACTER);
        };
        let decoder = tokenizer.decoder();
        if self.holds_space && !bytes.is_empty() {
            self.holds_space = false;
            self.push_bytes(b" ", out);
        }
        let is_silent = !shows && tokenizer.kind(id) == Some(Kind::Control);
        let first_bytes;
        if self.is_first && !is_silent {
            self.is_first = false;
            if decoder.first_differs() {
                first_bytes = tokenizer.first_bytes(id);
                bytes = &first_bytes;
            }
        }
        if self.trims && !bytes.is_empty() {
            self.trims = false;
            if decoder.trims_space() && tokenizer.kind(id) != Some(Kind::Control) {
                bytes = bytes.strip_prefix(b" ").unwrap_or(bytes);
            }
        }
        if decoder.holds_space
            && let Some(shorter) = bytes.strip_suffix(b" ")
        {
            self.holds_space = true;
            bytes = shorter;
        }
        self.push_bytes(bytes, out);
    }

    /// Appends the text that `bytes` complete.
    pub fn push_bytes(&mut self, mut bytes: &[u8], out: &mut String) {
        while self.n_held > 0 {
            let Some((&byte, rest)) = bytes.split_first() else { return };
            self.held[self.n_held] = byte;
            match std::str::from_utf8(&self.held[..=self.n_held]) {
                Ok(text) => {
                    out.push_str(text);
                    self.n_held = 0;
                }
                Err(e) if e.error_len().is_none() => self.n_held += 1,
                // What was held can't go on with this byte, which may itself begin a character.
                Err(_) => {
                    self.flush(out);
                    break;
                }
            }
            bytes = rest;
        }
        while !bytes.is_empty() {
            match std::str::from_utf8(bytes) {
                Ok(text) => return out.push_str(text),
                Err(e) => {
                    let (valid, rest) = bytes.split_at(e.valid_up_to());
                    out.push_str(std::str::from_utf8(valid).expect("it is valid up to there"));
                    let Some(n_bad) = e.error_len() else {
                        self.held[..rest.len()].copy_from_slice(rest);
                        self.n_held = rest.len();
                        return;
                    };
                    out.push(char::REPLACEMENT_CHARACTER);
                    bytes = &rest[n_bad..];
                }
            }
        }
    }

    /// Whether a character is waiting for its rest.
    pub fn is_waiting(&self) -> bool {
        self.n_held > 0
    }

    /// At the end: an unfinished character comes out as U+FFFD.
    pub fn flush(&mut self, out: &mut String) {
        if self.n_held > 0 {
            out.push(char::REPLACEMENT_CHARACTER);
            self.n_held = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut detokenizer = Detokenizer::new(Render::Text, Place::Continuation);
        let mut out = String::new();
        for part in parts {
            detokenizer.push_bytes(part, &mut out);
        }
        detokenizer.flush(&mut out);
        out
    }

    #[test]
    fn splits_anywhere_give_the_whole() {
        let text = "naïve 日本語 🙂 \u{10ffff} e\u{301}".as_bytes();
        for i in 0..=text.len() {
            assert_eq!(stream([&text[..i], &text[i..]]).as_bytes(), text);
        }
        assert_eq!(stream(text.chunks(1)).as_bytes(), text);
    }

    #[test]
    fn never_emits_half_a_character() {
        let mut detokenizer = Detokenizer::new(Render::Text, Place::Continuation);
        let mut out = String::new();
        for byte in &"🙂".as_bytes()[..3] {
            detokenizer.push_bytes(&[*byte], &mut out);
            assert_eq!(out, "");
        }
        detokenizer.push_bytes(&"🙂".as_bytes()[3..], &mut out);
        assert_eq!(out, "🙂");
    }

    #[test]
    fn broken_bytes_come_out_as_lossy_decoding_gives_them() {
        // Bytes from the edges of UTF-8's table: continuations, leads, overlong and surrogate prefixes.
        const EDGES: &[u8] = &[b'a', 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0x9f, 0xf0, 0x90, 0xf4, 0x8f, 0xff];
        let mut state = 3u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..6)
                .map(|_| {
                    state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    EDGES[(state >> 40) as usize % EDGES.len()]
                })
                .collect();
            let whole = String::from_utf8_lossy(&bytes);
            assert_eq!(stream(bytes.chunks(1)), whole);
            assert_eq!(stream(bytes.chunks(4)), whole);
        }
    }
}
