//! Activations in the form a weight format's dot product takes.
//!
//! A matrix input is quantised once and read by every matrix that shares it (q, k and v; gate and up). There is one
//! form per weight format and the form of a row depends on that row alone, so a token's numbers never depend on its
//! neighbours in the batch.
//!
//! Integers lie as kernels read them: the tokens of a group, as many as a kernel multiplies at once, beside each other for
//! every 32 columns. So a kernel walks through one stretch of memory however many tokens it takes.
//!
//! A row with a NaN or infinity becomes a row whose scales are NaN or infinite: bad numbers travel on to the logits, where
//! they are reported, instead of being rounded to something that looks fine.

use std::ops::Range;

use crate::par::{Disjoint, Pool};

/// How values are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Untouched f32.
    F32,
    /// int8 with one f32 scale per 32 values.
    Q8x32,
    /// int8 with one f32 scale per 256 values.
    Q8x256,
    /// int8 with one f32 scale per 32 values, for superblocks of 256 weights: what they take where more is to be kept of the input.
    Q8x32Of256,
}

impl Act {
    /// Values per scale; rows are a multiple of it.
    pub const fn block(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Q8x32 | Self::Q8x32Of256 => 32,
            Self::Q8x256 => 256,
        }
    }
}

/// What a kernel takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// How values are rounded.
    pub act: Act,
    /// The most tokens of a group.
    pub group: usize,
    /// The same of [`MANY_TOKENS`] or more.
    pub group_of_many: usize,
}

/// From so many tokens on groups may be larger.
pub const MANY_TOKENS: usize = 32;

impl Form {
    /// Every token on its own.
    pub const fn rows(act: Act) -> Self {
        Self::groups(act, 1)
    }

    /// Groups of `most` tokens.
    pub const fn groups(act: Act, most: usize) -> Self {
        Self { act, group: most, group_of_many: most }
    }

    /// The form that keeps more of the input, of kernels that have one; else the same.
    pub const fn finer(self) -> Self {
        match self.act {
            Act::Q8x256 => Self::groups(Act::Q8x32Of256, self.group),
            Act::F32 | Act::Q8x32 | Act::Q8x32Of256 => self,
        }
    }
}

/// One token's activations, from groups of one. Which slices are filled depends on the [`Act`]: `f` for `F32`, the others
/// otherwise.
#[derive(Debug, Clone, Copy)]
pub struct ActRow<'a> {
    /// f32 values. `(dim)`
    pub f: &'a [f32],
    /// int8 values. `(dim)`
    pub q: &'a [i8],
    /// Scales. `(dim / block)`
    pub d: &'a [f32],
    /// Of every 32 int8 values their sum; for superblocks the sums of both halves, an i16 each. `(dim / 32)`
    pub sums: &'a [i32],
}

impl<'a> ActRow<'a> {
    /// What meets each superblock of weights: its values, their sums, and one scale or one per 32 values.
    pub(crate) fn supers(self) -> impl Iterator<Item = (&'a [i8; 256], &'a [i32; 8], &'a [f32])> {
        let (q, sums) = (self.q.as_chunks().0, self.sums.as_chunks().0);
        let d = self.d.chunks_exact(self.d.len() / q.len().max(1));
        q.iter().zip(sums).zip(d).map(|((q, sums), d)| (q, sums, d))
    }
}

/// The quantised activations of some tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    /// How many.
    pub n: usize,
    /// `(dim / 32, n, 32)`
    pub q: &'a [i8],
    /// `(dim / block, n)`
    pub d: &'a [f32],
    /// `(dim / 32, n)`
    pub sums: &'a [i32],
}

/// The inverse of [`halves`].
#[inline(always)]
fn pair([low, high]: [i32; 2]) -> i32 {
    low & 0xffff | high << 16
}

/// Of an entry of [`ActRow::sums`] the sums of the first 16 values and of the other 16.
#[inline(always)]
pub(crate) fn halves(sums: i32) -> [i32; 2] {
    [i32::from(sums as i16), sums >> 16]
}

/// Room for the activations of one matrix input in every form, reused from step to step.
#[derive(Debug, Default)]
pub struct Acts {
    form: Option<Form>,
    n_tokens: usize,
    dim: usize,
    f: Vec<f32>,
    q: Vec<i8>,
    d: Vec<f32>,
    sums: Vec<i32>,
}

/// Tokens from which on it pays to wake other threads.
const TOKENS_TO_SHARE: usize = 8;

impl Acts {
    /// Room for `n_tokens` rows of up to `dim` values, so that later steps allocate nothing.
    pub fn with_capacity(n_tokens: usize, dim: usize) -> Self {
        let n = n_tokens * dim;
        Self {
            f: vec![0.0; n],
            q: vec![0; n],
            d: vec![0.0; n.div_ceil(32)],
            sums: vec![0; n.div_ceil(32)],
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
    pub fn form(&self) -> Form {
        self.form.expect("activations are set before they are read")
    }

    /// Makes `x` `(n_tokens, dim)` readable in `form`. Grows only beyond the capacity it was made with.
    ///
    /// # Panics
    /// When `x` is not whole rows of whole blocks.
    pub fn set(&mut self, pool: &Pool, form: Form, x: &[f32], dim: usize, quantize_row: QuantizeRow) {
        let act = form.act;
        assert!(dim > 0 && x.len().is_multiple_of(dim), "whole rows of {dim}");
        assert!(dim.is_multiple_of(act.block()), "rows of {dim} values in blocks of {}", act.block());
        (self.form, self.n_tokens, self.dim) = (Some(form), x.len() / dim, dim);
        if act == Act::F32 {
            grow(&mut self.f, x.len());
            self.f[..x.len()].copy_from_slice(x);
            return;
        }
        grow(&mut self.q, x.len());
        grow(&mut self.d, x.len() / act.block());
        grow(&mut self.sums, x.len() / 32);
        let groups = self.groups();
        let (q, d, sums) =
            (Disjoint::new(&mut self.q), Disjoint::new(&mut self.d), Disjoint::new(&mut self.sums));
        let set_group = |i: usize| {
            let tokens = groups.tokens(i..i + 1);
            let at = |per: usize| (tokens.start * dim / per, tokens.len() * dim / per);
            let ((q_at, n_q), (d_at, n_d), (sums_at, n_sums)) = (at(1), at(act.block()), at(32));
            // SAFETY: what belongs to a group's tokens belongs to its task alone.
            let q = unsafe { q.part(q_at, n_q) };
            // SAFETY: the same.
            let d = unsafe { d.part(d_at, n_d) };
            // SAFETY: the same.
            let sums = unsafe { sums.part(sums_at, n_sums) };
            for (t, x) in x[q_at..q_at + n_q].chunks_exact(dim).enumerate() {
                quantize_row(act, x, (t, tokens.len()), q, d, sums);
            }
        };
        if self.n_tokens < TOKENS_TO_SHARE {
            (0..groups.len()).for_each(set_group);
        } else {
            pool.run(groups.len(), |i, _| set_group(i));
        }
    }

    fn groups(&self) -> Groups {
        Groups::new(self.form(), self.n_tokens)
    }

    /// The most tokens of a group held.
    pub(crate) fn group_max(&self) -> usize {
        self.groups().most
    }

    /// Number of groups held.
    pub(crate) fn n_groups(&self) -> usize {
        self.groups().len()
    }

    /// The tokens of some groups.
    pub(crate) fn tokens(&self, groups: Range<usize>) -> Range<usize> {
        self.groups().tokens(groups)
    }

    /// Group `i` of quantised activations.
    pub(crate) fn group(&self, i: usize) -> Group<'_> {
        let tokens = self.tokens(i..i + 1);
        let at = |per: usize| tokens.start * self.dim / per..tokens.end * self.dim / per;
        Group {
            n: tokens.len(),
            q: &self.q[at(1)],
            d: &self.d[at(self.form().act.block())],
            sums: &self.sums[at(32)],
        }
    }

    /// Row `t`.
    ///
    /// # Panics
    /// When it is quantised and lies in a group with others.
    pub fn row(&self, t: usize) -> ActRow<'_> {
        let act = self.form().act;
        if act == Act::F32 {
            return ActRow { f: &self.f[t * self.dim..(t + 1) * self.dim], q: &[], d: &[], sums: &[] };
        }
        assert_eq!(self.group_max(), 1, "rows lie apart in groups of one");
        let Group { q, d, sums, .. } = self.group(t);
        ActRow { f: &[], q, d, sums }
    }
}

/// Tokens in groups of at most `most`, as equal as can be.
#[derive(Debug, Clone, Copy)]
struct Groups {
    n_tokens: usize,
    most: usize,
}

impl Groups {
    fn new(form: Form, n_tokens: usize) -> Self {
        Self { n_tokens, most: if n_tokens < MANY_TOKENS { form.group } else { form.group_of_many } }
    }

    fn len(self) -> usize {
        self.n_tokens.div_ceil(self.most)
    }

    fn tokens(self, groups: Range<usize>) -> Range<usize> {
        let n = self.len().max(1);
        groups.start * self.n_tokens / n..groups.end * self.n_tokens / n
    }
}

/// Quantises a row as token `t` of a group of `n`: `(act, x, (t, n), q, d, sums)` with the group's integers, scales and sums.
pub type QuantizeRow = fn(Act, &[f32], (usize, usize), &mut [i8], &mut [f32], &mut [i32]);

fn grow<T: Clone + Default>(v: &mut Vec<T>, n: usize) {
    if v.len() < n {
        v.resize(n, T::default());
    }
}

/// The quantisation itself; every tier compiles this same code, so all agree to the bit.
///
/// Per block: `d = max|x| / 127`, `q = x / d` rounded to nearest even.
#[inline(always)]
pub(crate) fn quantize(
    act: Act,
    x: &[f32],
    place: (usize, usize),
    q: &mut [i8],
    d: &mut [f32],
    sums: &mut [i32],
) {
    match act {
        Act::F32 => unreachable!("f32 activations are copied, not quantised"),
        Act::Q8x32 => quantize_blocks::<32>(x, place, q, d, sums, |[low, high]| low + high),
        Act::Q8x256 => quantize_blocks::<256>(x, place, q, d, sums, pair),
        Act::Q8x32Of256 => quantize_blocks::<32>(x, place, q, d, sums, pair),
    }
}

#[inline(always)]
fn quantize_blocks<const BLOCK: usize>(
    x: &[f32],
    (t, n): (usize, usize),
    q: &mut [i8],
    d: &mut [f32],
    sums: &mut [i32],
    sum_of: impl Fn([i32; 2]) -> i32,
) {
    let mut q = q.as_chunks_mut::<32>().0[t..].iter_mut().step_by(n);
    let mut sums = sums[t..].iter_mut().step_by(n);
    for (x, d) in x.as_chunks::<BLOCK>().0.iter().zip(d[t..].iter_mut().step_by(n)) {
        // On magnitudes the order of the bit patterns is the order of the values, with NaN above infinity.
        let largest = x.iter().fold(0, |m: u32, v| m.max(v.to_bits() & 0x7fff_ffff));
        let scale = f32::from_bits(largest) / 127.0;
        let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
        *d = scale;
        for ((x, q), sum) in x.as_chunks::<32>().0.iter().zip(&mut q).zip(&mut sums) {
            let mut wide = [0; 32];
            for (wide, &x) in wide.iter_mut().zip(x) {
                *wide = round(x * inverse);
            }
            for (q, &wide) in q.iter_mut().zip(&wide) {
                *q = wide as i8;
            }
            // Of a NaN or an infinity only the lowest byte counts.
            let mut sums = [0; 2];
            for (sum, half) in sums.iter_mut().zip(wide.as_chunks::<16>().0) {
                for &wide in half {
                    *sum += i32::from(wide as i8);
                }
            }
            *sum = sum_of(sums);
        }
    }
}

/// Nearest even for |v| <= 127.5: adding 1.5 * 2^23 leaves the integer in the mantissa's low bits.
#[inline(always)]
fn round(v: f32) -> i32 {
    ((v + 12_582_912.0).to_bits() as i32).wrapping_sub(0x4b40_0000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_lose_at_most_half_a_step_of_their_block_and_sums_are_theirs() {
        let (n_tokens, dim) = (3, 512);
        // Of very different sizes: the cube of a pattern that has no period in a row.
        let x: Vec<f32> = (0..n_tokens * dim).map(|i| (i as f32 * 1.3).sin().powi(3) * 20.0).collect();
        for act in [Act::Q8x32, Act::Q8x256, Act::Q8x32Of256] {
            let mut acts = Acts::default();
            acts.set(&Pool::new(2), Form::rows(act), &x, dim, quantize);
            for (t, x) in x.chunks(dim).enumerate() {
                let row = acts.row(t);
                assert_eq!(row.d.len(), dim / act.block());
                for ((x, q), &d) in x.chunks(act.block()).zip(row.q.chunks(act.block())).zip(row.d) {
                    let step = x.iter().fold(0f32, |m, v| m.max(v.abs())) / 127.0;
                    for (x, &q) in x.iter().zip(q) {
                        let lost = (x - f32::from(q) * d).abs();
                        assert!(lost <= step * 0.5001, "{act:?}: {x} lost {lost:e} of steps of {step:e}");
                    }
                }
                for (q, &sums) in row.q.as_chunks::<32>().0.iter().zip(row.sums) {
                    let of = |q: &[i8]| q.iter().map(|&q| i32::from(q)).sum::<i32>();
                    match act {
                        Act::Q8x32 => assert_eq!(sums, of(q)),
                        _ => assert_eq!(halves(sums), [of(&q[..16]), of(&q[16..])]),
                    }
                }
            }
        }
    }
}
