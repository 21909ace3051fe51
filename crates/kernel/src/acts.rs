//! Activations in the form a weight format's dot product takes.
//!
//! A matrix input is quantised once and read by every matrix that shares it (q, k and v; gate and up). There is one
//! form per weight format and the form of a row depends on that row alone, so a token's numbers never depend on its
//! neighbours in the batch.
//!
//! A row with a NaN or infinity becomes a row whose scales are NaN or infinite: bad numbers travel on to the logits, where
//! they are reported, instead of being rounded to something that looks fine.

/// The forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Untouched f32.
    F32,
    /// int8 with one f32 scale per 32 values and their sum.
    Q8x32,
    /// int8 with one f32 scale per 256 values and the sums of each 16.
    Q8x256,
}

impl Act {
    /// Values per scale; rows are a multiple of it.
    pub const fn block(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Q8x32 => 32,
            Self::Q8x256 => 256,
        }
    }

    /// Values per entry of [`ActRow::sums`]; 0 when the form has none.
    pub const fn sum_block(self) -> usize {
        match self {
            Self::F32 => 0,
            Self::Q8x32 => 32,
            Self::Q8x256 => 16,
        }
    }
}

/// One token's activations. Which slices are filled depends on the [`Act`]: `f` for `F32`, the others otherwise.
#[derive(Debug, Clone, Copy)]
pub struct ActRow<'a> {
    /// f32 values. `(dim)`
    pub f: &'a [f32],
    /// int8 values. `(dim)`
    pub q: &'a [i8],
    /// Scales. `(dim / block)`
    pub d: &'a [f32],
    /// Sums of the int8 values. `(dim / sum_block)`
    pub sums: &'a [i16],
}

/// Room for the activations of one matrix input in every form, reused from step to step.
#[derive(Debug, Default)]
pub struct Acts {
    act: Option<Act>,
    n_tokens: usize,
    dim: usize,
    f: Vec<f32>,
    q: Vec<i8>,
    d: Vec<f32>,
    sums: Vec<i16>,
}

impl Acts {
    /// Room for `n_tokens` rows of up to `dim` values, so that later steps allocate nothing.
    pub fn with_capacity(n_tokens: usize, dim: usize) -> Self {
        let n = n_tokens * dim;
        Self {
            f: vec![0.0; n],
            q: vec![0; n],
            d: vec![0.0; n.div_ceil(32)],
            sums: vec![0; n.div_ceil(16)],
            ..Self::default()
        }
    }

    /// Number of rows held.
    pub fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Values per row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The form held.
    ///
    /// # Panics
    /// Before the first [`Acts::set`].
    pub fn act(&self) -> Act {
        self.act.expect("activations are set before they are read")
    }

    /// Makes `x` `(n_tokens, dim)` readable in the form `act`. Grows only beyond the capacity it was made with.
    pub fn set(&mut self, act: Act, x: &[f32], dim: usize, quantize_row: QuantizeRow) {
        assert!(dim > 0 && x.len().is_multiple_of(dim), "whole rows of {dim}");
        assert!(dim.is_multiple_of(act.block()), "rows of {dim} values in blocks of {}", act.block());
        (self.act, self.n_tokens, self.dim) = (Some(act), x.len() / dim, dim);
        if act == Act::F32 {
            grow(&mut self.f, x.len());
            self.f[..x.len()].copy_from_slice(x);
            return;
        }
        let (n_d, n_sums) = (x.len() / act.block(), x.len() / act.sum_block());
        grow(&mut self.q, x.len());
        grow(&mut self.d, n_d);
        grow(&mut self.sums, n_sums);
        quantize_row(act, x, &mut self.q[..x.len()], &mut self.d[..n_d], &mut self.sums[..n_sums]);
    }

    /// Row `t`.
    pub fn row(&self, t: usize) -> ActRow<'_> {
        let (act, n) = (self.act(), self.dim);
        let at = |len: usize| t * len..(t + 1) * len;
        if act == Act::F32 {
            return ActRow { f: &self.f[at(n)], q: &[], d: &[], sums: &[] };
        }
        ActRow {
            f: &[],
            q: &self.q[at(n)],
            d: &self.d[at(n / act.block())],
            sums: &self.sums[at(n / act.sum_block())],
        }
    }
}

/// Quantises whole rows: `(act, x, q, d, sums)`. Rows may be given together, blocks do not cross them.
pub type QuantizeRow = fn(Act, &[f32], &mut [i8], &mut [f32], &mut [i16]);

fn grow<T: Clone + Default>(v: &mut Vec<T>, n: usize) {
    if v.len() < n {
        v.resize(n, T::default());
    }
}

/// The quantisation itself; every tier compiles this same code, so all agree to the bit.
///
/// Per block: `d = max|x| / 127`, `q = x / d` rounded to nearest even.
#[inline(always)]
pub(crate) fn quantize(act: Act, x: &[f32], q: &mut [i8], d: &mut [f32], sums: &mut [i16]) {
    match act {
        Act::F32 => unreachable!("f32 activations are copied, not quantised"),
        Act::Q8x32 => quantize_blocks::<32, 32>(x, q, d, sums),
        Act::Q8x256 => quantize_blocks::<256, 16>(x, q, d, sums),
    }
}

#[inline(always)]
fn quantize_blocks<const BLOCK: usize, const SUM: usize>(
    x: &[f32],
    q: &mut [i8],
    d: &mut [f32],
    sums: &mut [i16],
) {
    let blocks = x.as_chunks::<BLOCK>().0.iter().zip(q.as_chunks_mut::<BLOCK>().0).zip(d.iter_mut());
    for ((x, q), d) in blocks {
        // On magnitudes the order of the bit patterns is the order of the values, with NaN above infinity.
        let largest = x.iter().fold(0, |m: u32, v| m.max(v.to_bits() & 0x7fff_ffff));
        let scale = f32::from_bits(largest) / 127.0;
        let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        *d = scale;
        for (q, &x) in q.iter_mut().zip(x) {
            *q = round_i8(x * inverse);
        }
    }
    for (sum, q) in sums.iter_mut().zip(q.as_chunks::<SUM>().0) {
        *sum = q.iter().map(|&v| i16::from(v)).sum();
    }
}

/// Nearest even for |v| <= 127.5: adding 1.5 * 2^23 leaves the integer in the mantissa's low bits.
#[inline(always)]
fn round_i8(v: f32) -> i8 {
    ((v + 12_582_912.0).to_bits() as i32 - 0x4b40_0000) as i8
}
