//! 32 lanes in two registers.

use std::arch::x86_64::*;

use crate::simd::lanes::{Lanes, Rows};

/// That this CPU has the tier's features.
#[derive(Clone, Copy)]
pub struct Avx512(());

impl Avx512 {
    /// To be had in functions with the features only.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
    #[inline]
    pub fn new() -> Self {
        Self(())
    }
}

/// An instruction on both registers.
macro_rules! both {
    ($f:ident $(::<$n:literal>)? ($($arg:ident),+)) => {{
        // SAFETY: `self` says that the CPU has the instruction.
        let first = unsafe { $f$(::<$n>)?($($arg[0]),+) };
        // SAFETY: the same.
        let second = unsafe { $f$(::<$n>)?($($arg[1]),+) };
        [first, second]
    }};
}

/// One value in both registers.
macro_rules! same {
    ($f:ident($arg:expr)) => {{
        // SAFETY: `self` says that the CPU has the instruction.
        let v = unsafe { $f($arg) };
        [v, v]
    }};
}

impl Lanes for Avx512 {
    const N: usize = 32;
    const OFFSET8: i32 = 128;
    const BEGINS: bool = true;
    type V = [__m512i; 2];
    type F = [__m512; 2];
    type P = [__m512i; 2];

    #[inline(always)]
    fn quads(self, rows: Rows<'_>, at: usize) -> [Self::V; 4] {
        // SAFETY: `self` says that the CPU has the instructions.
        let [a, b] = unsafe { transpose(rows, at) };
        [[a[0], b[0]], [a[1], b[1]], [a[2], b[2]], [a[3], b[3]]]
    }

    #[inline(always)]
    fn load(self, bytes: &[u8]) -> Self::V {
        // SAFETY: `self` says that the CPU has the instructions.
        unsafe { load_bytes(bytes.as_array().expect("bytes of all lanes")) }
    }

    #[inline(always)]
    fn store(self, v: Self::V, out: &mut [u8]) {
        // SAFETY: `self` says that the CPU has the instructions.
        unsafe { store_bytes(v, out.as_mut_array().expect("room for all lanes")) }
    }

    #[inline(always)]
    fn load_halves(self, bytes: &[u8]) -> Self::F {
        // SAFETY: `self` says that the CPU has the instructions.
        unsafe { load_halves(bytes.as_array().expect("halves of all lanes")) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: `self` says that the CPU has the instruction, which reads nothing and does not fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }

    #[inline(always)]
    fn splat(self, v: i32) -> Self::V {
        same!(_mm512_set1_epi32(v))
    }

    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm512_and_si512(a, b))
    }

    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm512_or_si512(a, b))
    }

    #[inline(always)]
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm512_xor_si512(a, b))
    }

    #[inline(always)]
    fn shr(self, v: Self::V, by: u32) -> Self::V {
        let by = self.splat(by as i32);
        both!(_mm512_srlv_epi32(v, by))
    }

    #[inline(always)]
    fn shl(self, v: Self::V, by: u32) -> Self::V {
        let by = self.splat(by as i32);
        both!(_mm512_sllv_epi32(v, by))
    }

    #[inline(always)]
    fn sar(self, v: Self::V, by: u32) -> Self::V {
        let by = self.splat(by as i32);
        both!(_mm512_srav_epi32(v, by))
    }

    #[inline(always)]
    fn mul32(self, v: Self::V, by: i32) -> Self::V {
        let by = self.splat(by);
        both!(_mm512_mullo_epi32(v, by))
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm512_sub_epi32(a, b))
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], v: Self::V) -> Self::V {
        // SAFETY: `self` says that the CPU has the instructions.
        let table = unsafe { spread(table) };
        let table = [table, table];
        both!(_mm512_shuffle_epi8(table, v))
    }

    #[inline(always)]
    fn straddle(self, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm512_shrdi_epi32::<16>(a, b))
    }

    #[inline(always)]
    fn scale(self, v: Self::V) -> Self::V {
        v
    }

    #[inline(always)]
    fn pair(self, low: Self::V, high: Self::V) -> Self::V {
        self.or(self.and(low, self.splat(0xffff)), self.shl(high, 16))
    }

    #[inline(always)]
    fn add_pairs(self, sum: Self::V, a: Self::V, b: Self::V) -> Self::V {
        both!(_mm512_dpwssd_epi32(sum, a, b))
    }

    #[inline(always)]
    fn begin(self, sum: Self::V) -> Self::P {
        sum
    }

    #[inline(always)]
    fn dot<const WIDE: bool>(self, p: Self::P, w: Self::V, a: Self::V) -> Self::P {
        both!(_mm512_dpbusd_epi32(p, w, a))
    }

    #[inline(always)]
    fn end(self, _: Self::V, p: Self::P) -> Self::V {
        p
    }

    #[inline(always)]
    fn end_scaled(self, sum: Self::V, p: Self::P, scale: Self::V) -> Self::V {
        let scaled = both!(_mm512_mullo_epi32(p, scale));
        both!(_mm512_add_epi32(sum, scaled))
    }

    #[inline(always)]
    fn splat_f32(self, v: f32) -> Self::F {
        same!(_mm512_set1_ps(v))
    }

    #[inline(always)]
    fn to_f32(self, v: Self::V) -> Self::F {
        both!(_mm512_cvtepi32_ps(v))
    }

    #[inline(always)]
    fn as_f32(self, v: Self::V) -> Self::F {
        both!(_mm512_castsi512_ps(v))
    }

    #[inline(always)]
    fn low_half(self, v: Self::V) -> Self::F {
        let words = both!(_mm512_cvtepi32_epi16(v));
        both!(_mm512_cvtph_ps(words))
    }

    #[inline(always)]
    fn high_half(self, v: Self::V) -> Self::F {
        self.low_half(self.shr(v, 16))
    }

    #[inline(always)]
    fn add_f32(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn mul_f32(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn fma_f32(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn load_f32(self, v: &[f32]) -> Self::F {
        // SAFETY: `self` says that the CPU has the instructions.
        unsafe { load(v.as_array().expect("floats of all lanes")) }
    }

    #[inline(always)]
    fn store_f32(self, v: Self::F, out: &mut [f32]) {
        // SAFETY: `self` says that the CPU has the instructions.
        unsafe { store(v, out.as_mut_array().expect("room for all lanes")) }
    }
}

/// 16 bytes of 32 rows to 2 x 4 registers: register `j` holds bytes `4 j..4 j + 4` of 16 rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn transpose(rows: Rows<'_>, at: usize) -> [[__m512i; 4]; 2] {
    for line in 0..8 {
        let address = rows.next(at).wrapping_add(64 * line).cast();
        // A prefetch reads nothing and does not fault, whatever the address.
        _mm_prefetch::<_MM_HINT_T1>(address);
    }
    let (first, stride) = rows.sixteen(at, 32);
    let row = |r: usize| {
        let address = first.wrapping_add(r * stride).cast();
        // SAFETY: `sixteen` checked that 32 rows have 16 bytes there.
        unsafe { _mm_loadu_si128(address) }
    };
    let four = |r: usize| {
        let x = _mm512_castsi128_si512(row(r));
        let x = _mm512_inserti32x4::<1>(x, row(r + 4));
        let x = _mm512_inserti32x4::<2>(x, row(r + 8));
        _mm512_inserti32x4::<3>(x, row(r + 12))
    };
    let sixteen = |r: usize| {
        let (x0, x1, x2, x3) = (four(r), four(r + 1), four(r + 2), four(r + 3));
        let (a, b) = (_mm512_unpacklo_epi32(x0, x1), _mm512_unpackhi_epi32(x0, x1));
        let (c, d) = (_mm512_unpacklo_epi32(x2, x3), _mm512_unpackhi_epi32(x2, x3));
        [
            _mm512_unpacklo_epi64(a, c),
            _mm512_unpackhi_epi64(a, c),
            _mm512_unpacklo_epi64(b, d),
            _mm512_unpackhi_epi64(b, d),
        ]
    };
    [sixteen(0), sixteen(16)]
}

/// A table for lookups in each quarter of a register.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn spread(table: &[u8; 16]) -> __m512i {
    // SAFETY: the table has the 16 bytes that are read.
    let table = unsafe { _mm_loadu_si128(table.as_ptr().cast()) };
    _mm512_broadcast_i32x4(table)
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn load(v: &[f32; 32]) -> [__m512; 2] {
    let mut out = [_mm512_setzero_ps(); 2];
    for (out, v) in out.iter_mut().zip(v.as_chunks::<16>().0) {
        // SAFETY: the array has the 16 floats that are read.
        *out = unsafe { _mm512_loadu_ps(v.as_ptr()) };
    }
    out
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn store(v: [__m512; 2], out: &mut [f32; 32]) {
    for (out, v) in out.as_chunks_mut::<16>().0.iter_mut().zip(v) {
        // SAFETY: the array has room for the 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn load_bytes(bytes: &[u8; 128]) -> [__m512i; 2] {
    let mut out = [_mm512_setzero_si512(); 2];
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<64>().0) {
        // SAFETY: the array has the 64 bytes that are read.
        *out = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    }
    out
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn store_bytes(v: [__m512i; 2], out: &mut [u8; 128]) {
    for (out, v) in out.as_chunks_mut::<64>().0.iter_mut().zip(v) {
        // SAFETY: the array has room for the 64 bytes.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) };
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
fn load_halves(bytes: &[u8; 64]) -> [__m512; 2] {
    let mut out = [_mm512_setzero_ps(); 2];
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<32>().0) {
        // SAFETY: the array has the 32 bytes that are read.
        let halves = unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) };
        *out = _mm512_cvtph_ps(halves);
    }
    out
}
