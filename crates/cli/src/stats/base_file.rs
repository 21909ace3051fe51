//! The file of a base model's log-probabilities, in llama.cpp's format, so that either program can read the other's.
//!
//! `_logits_`, then little-endian 32-bit context, vocabulary and number of windows, the windows' token ids, and for each
//! scored position a row: f32 `scale`, f32 `min`, and a u16 per token of the vocabulary, padded to an even number. A
//! log-probability is `scale * u16 + min`; those more than 16 below the best are cut off there. We add, behind the rows,
//! where llama.cpp does not look, `_trueln_` and the f32 log-probability of each position's true token, uncut.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::divergence::log_sum_exp;

const MAGIC: &[u8; 8] = b"_logits_";
const TRUE_MAGIC: &[u8; 8] = b"_trueln_";
/// Log-probabilities further below the best than this are not kept.
const RANGE: f32 = 16.0;
/// Bounds on what a header may claim.
const CTX_MAX: u32 = 1 << 24;
const VOCAB_MAX: u32 = 1 << 24;

/// What stands before the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Tokens per window.
    pub ctx: usize,
    /// Tokens of the vocabulary.
    pub n_vocab: usize,
    /// `n_windows * ctx` ids.
    pub tokens: Vec<u32>,
}

impl Header {
    /// Windows.
    pub fn n_windows(&self) -> usize {
        self.tokens.len() / self.ctx
    }

    /// Positions scored: the second half of each window, less its first.
    pub fn n_scored(&self) -> usize {
        self.n_windows() * (self.ctx - 1 - self.ctx / 2)
    }

    /// Writes it.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(MAGIC)?;
        for n in [self.ctx, self.n_vocab, self.n_windows()] {
            out.write_all(&(n as u32).to_le_bytes())?;
        }
        self.tokens.iter().try_for_each(|id| out.write_all(&id.to_le_bytes()))
    }

    /// Reads it. The outer error is the system's, the inner one says what is wrong with the content.
    pub fn read(input: &mut impl Read) -> io::Result<Result<Self, String>> {
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Ok(Err(format!("begins with {magic:02x?}, expected _logits_ (made by --save-base)")));
        }
        let [ctx, n_vocab, n_windows] = [read_u32(input)?, read_u32(input)?, read_u32(input)?];
        if !(4..=CTX_MAX).contains(&ctx) || !(1..=VOCAB_MAX).contains(&n_vocab) || n_windows == 0 {
            return Ok(Err(format!("{n_windows} windows of {ctx} tokens of a vocabulary of {n_vocab}")));
        }
        // Grows with what is really there, whatever the header claims.
        let mut tokens = Vec::new();
        for _ in 0..u64::from(n_windows) * u64::from(ctx) {
            let id = read_u32(input)?;
            if id >= n_vocab {
                return Ok(Err(format!("token id {id} of a vocabulary of {n_vocab}")));
            }
            tokens.push(id);
        }
        Ok(Ok(Self { ctx: ctx as usize, n_vocab: n_vocab as usize, tokens }))
    }
}

fn read_u32(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// Writes the true tokens' log-probabilities, after the last row.
pub fn write_true(log_probabilities: &[f32], out: &mut impl Write) -> io::Result<()> {
    out.write_all(TRUE_MAGIC)?;
    log_probabilities.iter().try_for_each(|p| out.write_all(&p.to_le_bytes()))
}

/// Reads them and comes back to the first row, where `input` must stand; `None` where another program wrote the file.
pub fn read_true(header: &Header, input: &mut (impl Read + Seek)) -> io::Result<Option<Vec<f32>>> {
    let rows = input.stream_position()?;
    let n = header.n_scored() as u64;
    let end = rows.saturating_add(n.saturating_mul(row_bytes(header.n_vocab) as u64));
    let expected = end.saturating_add(8 + 4 * n);
    let mut found = None;
    if input.seek(SeekFrom::End(0))? == expected {
        input.seek(SeekFrom::Start(end))?;
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        found = bytes
            .strip_prefix(TRUE_MAGIC)
            .map(|floats| floats.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect());
    }
    input.seek(SeekFrom::Start(rows))?;
    Ok(found)
}

fn row_bytes(n_vocab: usize) -> usize {
    8 + 2 * n_vocab.next_multiple_of(2)
}

/// Writes the row of one position.
pub fn write_row(logits: &[f32], out: &mut impl Write) -> io::Result<()> {
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for &l in logits {
        low = low.min(l);
        high = high.max(l);
    }
    let low = low.max(high - RANGE);
    let scale = (high - low) / 65535.0;
    out.write_all(&scale.to_le_bytes())?;
    out.write_all(&((f64::from(low) - log_sum_exp(logits)) as f32).to_le_bytes())?;
    for &l in logits {
        let level = if l > low && scale > 0.0 { ((l - low) / scale).round() as u16 } else { 0 };
        out.write_all(&level.to_le_bytes())?;
    }
    if logits.len() % 2 == 1 {
        out.write_all(&[0; 2])?;
    }
    Ok(())
}

/// Reads the row of one position as log-probabilities. `out` `(n_vocab)`
pub fn read_row(input: &mut impl Read, bytes: &mut Vec<u8>, out: &mut [f32]) -> io::Result<()> {
    bytes.resize(row_bytes(out.len()), 0);
    input.read_exact(bytes)?;
    let (head, levels) = bytes.split_at(8);
    let float = |b: &[u8]| f32::from_le_bytes(b.try_into().expect("four bytes"));
    let (scale, min) = (float(&head[..4]), float(&head[4..]));
    for (out, level) in out.iter_mut().zip(levels.chunks_exact(2)) {
        *out = scale * f32::from(u16::from_le_bytes([level[0], level[1]])) + min;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_within_half_a_level() {
        for logits in [vec![1.0f32, 2.0, 3.5], vec![0.0; 4], vec![-40.0, 0.0, 5.0, 4.0, 1.0]] {
            let mut file = Vec::new();
            write_row(&logits, &mut file).unwrap();
            assert_eq!(file.len(), 8 + 2 * logits.len().next_multiple_of(2));
            let mut back = vec![0.0; logits.len()];
            read_row(&mut &file[..], &mut Vec::new(), &mut back).unwrap();
            for (l, b) in logits.iter().zip(&back) {
                let want = f64::from(*l) - log_sum_exp(&logits);
                assert!(want < -16.0 || (want - f64::from(*b)).abs() < 16.0 / 65535.0, "{want} {b}");
            }
        }
    }

    #[test]
    fn headers_come_back() {
        let header = Header { ctx: 4, n_vocab: 9, tokens: vec![1, 2, 3, 4, 5, 6, 7, 8] };
        let mut file = Vec::new();
        header.write(&mut file).unwrap();
        assert_eq!(Header::read(&mut &file[..]).unwrap().unwrap(), header);
    }

    #[test]
    fn true_tokens_come_back_and_may_be_missing() {
        let header = Header { ctx: 4, n_vocab: 3, tokens: vec![0, 1, 2, 0] };
        let mut file = Vec::new();
        header.write(&mut file).unwrap();
        write_row(&[1.0, 2.0, 3.0], &mut file).unwrap();
        let read = |file: &[u8]| {
            let mut input = io::Cursor::new(file);
            let header = Header::read(&mut input).unwrap().unwrap();
            let found = read_true(&header, &mut input).unwrap();
            read_row(&mut input, &mut Vec::new(), &mut [0.0; 3]).unwrap();
            found
        };
        assert_eq!(read(&file), None);
        write_true(&[-20.5], &mut file).unwrap();
        assert_eq!(read(&file), Some(vec![-20.5]));
    }

    #[test]
    fn hostile_headers_are_refused() {
        let said = |bytes: &[u8]| Header::read(&mut &bytes[..]);
        assert!(said(b"GGUF").is_err());
        assert!(said(b"_nothing").unwrap().unwrap_err().contains("expected _logits_"));
        let header = |ctx: u32, vocab: u32, n: u32, rest: &[u8]| {
            let numbers = [ctx, vocab, n].into_iter().flat_map(u32::to_le_bytes);
            MAGIC.iter().copied().chain(numbers).chain(rest.iter().copied()).collect::<Vec<u8>>()
        };
        assert!(said(&header(0, 1, 1, &[])).unwrap().is_err());
        assert!(said(&header(u32::MAX, 1, 1, &[])).unwrap().is_err());
        assert!(said(&header(1 << 24, 10, u32::MAX, &[0; 64])).is_err()); // claims far more than is there
        assert!(said(&header(4, 2, 1, &[9; 16])).unwrap().is_err()); // an id outside the vocabulary
    }
}
