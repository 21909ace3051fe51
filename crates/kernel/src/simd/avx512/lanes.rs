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
    ($f:ident $(::<$n:literal>)? ($($arg:ident),+)) => {
        // SAFETY: `self` says that the CPU has the instruction.
        unsafe { [$f$(::<$n>)?($($arg[0]),+), $f$(::<$n>)?($($arg[1]),+)] }
    };
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
    type V = [__m512i; 2];
    type F = [__m512; 2];
    type P = [__m512i; 2];

    #[inline(always)]
    fn quads(self, rows: Rows<'_>, at: usize) -> [Self::V; 4] {
        let (p, stride) = rows.sixteen(at, Self::N);
        // SAFETY: `sixteen` checked that 32 rows have 16 bytes there; `self` says that the CPU has the instructions.
        unsafe {
            for line in 0..8 {
                _mm_prefetch::<_MM_HINT_T0>(rows.next(at).wrapping_add(64 * line).cast());
            }
            let (a, b) = (transpose(p, stride), transpose(p.add(16 * stride), stride));
            [[a[0], b[0]], [a[1], b[1]], [a[2], b[2]], [a[3], b[3]]]
        }
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
        // SAFETY: the table has the 16 bytes that are read; `self` says that the CPU has the instructions.
        let table = unsafe { _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast())) };
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
    fn sub_f32(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul_f32(self, a: Self::F, b: Self::F) -> Self::F {
        both!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn load_f32(self, v: &[f32]) -> Self::F {
        let v: &[f32; 32] = v.as_array().expect("a vector of floats");
        // SAFETY: the array has the 32 floats that are read; `self` says that the CPU has the instruction.
        unsafe { [_mm512_loadu_ps(v.as_ptr()), _mm512_loadu_ps(v[16..].as_ptr())] }
    }

    #[inline(always)]
    fn store_f32(self, v: Self::F, out: &mut [f32]) {
        let out: &mut [f32; 32] = out.as_mut_array().expect("room for a vector");
        // SAFETY: the array has room for the 32 floats; `self` says that the CPU has the instruction.
        unsafe {
            _mm512_storeu_ps(out.as_mut_ptr(), v[0]);
            _mm512_storeu_ps(out[16..].as_mut_ptr(), v[1]);
        }
    }
}

/// 16 bytes of 16 rows to 4 registers: register `j` holds bytes `4 j..4 j + 4` of all rows.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512vbmi2,avx2,fma,f16c")]
#[inline]
unsafe fn transpose(p: *const u8, stride: usize) -> [__m512i; 4] {
    // SAFETY: the caller says that 16 rows have 16 bytes there.
    let row = |r: usize| unsafe { _mm_loadu_si128(p.add(r * stride).cast()) };
    let four = |r: usize| {
        let x = _mm512_castsi128_si512(row(r));
        let x = _mm512_inserti32x4::<1>(x, row(r + 4));
        let x = _mm512_inserti32x4::<2>(x, row(r + 8));
        _mm512_inserti32x4::<3>(x, row(r + 12))
    };
    let (x0, x1, x2, x3) = (four(0), four(1), four(2), four(3));
    let (a, b) = (_mm512_unpacklo_epi32(x0, x1), _mm512_unpackhi_epi32(x0, x1));
    let (c, d) = (_mm512_unpacklo_epi32(x2, x3), _mm512_unpackhi_epi32(x2, x3));
    [
        _mm512_unpacklo_epi64(a, c),
        _mm512_unpackhi_epi64(a, c),
        _mm512_unpacklo_epi64(b, d),
        _mm512_unpackhi_epi64(b, d),
    ]
}
