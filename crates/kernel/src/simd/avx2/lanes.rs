//! Eight lanes in a register, with or without VNNI.
//!
//! Without it, products of unsigned weights and signed activations are added in pairs to i16 (`vpmaddubsw`), several until an
//! i16 is full, and widened then; in superblocks the widening multiplies with the scale at no cost. Weights of eight bits go
//! in as magnitudes, their signs to the activations: two products of 128 x 127 just fit.

use std::arch::x86_64::*;

use crate::simd::lanes::{Lanes, Rows};

/// That this CPU has the tier's features, AVX-VNNI among them where `VNNI`.
#[derive(Clone, Copy)]
pub struct Avx<const VNNI: bool>(());

impl Avx<false> {
    /// To be had in functions with the features only.
    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    pub fn new() -> Self {
        Self(())
    }
}

impl Avx<true> {
    /// To be had in functions with the features only.
    #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
    #[inline]
    pub fn new() -> Self {
        Self(())
    }
}

/// An instruction of the tier.
macro_rules! op {
    ($e:expr) => {
        // SAFETY: `self` says that the CPU has the instruction.
        unsafe { $e }
    };
}

impl<const VNNI: bool> Lanes for Avx<VNNI> {
    const N: usize = 8;
    const OFFSET8: i32 = if VNNI { 128 } else { 0 };
    const BEGINS: bool = VNNI;
    type V = __m256i;
    type F = __m256;
    type P = __m256i;

    #[inline(always)]
    fn quads(self, rows: Rows<'_>, at: usize) -> [__m256i; 4] {
        op!(transpose(rows, at))
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> __m256i {
        let bytes: &[u8; 32] = bytes.as_array().expect("bytes of all lanes");
        // SAFETY: the array has the 32 bytes; `self` says that the CPU has the instruction.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store(self, v: __m256i, out: &mut [u8]) {
        let out: &mut [u8; 32] = out.as_mut_array().expect("room for all lanes");
        // SAFETY: the array has room for the 32 bytes; `self` says that the CPU has the instruction.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), v) };
    }

    #[inline(always)]
    fn load_halves(self, bytes: &[u8]) -> __m256 {
        let bytes: &[u8; 16] = bytes.as_array().expect("halves of all lanes");
        // SAFETY: the array has the 16 bytes; the load takes any alignment and is in every CPU of the tier.
        let halves = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        op!(_mm256_cvtph_ps(halves))
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        op!(_mm_prefetch::<_MM_HINT_T1>(address.cast()));
    }

    #[inline(always)]
    fn splat(self, v: i32) -> __m256i {
        op!(_mm256_set1_epi32(v))
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_and_si256(a, b))
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_or_si256(a, b))
    }

    #[inline(always)]
    fn xor(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_xor_si256(a, b))
    }

    #[inline(always)]
    fn shr(self, v: __m256i, by: u32) -> __m256i {
        let by = self.splat(by as i32);
        op!(_mm256_srlv_epi32(v, by))
    }

    #[inline(always)]
    fn shl(self, v: __m256i, by: u32) -> __m256i {
        let by = self.splat(by as i32);
        op!(_mm256_sllv_epi32(v, by))
    }

    #[inline(always)]
    fn sar(self, v: __m256i, by: u32) -> __m256i {
        let by = self.splat(by as i32);
        op!(_mm256_srav_epi32(v, by))
    }

    #[inline(always)]
    fn mul32(self, v: __m256i, by: i32) -> __m256i {
        let by = self.splat(by);
        op!(_mm256_mullo_epi32(v, by))
    }

    #[inline(always)]
    fn sub(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_sub_epi32(a, b))
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], v: __m256i) -> __m256i {
        op!(lookup(table, v))
    }

    #[inline(always)]
    fn straddle(self, a: __m256i, b: __m256i) -> __m256i {
        let (low, high) = (self.shr(a, 16), self.shl(b, 16));
        op!(_mm256_blend_epi16::<0b1010_1010>(low, high))
    }

    #[inline(always)]
    fn scale(self, v: __m256i) -> __m256i {
        if VNNI { v } else { self.pair(v, v) }
    }

    #[inline(always)]
    fn pair(self, low: __m256i, high: __m256i) -> __m256i {
        let high = self.shl(high, 16);
        op!(_mm256_blend_epi16::<0b1010_1010>(low, high))
    }

    #[inline(always)]
    fn add_pairs(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        let products = op!(_mm256_madd_epi16(a, b));
        op!(_mm256_add_epi32(sum, products))
    }

    #[inline(always)]
    fn begin(self, sum: __m256i) -> __m256i {
        if VNNI { sum } else { self.splat(0) }
    }

    #[inline(always)]
    fn dot<const WIDE: bool>(self, p: __m256i, w: __m256i, a: __m256i) -> __m256i {
        if VNNI {
            return op!(_mm256_dpbusd_avx_epi32(p, w, a));
        }
        let (w, a) = if WIDE { (op!(_mm256_abs_epi8(w)), op!(_mm256_sign_epi8(a, w))) } else { (w, a) };
        let pairs = op!(_mm256_maddubs_epi16(w, a));
        op!(_mm256_add_epi16(p, pairs))
    }

    #[inline(always)]
    fn end(self, sum: __m256i, p: __m256i) -> __m256i {
        if VNNI { p } else { self.add_pairs(sum, p, self.splat(0x0001_0001)) }
    }

    #[inline(always)]
    fn end_scaled(self, sum: __m256i, p: __m256i, scale: __m256i) -> __m256i {
        let scaled = if VNNI { op!(_mm256_mullo_epi32(p, scale)) } else { op!(_mm256_madd_epi16(p, scale)) };
        op!(_mm256_add_epi32(sum, scaled))
    }

    #[inline(always)]
    fn splat_f32(self, v: f32) -> __m256 {
        op!(_mm256_set1_ps(v))
    }

    #[inline(always)]
    fn to_f32(self, v: __m256i) -> __m256 {
        op!(_mm256_cvtepi32_ps(v))
    }

    #[inline(always)]
    fn as_f32(self, v: __m256i) -> __m256 {
        op!(_mm256_castsi256_ps(v))
    }

    #[inline(always)]
    fn low_half(self, v: __m256i) -> __m256 {
        let low = self.and(v, self.splat(0xffff));
        self.high_half(self.shl(low, 16))
    }

    #[inline(always)]
    fn high_half(self, v: __m256i) -> __m256 {
        op!(halves(self.shr(v, 16)))
    }

    #[inline(always)]
    fn add_f32(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_add_ps(a, b))
    }

    #[inline(always)]
    fn mul_f32(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_mul_ps(a, b))
    }

    #[inline(always)]
    fn fma_f32(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        op!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn load_f32(self, v: &[f32]) -> __m256 {
        let v: &[f32; 8] = v.as_array().expect("a vector of floats");
        // SAFETY: the array has the 8 floats that are read; `self` says that the CPU has the instruction.
        unsafe { _mm256_loadu_ps(v.as_ptr()) }
    }

    #[inline(always)]
    fn store_f32(self, v: __m256, out: &mut [f32]) {
        let out: &mut [f32; 8] = out.as_mut_array().expect("room for a vector");
        // SAFETY: the array has room for the 8 floats; `self` says that the CPU has the instruction.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) };
    }
}

/// 16 bytes of 8 rows to 4 registers: register `j` holds bytes `4 j..4 j + 4` of all rows.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn transpose(rows: Rows<'_>, at: usize) -> [__m256i; 4] {
    for line in 0..2 {
        let address = rows.next(at).wrapping_add(64 * line).cast();
        // A prefetch reads nothing and does not fault, whatever the address.
        _mm_prefetch::<_MM_HINT_T1>(address);
    }
    let (first, stride) = rows.sixteen(at, 8);
    let row = |r: usize| {
        let address = first.wrapping_add(r * stride).cast();
        // SAFETY: `sixteen` checked that 8 rows have 16 bytes there.
        unsafe { _mm_loadu_si128(address) }
    };
    let two = |r: usize| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(r)), row(r + 4));
    let (x0, x1, x2, x3) = (two(0), two(1), two(2), two(3));
    let (a, b) = (_mm256_unpacklo_epi32(x0, x1), _mm256_unpackhi_epi32(x0, x1));
    let (c, d) = (_mm256_unpacklo_epi32(x2, x3), _mm256_unpackhi_epi32(x2, x3));
    [
        _mm256_unpacklo_epi64(a, c),
        _mm256_unpackhi_epi64(a, c),
        _mm256_unpacklo_epi64(b, d),
        _mm256_unpackhi_epi64(b, d),
    ]
}

/// `table[byte]` of every byte.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn lookup(table: &[u8; 16], v: __m256i) -> __m256i {
    // SAFETY: the table has the 16 bytes that are read.
    let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), v)
}

/// The f16 in the lower halves of lanes whose upper halves are 0.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn halves(v: __m256i) -> __m256 {
    // Packing works on halves of the register: bring the two quarters it fills together.
    let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(v, v));
    _mm256_cvtph_ps(_mm256_castsi256_si128(packed))
}
