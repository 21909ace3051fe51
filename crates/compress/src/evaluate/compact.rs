//! A reference's log-probabilities in at most 0.6 KB a token, whatever the vocabulary: the compact base.
//!
//! Of each scored position the file keeps the [`N_BEST`] best tokens, the probability of all others together (the tail), and
//! [`N_DRAWN`] tokens drawn from the tail in proportion to their probability. Best tokens and tail give a divergence that is
//! too small by what goes on inside the tail, the more the flatter the model; the drawn tokens say how much that is, without
//! a bias but for what is cut off below. `docs/accuracy.md` has what both are worth.
//!
//! The file: `ingleKB1`; u32 protocol (its place in `PROTOCOLS`), context, vocabulary, windows, best, drawn, bytes of the
//! name; the name of the reference, UTF-8; the windows' ids, u32; a row per scored position; SHA-256 of all before it. All is
//! little-endian. A row is the f32 log-probability of the true token, the tail's logarithm, those of the best tokens in
//! falling order and of the drawn ones, each a u16 of steps of 1/2048 below 0, and their ids with as many bits as the
//! vocabulary needs, the low bits first.
//!
//! So a log-probability is right to 2.5e-4 down to -32, below which nothing weighs, and the divergence between a model and its
//! own file is 3e-8 at most. The draw depends on nothing but the position's number: the same logits give the same bytes.

use ingle_kernel::bytes::Bytes;
use ingle_model::Error;
use sha2::{Digest, Sha256};

use super::divergence::{Position, log_sum_exp, term, top};
use super::protocol::{CTX_MIN, PROTOCOLS, Text};

/// Tokens kept as the best.
pub const N_BEST: usize = 128;
/// Tokens drawn from the rest.
pub const N_DRAWN: usize = 8;

/// What a compact base begins with.
pub const MAGIC: &[u8; 8] = b"ingleKB1";
const N_FIELDS: usize = 7;
const HASH_BYTES: usize = 32;
/// Steps of a log-probability by which it is 1 less.
const STEPS: f64 = 2048.0;
/// Bounds on what a header may claim.
const CTX_MAX: usize = 1 << 24;
const VOCAB_MAX: usize = 1 << 24;
const KEPT_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 1024;
/// Logarithm of the odds above which a drawn token counts as this much. It happens where the model puts far more on a token of the
/// tail than the reference, so that best tokens and tail are far apart already; one rare draw would outweigh all others.
const LOG_ODDS_MAX: f64 = 2.0;

/// What a row holds, which gives its length.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Shape {
    n_vocab: usize,
    n_best: usize,
    n_drawn: usize,
}

impl Shape {
    fn id_bits(&self) -> usize {
        (usize::BITS - (self.n_vocab - 1).leading_zeros()) as usize
    }

    fn n_kept(&self) -> usize {
        self.n_best + self.n_drawn
    }

    fn row_bytes(&self) -> usize {
        4 + 2 + 2 * self.n_kept() + (self.n_kept() * self.id_bits()).div_ceil(8)
    }
}

/// Makes a compact base of a reference's logits.
#[derive(Debug)]
pub struct Writer {
    shape: Shape,
    bytes: Vec<u8>,
    n_rows: u64,
    /// All ids, in any order.
    order: Vec<u32>,
    /// By token: the last row, counted from 1, that has it among its best.
    seen: Vec<u64>,
}

impl Writer {
    /// Begins the base of a reference called `name` on `text`, with `n_best` and `n_drawn` tokens of each position or all
    /// there are.
    ///
    /// # Panics
    /// When `n_vocab` is 0 or a number is beyond what a file may claim.
    pub fn new(text: &Text, n_vocab: usize, name: &str, n_best: usize, n_drawn: usize) -> Self {
        let n_best = n_best.min(n_vocab);
        let shape = Shape { n_vocab, n_best, n_drawn: if n_best == n_vocab { 0 } else { n_drawn } };
        assert!((1..=VOCAB_MAX).contains(&n_vocab) && n_best > 0 && shape.n_kept() <= KEPT_MAX);
        let mut end = name.len().min(NAME_BYTES_MAX);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let protocol = PROTOCOLS.iter().position(|p| *p == text.protocol).expect("a protocol of the shelf");
        let numbers =
            [protocol, text.ctx, n_vocab, text.n_windows(), n_best, shape.n_drawn, end].map(|n| n as u32);
        let mut bytes = MAGIC.to_vec();
        bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(&name.as_bytes()[..end]);
        bytes.extend(text.tokens.iter().flat_map(|id| id.to_le_bytes()));
        bytes.reserve(text.n_scored() * shape.row_bytes() + HASH_BYTES);
        Self { shape, bytes, n_rows: 0, order: (0..n_vocab as u32).collect(), seen: vec![0; n_vocab] }
    }

    /// Adds the next scored position, whose true token is `id`.
    pub fn push(&mut self, logits: &[f32], id: u32) {
        let Shape { n_best, n_drawn, .. } = self.shape;
        let log_sum = log_sum_exp(logits);
        let log_p = |id: u32| f64::from(logits[id as usize]) - log_sum;
        let better = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        if n_best < self.order.len() {
            self.order.select_nth_unstable_by(n_best, better);
        }
        let best = &mut self.order[..n_best];
        best.sort_unstable_by(better);
        self.n_rows += 1;
        best.iter().for_each(|&id| self.seen[id as usize] = self.n_rows);
        let rest = || (0..self.seen.len()).filter(|&id| self.seen[id] != self.n_rows).map(|id| id as u32);
        let tail: f64 = rest().map(|id| log_p(id).exp()).sum();
        let drawn = draw(rest(), tail, n_drawn, uniform(self.n_rows), |id| log_p(id).exp());
        let ids: Vec<u32> = best.iter().copied().chain(drawn).collect();

        let row = self.bytes.len();
        self.bytes.extend((log_p(id) as f32).to_le_bytes());
        self.bytes.extend(steps(tail.ln()).to_le_bytes());
        ids.iter().for_each(|&id| self.bytes.extend(steps(log_p(id)).to_le_bytes()));
        pack(&ids, self.shape.id_bits(), &mut self.bytes);
        debug_assert_eq!(self.bytes.len() - row, self.shape.row_bytes());
    }

    /// The file.
    pub fn finish(mut self) -> Vec<u8> {
        let hash = Sha256::digest(&self.bytes);
        self.bytes.extend(hash);
        self.bytes
    }
}

/// A log-probability as steps below 0; what is no number counts as the least.
fn steps(log_p: f64) -> u16 {
    let steps = (-log_p * STEPS).round();
    if steps.is_nan() { u16::MAX } else { steps.clamp(0.0, f64::from(u16::MAX)) as u16 }
}

/// A number from 0 to 1 that belongs to a position, evenly spread over positions: the splitmix64 of its number.
fn uniform(n: u64) -> f64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Draws `n` of `ids` in proportion to `p`, which adds up to `mass`: at points as far from each other as from the ends, all
/// moved by `offset` of that distance (systematic sampling). A token may be drawn more than once.
fn draw(
    ids: impl Iterator<Item = u32>,
    mass: f64,
    n: usize,
    offset: f64,
    p: impl Fn(u32) -> f64,
) -> Vec<u32> {
    let mut drawn = Vec::with_capacity(n);
    let (mut sum, mut last) = (0.0, 0);
    for id in ids {
        sum += p(id);
        last = id;
        while drawn.len() < n && (drawn.len() as f64 + offset) / (n as f64) * mass < sum {
            drawn.push(id);
        }
        if drawn.len() == n {
            break;
        }
    }
    // Where rounding, or numbers that are none, let the sum end early.
    drawn.resize(n, last);
    drawn
}

/// Appends `ids` of `n_bits` each.
fn pack(ids: &[u32], n_bits: usize, out: &mut Vec<u8>) {
    let (mut held, mut n_held) = (0u64, 0);
    for &id in ids {
        held |= u64::from(id) << n_held;
        n_held += n_bits;
        while n_held >= 8 {
            out.push(held as u8);
            held >>= 8;
            n_held -= 8;
        }
    }
    if n_held > 0 {
        out.push(held as u8);
    }
}

/// Reads ids of `n_bits` each.
fn unpack(bytes: &[u8], n_bits: usize, out: &mut [u32]) {
    let (mut held, mut n_held, mut bytes) = (0u64, 0, bytes.iter());
    for id in out {
        while n_held < n_bits {
            held |= u64::from(bytes.next().copied().unwrap_or(0)) << n_held;
            n_held += 8;
        }
        *id = (held & ((1 << n_bits) - 1)) as u32;
        held >>= n_bits;
        n_held -= n_bits;
    }
}

/// A compact base.
#[derive(Debug, Clone)]
pub struct CompactBase {
    /// Which tokens were scored.
    pub text: Text,
    /// What its reference is called.
    pub name: String,
    shape: Shape,
    file: Bytes,
    /// Where the rows begin.
    rows: usize,
}

impl CompactBase {
    /// Parses a file.
    ///
    /// # Errors
    /// When it is cut short or changed, or its header claims what can't be. A row that lies is refused when it is read.
    pub fn parse(file: Bytes) -> Result<Self, Error> {
        let malformed = |found: String, expected: &str| Error::malformed("compact base", found, expected);
        let Some(rest) = file.strip_prefix(MAGIC) else {
            return Err(malformed(
                "another beginning".into(),
                "ingleKB1 (made by --save-base with --compact)",
            ));
        };
        let short = || malformed(format!("{} bytes", file.len()), "more (is it truncated?)");
        let (fields, _) = rest.split_at_checked(4 * N_FIELDS).ok_or_else(short)?;
        let mut fields = fields.as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b) as usize);
        let mut field = |what: &str, least: usize, most: usize| {
            let n = fields.next().unwrap_or(0);
            let is_in = (least..=most).contains(&n);
            is_in.then_some(n).ok_or_else(|| malformed(format!("{what} {n}"), &format!("{least} to {most}")))
        };
        let protocol = PROTOCOLS[field("protocol", 0, PROTOCOLS.len() - 1)?];
        let ctx = field("context", CTX_MIN, CTX_MAX)?;
        let n_vocab = field("vocabulary", 1, VOCAB_MAX)?;
        let n_windows = field("windows", 1, u32::MAX as usize)?;
        let n_best = field("best tokens", 1, n_vocab.min(KEPT_MAX))?;
        let n_drawn = field("drawn tokens", 0, if n_best == n_vocab { 0 } else { KEPT_MAX - n_best })?;
        let n_name = field("bytes of a name", 0, NAME_BYTES_MAX)?;
        let shape = Shape { n_vocab, n_best, n_drawn };

        // Whatever the header claims, the file must be as long before anything is made of that length.
        let mut text = Text::new(protocol, ctx, Vec::new(), 0);
        let ids_at = MAGIC.len() + 4 * N_FIELDS + n_name;
        let n_ids = n_windows.checked_mul(ctx);
        let rows = n_ids.and_then(|n| n.checked_mul(4)?.checked_add(ids_at));
        let row_bytes =
            n_windows.checked_mul(text.per_window()).and_then(|n| n.checked_mul(shape.row_bytes()));
        let expected = rows.zip(row_bytes).and_then(|(a, b)| a.checked_add(b)?.checked_add(HASH_BYTES));
        let (Some(rows), Some(_)) = (rows, expected.filter(|&n| n == file.len())) else {
            let expected = expected.map_or("fewer tokens".into(), |n| format!("{n} (is it truncated?)"));
            return Err(malformed(format!("{} bytes", file.len()), &expected));
        };
        let (content, hash) = file.split_at(file.len() - HASH_BYTES);
        if Sha256::digest(content)[..] != *hash {
            return Err(malformed("a hash that is not that of the content".into(), "an unchanged file"));
        }
        let name = String::from_utf8_lossy(&content[ids_at - n_name..ids_at]).into_owned();
        text.tokens =
            content[ids_at..rows].as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
        if let Some(id) = text.tokens.iter().find(|&&id| id as usize >= n_vocab) {
            return Err(malformed(format!("token id {id}"), &format!("less than {n_vocab}")));
        }
        Ok(Self { text, name, shape, rows, file })
    }

    /// Tokens of the vocabulary.
    pub fn n_vocab(&self) -> usize {
        self.shape.n_vocab
    }

    /// Compares with models.
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            base: self,
            next: 0,
            ids: vec![0; self.shape.n_kept()],
            log_p: vec![0.0; self.shape.n_kept()],
            seen: vec![0; self.shape.n_vocab],
        }
    }
}

/// Goes through a compact base, position by position.
#[derive(Debug)]
pub struct Reader<'a> {
    base: &'a CompactBase,
    next: usize,
    /// Of the row: the best tokens, then the drawn ones.
    ids: Vec<u32>,
    log_p: Vec<f64>,
    /// By token: the last position, counted from 1, that has it among its best.
    seen: Vec<u32>,
}

impl Reader<'_> {
    /// Compares a model's `logits` `(n_vocab)` with the next position, whose true token is `id`.
    ///
    /// # Errors
    /// When the row has an id outside the vocabulary, a best token twice or a drawn one among the best, or the base has no
    /// more rows.
    pub fn compare(&mut self, logits: &[f32], id: u32) -> Result<Position, Error> {
        let shape = self.base.shape;
        assert_eq!(logits.len(), shape.n_vocab);
        let (true_reference, log_tail) = self.read()?;
        let (best, drawn) = self.ids.split_at(shape.n_best);
        let (log_best, log_drawn) = self.log_p.split_at(shape.n_best);

        // The model's, of the best tokens and of all others: summed apart, so that neither drowns in the other.
        let has_rest = shape.n_best < shape.n_vocab;
        let stamp = self.next as u32;
        let rest = || logits.iter().zip(&self.seen).filter(|&(_, &seen)| seen != stamp).map(|(&l, _)| l);
        let log_rest = if has_rest { log_sum_of(rest) } else { f64::NEG_INFINITY };
        let log_best_sum = log_sum_of(|| best.iter().map(|&id| logits[id as usize]));
        let log_sum = log_rest.max(log_best_sum) + (-(log_rest - log_best_sum).abs()).exp().ln_1p();

        let of_best =
            best.iter().zip(log_best).map(|(&id, &p)| term(p, f64::from(logits[id as usize]) - log_sum));
        let mut kld: f64 = of_best.sum();
        if has_rest {
            kld += term(log_tail, log_rest - log_sum);
        }
        // A tail of nothing, or of nothing to the model, has no inside.
        if log_tail.is_finite() && log_rest.is_finite() {
            let mut inside = 0.0;
            for (&id, &p) in drawn.iter().zip(log_drawn).filter(|&(_, p)| p.is_finite()) {
                // Minus the logarithm is what is averaged; that the odds average 1 takes most of the noise away.
                let log_odds = f64::from(logits[id as usize]) - log_rest - (p - log_tail);
                let log_odds = log_odds.min(LOG_ODDS_MAX);
                inside += log_odds.exp_m1() - log_odds;
            }
            kld += log_tail.exp() * inside / drawn.len().max(1) as f64;
        }
        Ok(Position {
            kld,
            nll: log_sum - f64::from(logits[id as usize]),
            nll_reference: -f64::from(true_reference),
            same_top: top(logits) == best[0],
        })
    }

    /// Reads the next row, and gives the log-probabilities of the true token and of the tail.
    fn read(&mut self) -> Result<(f32, f64), Error> {
        let shape = self.base.shape;
        let malformed = |row: usize, found: String, expected: &str| {
            Err(Error::malformed(format!("compact base, row {row}"), found, expected))
        };
        let at = self.base.rows + self.next * shape.row_bytes();
        if self.next == self.base.text.n_scored() {
            return malformed(self.next, "nothing".into(), "no more rows than scored tokens");
        }
        let row = &self.base.file[at..at + shape.row_bytes()];
        let stamp = (self.next + 1) as u32;
        let (head, rest) = row.split_at(6);
        let (levels, packed) = rest.split_at(2 * shape.n_kept());
        for (p, &level) in self.log_p.iter_mut().zip(levels.as_chunks::<2>().0) {
            *p = log_p(level);
        }
        unpack(packed, shape.id_bits(), &mut self.ids);
        for (i, &id) in self.ids.iter().enumerate() {
            let Some(seen) = self.seen.get_mut(id as usize) else {
                return malformed(
                    self.next,
                    format!("token id {id}"),
                    &format!("less than {}", shape.n_vocab),
                );
            };
            if *seen == stamp {
                return malformed(self.next, format!("token {id} twice"), "each of the best once");
            }
            if i < shape.n_best {
                *seen = stamp;
            }
        }
        let true_reference = f32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if true_reference.is_nan() || true_reference > 0.0 {
            return malformed(self.next, format!("a log-probability of {true_reference}"), "0 or less");
        }
        self.next += 1;
        Ok((true_reference, log_p([head[4], head[5]])))
    }
}

/// The log-probability of so many steps below 0. The most is that or anything less: nothing, as far as it weighs.
fn log_p(level: [u8; 2]) -> f64 {
    match u16::from_le_bytes(level) {
        u16::MAX => f64::NEG_INFINITY,
        steps => -f64::from(steps) / STEPS,
    }
}

/// `ln` of the sum of `e^logit` of what `logits` gives, each time anew.
fn log_sum_of<I: Iterator<Item = f32>>(logits: impl Fn() -> I) -> f64 {
    let max = logits().fold(f32::NEG_INFINITY, f32::max);
    if max == f32::NEG_INFINITY {
        return f64::NEG_INFINITY;
    }
    f64::from(max) + logits().map(|l| f64::from(l - max).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::super::divergence::against;
    use super::super::protocol::HALF;
    use super::*;

    const CTX: usize = 8;

    /// Logits that no two positions have alike, the flatter the smaller `spread`.
    fn logits(n_vocab: usize, seed: u64, spread: f64) -> Vec<f32> {
        let value = |i: usize| {
            let u = uniform(seed * 1_000_003 + i as u64 + 1);
            ((u / (1.0 - u).max(1e-9)).ln() * spread) as f32
        };
        (0..n_vocab).map(value).collect()
    }

    fn text(n_vocab: usize) -> Text {
        let ids = (0..3 * CTX).map(|i| (i * 7 % n_vocab) as u32).collect();
        Text::new(&HALF, CTX, ids, usize::MAX)
    }

    fn file(n_vocab: usize, n_best: usize, n_drawn: usize, spread: f64) -> Vec<u8> {
        let text = text(n_vocab);
        let mut writer = Writer::new(&text, n_vocab, "the reference", n_best, n_drawn);
        for i in 0..text.n_scored() {
            writer.push(&logits(n_vocab, i as u64, spread), 1);
        }
        writer.finish()
    }

    fn parse(file: &[u8]) -> Result<CompactBase, Error> {
        CompactBase::parse(Bytes::new(file.to_vec()))
    }

    fn log_softmax(logits: &[f32]) -> Vec<f32> {
        let sum = log_sum_exp(logits);
        logits.iter().map(|&l| (f64::from(l) - sum) as f32).collect()
    }

    /// Tokens that can't come have a logit of minus infinity in both.
    #[test]
    fn impossible_tokens_do_not_count() {
        for n_vocab in [20, 400] {
            let text = text(n_vocab);
            let mut writer = Writer::new(&text, n_vocab, "", N_BEST, N_DRAWN);
            let mut row = logits(n_vocab, 1, 2.0);
            row[3..n_vocab / 2].fill(f32::NEG_INFINITY);
            (0..text.n_scored()).for_each(|_| writer.push(&row, 1));
            let base = parse(&writer.finish()).unwrap();
            let position = base.reader().compare(&row, 1).unwrap();
            assert!((0.0..1e-7).contains(&position.kld), "{position:?}");
            let mut reader = base.reader();
            row.fill(f32::NEG_INFINITY);
            row[3] = 0.0;
            assert_eq!(reader.compare(&row, 1).unwrap().kld, f64::INFINITY);
        }
    }

    #[test]
    fn a_small_vocabulary_is_kept_whole() {
        let base = parse(&file(20, 128, 8, 2.0)).unwrap();
        assert_eq!((base.name.as_str(), base.n_vocab()), ("the reference", 20));
        assert_eq!(base.text, text(20));
        let mut reader = base.reader();
        for i in 0..base.text.n_scored() as u64 {
            let (reference, model) = (logits(20, i, 2.0), logits(20, i + 100, 2.0));
            let got = reader.compare(&model, 1).unwrap();
            let [sum, model_sum] = [&reference, &model].map(|l| log_sum_exp(l));
            let want: f64 = reference
                .iter()
                .zip(&model)
                .map(|(&p, &q)| term(f64::from(p) - sum, f64::from(q) - model_sum))
                .sum();
            assert!((got.kld - want).abs() < 1e-3 * want, "{got:?} {want:?}");
            assert_eq!(got.same_top, top(&reference) == top(&model));
            assert_eq!(got.nll_reference, f64::from((sum - f64::from(reference[1])) as f32));
            assert!((got.nll - (model_sum - f64::from(model[1]))).abs() < 1e-9);
        }
        assert!(reader.compare(&logits(20, 0, 2.0), 1).unwrap_err().to_string().contains("no more rows"));
    }

    #[test]
    fn a_model_does_not_diverge_from_its_own_file() {
        for (n_vocab, spread) in [(1000, 1.0), (1000, 6.0), (140, 30.0), (128, 1.0)] {
            let base = parse(&file(n_vocab, N_BEST, N_DRAWN, spread)).unwrap();
            let mut reader = base.reader();
            for i in 0..base.text.n_scored() as u64 {
                let position = reader.compare(&logits(n_vocab, i, spread), 1).unwrap();
                assert!((0.0..1e-7).contains(&position.kld) && position.same_top, "{n_vocab}: {position:?}");
            }
        }
    }

    /// What is drawn makes good what the tail hides: over many positions the mean is the exact one.
    #[test]
    fn drawn_tokens_say_what_goes_on_in_the_tail() {
        const VOCAB: usize = 2000;
        let ids = vec![0; 8 * 512];
        let text = Text::new(&HALF, 512, ids, usize::MAX);
        let (mut with, mut without) =
            (Writer::new(&text, VOCAB, "", N_BEST, N_DRAWN), Writer::new(&text, VOCAB, "", N_BEST, 0));
        for i in 0..text.n_scored() as u64 {
            let reference = logits(VOCAB, i, 1.0);
            with.push(&reference, 0);
            without.push(&reference, 0);
        }
        let (with, without) = (parse(&with.finish()).unwrap(), parse(&without.finish()).unwrap());
        let (mut with, mut without) = (with.reader(), without.reader());
        let (mut exact, mut full, mut lean) = (0.0, 0.0, 0.0);
        for i in 0..text.n_scored() as u64 {
            let reference = logits(VOCAB, i, 1.0);
            let noise = logits(VOCAB, i + 1_000_000, 0.1);
            let model: Vec<f32> = reference.iter().zip(&noise).map(|(a, b)| a + b).collect();
            let log_p = log_softmax(&reference);
            exact += against(&model, &log_p, 0, log_p[0]).kld;
            full += with.compare(&model, 0).unwrap().kld;
            lean += without.compare(&model, 0).unwrap().kld;
        }
        assert!(lean < 0.8 * exact, "the tail matters here: {} of it is told", lean / exact);
        assert!((full / exact - 1.0).abs() < 0.02, "{}", full / exact);
    }

    #[test]
    fn rows_keep_to_their_budget() {
        for n_vocab in [32_000, 128_256, 151_936, 262_144] {
            let shape = Shape { n_vocab, n_best: N_BEST, n_drawn: N_DRAWN };
            // A row, and the ids of the scored token and of one before it that is not.
            assert!(shape.row_bytes() + 8 <= 600, "{n_vocab}: {}", shape.row_bytes() + 8);
        }
        let shape = Shape { n_vocab: 32_000, n_best: N_BEST, n_drawn: N_DRAWN };
        assert!(100_000 * (shape.row_bytes() + 9) <= 60_000_000);
    }

    #[test]
    fn ids_are_packed_and_unpacked() {
        for n_bits in [1usize, 4, 7, 15, 18, 24] {
            let ids: Vec<u32> = (0..19u64).map(|i| (uniform(i) * (1u64 << n_bits) as f64) as u32).collect();
            let mut bytes = Vec::new();
            pack(&ids, n_bits, &mut bytes);
            assert_eq!(bytes.len(), (19 * n_bits).div_ceil(8));
            let mut back = vec![0; ids.len()];
            unpack(&bytes, n_bits, &mut back);
            assert_eq!(back, ids);
        }
    }

    /// Changes bytes and makes the hash right again, as somebody would who means harm.
    fn forge(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut file = file[..file.len() - HASH_BYTES].to_vec();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let hash = Sha256::digest(&file);
        file.extend(hash);
        file
    }

    #[test]
    fn hostile_files_are_refused_in_a_sentence() {
        let good = file(300, 4, 2, 2.0);
        let refused = |bytes: Vec<u8>, said: &str| {
            let error = parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        };
        refused(Vec::new(), "ingleKB1");
        refused(b"_logits_and more".to_vec(), "ingleKB1");
        refused(good[..20].to_vec(), "is it truncated?");
        refused(good[..good.len() / 2].to_vec(), "is it truncated?");
        let mut changed = good.clone();
        changed[100] ^= 1;
        refused(changed, "hash");
        let field = |i: usize, n: u32| forge(&good, 8 + 4 * i, &n.to_le_bytes());
        refused(field(0, 9), "protocol 9");
        refused(field(1, 3), "context 3");
        refused(field(1, u32::MAX), "context");
        refused(field(2, 0), "vocabulary 0");
        refused(field(3, 0), "windows 0");
        refused(field(3, u32::MAX), "bytes");
        refused(field(4, 301), "best tokens 301");
        refused(field(5, u32::MAX), "drawn tokens");
        refused(field(6, 1 << 20), "bytes of a name");
        refused(forge(&good, 8 + 4 * N_FIELDS + 13, &300u32.to_le_bytes()), "token id 300");

        let base = parse(&good).unwrap();
        let ids_at = base.rows + 6 + 2 * 6;
        let row = |at: usize, bytes: &[u8], said: &str| {
            let forged = parse(&forge(&good, at, bytes)).unwrap();
            let error = forged.reader().compare(&logits(300, 0, 2.0), 1).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        };
        row(ids_at, &[0xff; 2], "token id 511");
        row(ids_at, &[0; 4], "token 0 twice");
        // A tail of nothing from which something was drawn.
        let forged = parse(&forge(&good, base.rows + 4, &[0xff; 2])).unwrap();
        let mut model = [f32::NEG_INFINITY; 300];
        model[0] = 0.0;
        assert!(!forged.reader().compare(&model, 0).unwrap().kld.is_nan());
        row(base.rows, &f32::NAN.to_le_bytes(), "NaN");
        row(base.rows, &1f32.to_le_bytes(), "0 or less");
    }
}
