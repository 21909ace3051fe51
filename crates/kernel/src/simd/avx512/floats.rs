//! 16 floats in a register.

use std::arch::x86_64::*;

use super::lanes::Avx512;
use crate::simd::avx2::floats::nibbles;
use crate::simd::floats::Floats;

impl Floats for Avx512 {
    type F = __m512;
    const SUMS: usize = 16;
    const ROWS: usize = 8;

    #[inline(always)]
    fn splat(self, v: f32) -> Self::F {
        // SAFETY: `self` says that the CPU has the instruction.
        unsafe { _mm512_set1_ps(v) }
    }

    #[inline(always)]
    fn load(self, v: &[f32; 16]) -> Self::F {
        // SAFETY: as above, and the array has the 16 floats; the load takes any alignment.
        unsafe { _mm512_loadu_ps(v.as_ptr()) }
    }

    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 64]) -> Self::F {
        // SAFETY: as above, with 64 bytes.
        unsafe { _mm512_loadu_ps(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 32]) -> Self::F {
        let halves = load32(bytes);
        // SAFETY: `self` says that the CPU has the instruction.
        unsafe { _mm512_cvtph_ps(halves) }
    }

    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 32]) -> Self::F {
        let halves = load32(bytes);
        // SAFETY: `self` says that the CPU has the instruction.
        let wide = unsafe { _mm512_cvtepu16_epi32(halves) };
        // SAFETY: the same.
        let upper = unsafe { _mm512_slli_epi32::<16>(wide) };
        // SAFETY: the same.
        unsafe { _mm512_castsi512_ps(upper) }
    }

    #[inline(always)]
    fn load_i8(self, bytes: &[u8; 16]) -> Self::F {
        // SAFETY: the array has the 16 bytes; the load takes any alignment and is in every CPU of the tier.
        let v = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        to_floats(v)
    }

    #[inline(always)]
    fn load_i4(self, bytes: &[u8; 16], upper: bool) -> Self::F {
        to_floats(nibbles(bytes, upper))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        // SAFETY: `self` says that the CPU has the instruction.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; 16]) {
        // SAFETY: `self` says that the CPU has the instruction, and the array has room for the 16 floats.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) };
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // SAFETY: `self` says that the CPU has the instruction.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: `self` says that the CPU has the instruction, which reads nothing and does not fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
}

/// 16 signed bytes as floats.
#[inline(always)]
fn to_floats(bytes: __m128i) -> __m512 {
    // SAFETY: called only by methods of a value that says that the CPU has the instruction.
    let wide = unsafe { _mm512_cvtepi8_epi32(bytes) };
    // SAFETY: the same.
    unsafe { _mm512_cvtepi32_ps(wide) }
}

#[inline(always)]
fn load32(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the array has the 32 bytes; the load takes any alignment and is in every CPU of the tier.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}
