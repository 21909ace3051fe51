//! RWKV's World vocabulary: the longest token that begins where the last one ended.
//!
//! Tokens are bytes, written as the inside of a Python literal.

use super::vocab::Indexed;
use super::{Encoder, Scratch};

/// A model of this kind.
#[derive(Debug)]
pub struct Rwkv {
    /// The longest token.
    pub token_bytes_max: usize,
    /// Stands for a byte that no token begins with; without it that vanishes.
    pub unknown: Option<u32>,
}

impl Encoder for Rwkv {
    fn encode(&self, vocab: &Indexed, piece: &str, _: &mut Scratch, out: &mut Vec<u32>) {
        let mut left = piece.as_bytes();
        while !left.is_empty() {
            let lengths = (1..=left.len().min(self.token_bytes_max)).rev();
            let found = lengths.filter_map(|n| Some((n, vocab.find(&left[..n])?))).next();
            out.extend(found.map(|(_, id)| id).or(self.unknown));
            left = &left[found.map_or(1, |(n, _)| n)..];
        }
    }
}

/// Appends the bytes that the inside of a Python literal stands for; what is no escape stands for itself.
pub fn write_unescaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = || {
            let digits = text.get(at + 2..at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()
        };
        let (byte, n) = match (bytes[at], bytes.get(at + 1)) {
            (b'\\', Some(b't')) => (b'\t', 2),
            (b'\\', Some(b'n')) => (b'\n', 2),
            (b'\\', Some(b'r')) => (b'\r', 2),
            (b'\\', Some(b'x')) => hex().map_or((b'x', 2), |byte| (byte, 4)),
            (b'\\', Some(&other)) => (other, 2),
            (other, _) => (other, 1),
        };
        out.push(byte);
        at += n;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_become_bytes() {
        let mut out = Vec::new();
        write_unescaped(r"a\n\x e\\\xe6\x97\'é\", &mut out);
        assert_eq!(out, b"a\nx e\\\xe6\x97'\xc3\xa9\\");
    }
}
