//! A reference's log-probabilities in full, in llama.cpp's format, so that either program can read the other's.
//!
//! `_logits_`, then little-endian 32-bit context, vocabulary and number of windows, the windows' token ids, and for each
//! scored position a row: f32 `scale`, f32 `min`, and a u16 per token of the vocabulary, padded to an even number. A
//! log-probability is `scale * u16 + min`; those more than 16 below the best are cut off there. We add, behind the rows,
//! where llama.cpp does not look, `_trueln_` and the f32 log-probability of each position's true token, uncut. The format
//! knows one protocol, [`HALF`]. Files are long, 2 bytes a token of the vocabulary for each position, so they are streamed.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::divergence::{Position, against, log_sum_exp, nll};
use super::protocol::{HALF, Text};

/// What such a file begins with.
pub const MAGIC: &[u8; 8] = b"_logits_";
const TRUE_MAGIC: &[u8; 8] = b"_trueln_";
/// Log-probabilities further below the best than this are not kept.
const RANGE: f32 = 16.0;
/// Bounds on what a header may claim.
const CTX_MAX: u32 = 1 << 24;
const VOCAB_MAX: u32 = 1 << 24;

/// Writes a reference's rows.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    true_tokens: Vec<f32>,
}

impl<W: Write> Writer<W> {
    /// Begins a file for `text`, which must be cut by [`HALF`].
    pub fn begin(text: &Text, n_vocab: usize, mut out: W) -> io::Result<Self> {
        out.write_all(MAGIC)?;
        for n in [text.ctx, n_vocab, text.n_windows()] {
            out.write_all(&(n as u32).to_le_bytes())?;
        }
        text.tokens.iter().try_for_each(|id| out.write_all(&id.to_le_bytes()))?;
        Ok(Self { out, true_tokens: Vec::new() })
    }

    /// Adds the next scored position, whose true token is `id`.
    pub fn push(&mut self, logits: &[f32], id: u32) -> io::Result<()> {
        self.true_tokens.push(-nll(logits, id) as f32);
        write_row(logits, &mut self.out)
    }

    /// Adds the true tokens, and gives what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.out.write_all(TRUE_MAGIC)?;
        self.true_tokens.iter().try_for_each(|p| self.out.write_all(&p.to_le_bytes()))?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads a reference's rows.
#[derive(Debug)]
pub struct Reader<R> {
    /// Which tokens were scored.
    pub text: Text,
    n_vocab: usize,
    input: R,
    /// Of each position's true token, where the file has them.
    true_tokens: Option<std::vec::IntoIter<f32>>,
    bytes: Vec<u8>,
    row: Vec<f32>,
}

impl<R: Read + Seek> Reader<R> {
    /// Reads what stands before the rows. The outer error is the system's, the inner one says what is wrong with the content.
    pub fn begin(mut input: R) -> io::Result<Result<Self, String>> {
        let (text, n_vocab) = match read_header(&mut input)? {
            Ok(header) => header,
            Err(said) => return Ok(Err(said)),
        };
        let true_tokens = read_true(&text, n_vocab, &mut input)?.map(Vec::into_iter);
        Ok(Ok(Self { text, n_vocab, input, true_tokens, bytes: Vec::new(), row: Vec::new() }))
    }

    /// Tokens of the vocabulary.
    pub fn n_vocab(&self) -> usize {
        self.n_vocab
    }

    /// Compares a model's `logits` `(n_vocab)` with the next position, whose true token is `id`.
    pub fn compare(&mut self, logits: &[f32], id: u32) -> io::Result<Position> {
        assert_eq!(logits.len(), self.n_vocab);
        self.row.resize(self.n_vocab, 0.0);
        read_row(&mut self.input, &mut self.bytes, &mut self.row)?;
        let of_true = self.true_tokens.as_mut().and_then(Iterator::next);
        Ok(against(logits, &self.row, id, of_true.unwrap_or(self.row[id as usize])))
    }
}

/// The text and the size of the vocabulary.
fn read_header(input: &mut impl Read) -> io::Result<Result<(Text, usize), String>> {
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
    Ok(Ok((Text::new(&HALF, ctx as usize, tokens, usize::MAX), n_vocab as usize)))
}

fn read_u32(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

/// The true tokens' log-probabilities, from behind the rows; then `input` stands at the first row again. `None` where another
/// program wrote the file.
fn read_true(text: &Text, n_vocab: usize, input: &mut (impl Read + Seek)) -> io::Result<Option<Vec<f32>>> {
    let rows = input.stream_position()?;
    let n = text.n_scored() as u64;
    let end = rows.saturating_add(n.saturating_mul(row_bytes(n_vocab) as u64));
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
fn write_row(logits: &[f32], out: &mut impl Write) -> io::Result<()> {
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
fn read_row(input: &mut impl Read, bytes: &mut Vec<u8>, out: &mut [f32]) -> io::Result<()> {
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
    fn files_come_back_with_true_tokens_or_without() {
        let text = Text::new(&HALF, 4, vec![0, 1, 2, 0], usize::MAX);
        let mut writer = Writer::begin(&text, 3, Vec::new()).unwrap();
        // The true token is far below where rows are cut off.
        let logits = [-20.0, 2.0, 3.0];
        writer.push(&logits, 0).unwrap();
        let file = writer.finish().unwrap();
        let read = |file: &[u8]| {
            let mut reader = Reader::begin(io::Cursor::new(file.to_vec())).unwrap().unwrap();
            assert_eq!((&reader.text, reader.n_vocab()), (&text, 3));
            let position = reader.compare(&logits, 0).unwrap();
            assert!(position.kld.abs() < 1e-6 && position.same_top);
            assert!(reader.compare(&logits, 0).is_err(), "there is one row");
            position.nll_reference - position.nll
        };
        assert!(read(&file).abs() < 1e-5);
        // llama.cpp's file ends with the rows.
        assert!((read(&file[..file.len() - 12]) + 7.0).abs() < 1e-3);
    }

    #[test]
    fn hostile_headers_are_refused() {
        let said = |bytes: &[u8]| read_header(&mut &bytes[..]);
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
