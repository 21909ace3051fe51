//! A block as whole numbers: what most formats unpack to, and the decoding and the dot product they share.
//!
//! A format's file says where its bits lie (`unpack`); the arithmetic on the unpacked block is here, once. A SIMD kernel
//! that brings its own unpacking multiplies the same integers and so finds the same sums.

use crate::acts::{ActRow, halves};
use crate::half::{f16_to_f32, f32_to_f16};

/// `N` values, a multiple of 32, of one scale: value `k` is `d * q[k]`, or `d * q[k] + m` for formats with an offset.
#[derive(Debug)]
pub(crate) struct Block<const N: usize> {
    pub d: f32,
    pub m: f32,
    pub q: [i8; N],
}

/// 256 values in 16 groups of 16: value `16 j + i` is `d * sc[j] * q[16 j + i]`, less `dmin * m[j]` for formats with minima.
#[derive(Debug)]
pub(crate) struct Super {
    pub d: f32,
    pub dmin: f32,
    pub sc: [i16; 16],
    pub m: [u8; 16],
    pub q: [i8; 256],
}

impl Super {
    /// A block without minima.
    #[inline(always)]
    pub fn symmetric(d: f32, sc: [i16; 16], q: [i8; 256]) -> Self {
        Self { d, dmin: 0.0, sc, m: [0; 16], q }
    }
}

/// The f16 at `at`.
#[inline(always)]
pub(super) fn f16(block: &[u8], at: usize) -> f32 {
    f16_to_f32(word(block, at))
}

/// Puts `v` as f16 at `at`.
#[inline(always)]
pub(super) fn put_f16(block: &mut [u8], at: usize, v: f32) {
    block[at..][..2].copy_from_slice(&f32_to_f16(v).to_le_bytes());
}

/// The little-endian 16-bit word at `at`.
#[inline(always)]
pub(super) fn word(block: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(*block[at..].first_chunk().expect("2 bytes"))
}

/// The little-endian 32-bit word at `at`.
#[inline(always)]
pub(super) fn word32(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*block[at..].first_chunk().expect("4 bytes"))
}

/// Decodes blocks of one scale.
#[inline(always)]
pub(super) fn dequantize<const B: usize, const N: usize>(
    blocks: &[u8],
    out: &mut [f32],
    unpack: impl Fn(&[u8; B]) -> Block<N>,
) {
    for (block, out) in blocks.as_chunks().0.iter().zip(out.as_chunks_mut::<N>().0) {
        let b = unpack(block);
        *out = b.q.map(|q| b.d * f32::from(q));
    }
}

/// Decodes blocks of one scale and one offset.
#[inline(always)]
pub(super) fn dequantize_offset<const B: usize, const N: usize>(
    blocks: &[u8],
    out: &mut [f32],
    unpack: impl Fn(&[u8; B]) -> Block<N>,
) {
    for (block, out) in blocks.as_chunks().0.iter().zip(out.as_chunks_mut::<N>().0) {
        let b = unpack(block);
        *out = b.q.map(|q| b.d * f32::from(q) + b.m);
    }
}

/// Decodes superblocks, with minima or without (`x - 0.0` is `x`).
#[inline(always)]
pub(super) fn dequantize_super<const B: usize>(
    blocks: &[u8],
    out: &mut [f32],
    unpack: impl Fn(&[u8; B]) -> Super,
) {
    for (block, out) in blocks.as_chunks().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let b = unpack(block);
        for (j, (out, q)) in out.as_chunks_mut::<16>().0.iter_mut().zip(b.q.as_chunks::<16>().0).enumerate() {
            let (scale, min) = (b.d * f32::from(b.sc[j]), b.dmin * f32::from(b.m[j]));
            *out = q.map(|q| scale * f32::from(q) - min);
        }
    }
}

/// `acc + isum * d * a_d`: the first product is rounded, then the rest at once.
#[inline(always)]
pub(super) fn add_term(acc: f32, isum: i32, d: f32, a_d: f32) -> f32 {
    (isum as f32 * d).mul_add(a_d, acc)
}

/// The dot product of blocks of one scale.
#[inline(always)]
pub(super) fn dot<const B: usize, const N: usize>(
    w: &[u8],
    a: ActRow<'_>,
    unpack: impl Fn(&[u8; B]) -> Block<N>,
) -> f32 {
    let mut acc = 0.0;
    let a_blocks = a.q.as_chunks::<N>().0.iter().zip(a.d.chunks_exact(N / 32));
    for (block, (a_q, a_d)) in w.as_chunks().0.iter().zip(a_blocks) {
        let b = unpack(block);
        for ((q, a_q), &a_d) in b.q.as_chunks::<32>().0.iter().zip(a_q.as_chunks::<32>().0).zip(a_d) {
            acc = add_term(acc, products(q, a_q), b.d, a_d);
        }
    }
    acc
}

/// The dot product of blocks of 32 with one scale and one offset.
#[inline(always)]
pub(super) fn dot_offset<const B: usize>(
    w: &[u8],
    a: ActRow<'_>,
    unpack: impl Fn(&[u8; B]) -> Block<32>,
) -> f32 {
    let mut acc = 0.0;
    let a_blocks = a.q.as_chunks::<32>().0.iter().zip(a.sums).zip(a.d);
    for (block, ((a_q, &sum), &a_d)) in w.as_chunks().0.iter().zip(a_blocks) {
        let b = unpack(block);
        acc = add_term(acc, products(&b.q, a_q), b.d, a_d);
        acc = add_term(acc, sum, b.m, a_d);
    }
    acc
}

/// The dot product of superblocks without minima.
#[inline(always)]
pub(super) fn dot_super<const B: usize>(w: &[u8], a: ActRow<'_>, unpack: impl Fn(&[u8; B]) -> Super) -> f32 {
    let mut acc = 0.0;
    for (block, (a_q, _, a_d)) in w.as_chunks().0.iter().zip(a.supers()) {
        let b = unpack(block);
        acc = add_super(acc, super_products(&b, a_q), b.d, a_d);
    }
    acc
}

/// The dot product of superblocks with minima.
#[inline(always)]
pub(super) fn dot_super_minima<const B: usize>(
    w: &[u8],
    a: ActRow<'_>,
    unpack: impl Fn(&[u8; B]) -> Super,
) -> f32 {
    let mut acc = 0.0;
    for (block, (a_q, a_sums, a_d)) in w.as_chunks().0.iter().zip(a.supers()) {
        let b = unpack(block);
        acc = add_super(acc, super_products(&b, a_q), b.d, a_d);
        let mut taken = a_sums.map(halves);
        for (sums, m) in taken.iter_mut().zip(b.m.as_chunks::<2>().0) {
            *sums = std::array::from_fn(|i| -i32::from(m[i]) * sums[i]);
        }
        acc = add_super(acc, taken.map(|[low, high]| low + high), b.dmin, a_d);
    }
    acc
}

/// Adds a superblock's sums of 32 products each: the sum of all where one scale is common to them, else each with its own.
#[inline(always)]
fn add_super(acc: f32, isums: [i32; 8], d: f32, a_d: &[f32]) -> f32 {
    if let [a_d] = *a_d {
        return add_term(acc, isums.iter().sum(), d, a_d);
    }
    let all = isums.iter().zip(a_d).fold(0.0, |all, (&isum, a_d)| (isum as f32).mul_add(*a_d, all));
    f32::mul_add(all, d, acc)
}

/// The exact sums of every 32 products, group scales included.
#[inline(always)]
fn super_products(b: &Super, a_q: &[i8; 256]) -> [i32; 8] {
    let (q, a_q) = (b.q.as_chunks::<16>().0, a_q.as_chunks::<16>().0);
    let group = |j: usize| i32::from(b.sc[j]) * products(&q[j], &a_q[j]);
    std::array::from_fn(|i| group(2 * i) + group(2 * i + 1))
}

/// The 32 four-bit numbers of 16 bytes: the low halves, then the high halves.
#[inline(always)]
pub(super) fn nibbles(bytes: &[u8; 16]) -> [i8; 32] {
    let mut q = [0; 32];
    let (low, high) = q.split_at_mut(16);
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        (*low, *high) = ((byte & 15) as i8, (byte >> 4) as i8);
    }
    q
}

/// The inverse of [`nibbles`].
#[inline(always)]
pub(super) fn pack_nibbles(q: [u8; 32], bytes: &mut [u8; 16]) {
    for (j, byte) in bytes.iter_mut().enumerate() {
        *byte = q[j] | q[j + 16] << 4;
    }
}

/// `8 * G` values from `G` runs of 8, the first in the lowest byte.
#[inline(always)]
pub(super) fn put_runs<const G: usize>(q: &mut [i8], runs: [u64; G]) {
    for (q, run) in q.as_chunks_mut::<8>().0.iter_mut().zip(runs) {
        *q = run.to_le_bytes().map(|byte| byte as i8);
    }
}

/// 256 values from runs of `N`, first to last.
#[inline(always)]
pub(super) fn runs<const N: usize>(run: impl Fn(usize) -> [i8; N]) -> [i8; 256] {
    let mut q = [0; 256];
    for (i, q) in q.as_chunks_mut::<N>().0.iter_mut().enumerate() {
        *q = run(i);
    }
    q
}

/// 256 values from groups of 4 runs of 8, first to last.
#[inline(always)]
pub(super) fn groups(group: impl Fn(usize) -> [u64; 4]) -> [i8; 256] {
    let mut q = [0; 256];
    for (g, q) in q.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        put_runs(q, group(g));
    }
    q
}

/// The sums of eight bytes each, without what would be carried.
#[inline(always)]
pub(super) fn add_bytes(a: u64, b: u64) -> u64 {
    const UPMOST: u64 = 0x8080_8080_8080_8080;
    ((a & !UPMOST) + (b & !UPMOST)) ^ ((a ^ b) & UPMOST)
}

/// The exact sum of products.
#[inline(always)]
pub(super) fn products<const N: usize>(q: &[i8; N], a_q: &[i8; N]) -> i32 {
    q.iter().zip(a_q).map(|(&q, &a)| i32::from(q) * i32::from(a)).sum()
}
