//! 16 floats in two registers.

use std::arch::x86_64::*;

use super::lanes::Avx;
use crate::simd::floats::Floats;

/// What an instruction makes of one thing, then of another.
macro_rules! both {
    ($x:ident, $a:expr, $b:expr, $f:expr) => {{
        let $x = $a;
        // SAFETY: `self` says that the CPU has the instructions; what is read or written is a part of an array given.
        let first = unsafe { $f };
        let $x = $b;
        // SAFETY: the same.
        let second = unsafe { $f };
        [first, second]
    }};
}

impl<const VNNI: bool> Floats for Avx<VNNI> {
    type F = [__m256; 2];
    const SUMS: usize = 6;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, v: f32) -> Self::F {
        // SAFETY: `self` says that the CPU has the instruction.
        [unsafe { _mm256_set1_ps(v) }; 2]
    }

    #[inline(always)]
    fn load(self, v: &[f32; 16]) -> Self::F {
        let [a, b]: [&[f32; 8]; 2] = parts(v);
        both!(x, a, b, _mm256_loadu_ps(x.as_ptr()))
    }

    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 64]) -> Self::F {
        let [a, b]: [&[u8; 32]; 2] = parts(bytes);
        both!(x, a, b, _mm256_loadu_ps(x.as_ptr().cast()))
    }

    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 32]) -> Self::F {
        let [a, b]: [&[u8; 16]; 2] = parts(bytes);
        let [a, b] = both!(x, a, b, _mm_loadu_si128(x.as_ptr().cast()));
        both!(x, a, b, _mm256_cvtph_ps(x))
    }

    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 32]) -> Self::F {
        let [a, b]: [&[u8; 16]; 2] = parts(bytes);
        let [a, b] = both!(x, a, b, _mm_loadu_si128(x.as_ptr().cast()));
        let [a, b] = both!(x, a, b, _mm256_cvtepu16_epi32(x));
        let [a, b] = both!(x, a, b, _mm256_slli_epi32::<16>(x));
        both!(x, a, b, _mm256_castsi256_ps(x))
    }

    #[inline(always)]
    fn load_i8(self, bytes: &[u8; 16]) -> Self::F {
        let [a, b]: [&[u8; 8]; 2] = parts(bytes);
        let [a, b] = both!(x, a, b, _mm_loadl_epi64(x.as_ptr().cast()));
        let [a, b] = both!(x, a, b, _mm256_cvtepi8_epi32(x));
        both!(x, a, b, _mm256_cvtepi32_ps(x))
    }

    #[inline(always)]
    fn load_i4(self, bytes: &[u8; 16], upper: bool) -> Self::F {
        let v = nibbles(bytes, upper);
        // SAFETY: `self` says that the CPU has the instruction.
        let high = unsafe { _mm_unpackhi_epi64(v, v) };
        let [a, b] = both!(x, v, high, _mm256_cvtepi8_epi32(x));
        both!(x, a, b, _mm256_cvtepi32_ps(x))
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(i, 0, 1, _mm256_mul_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn store(self, [a, b]: Self::F, out: &mut [f32; 16]) {
        let (low, high) = out.split_at_mut(8);
        both!(x, (low, a), (high, b), _mm256_storeu_ps(x.0.as_mut_ptr(), x.1));
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(i, 0, 1, _mm256_fmadd_ps(a[i], b[i], c[i]))
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: `self` says that the CPU has the instruction, which reads nothing and does not fault.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) };
    }
}

/// The upper or else the lower halves of bytes, less 8.
#[inline(always)]
pub(in crate::simd) fn nibbles(bytes: &[u8; 16], upper: bool) -> __m128i {
    // SAFETY: the array has the 16 bytes; the load takes any alignment and is in every x86-64 CPU.
    let v = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
    // SAFETY: the instruction is in every x86-64 CPU.
    let v = if upper { unsafe { _mm_srli_epi16::<4>(v) } } else { v };
    // SAFETY: the same.
    let fifteen = unsafe { _mm_set1_epi8(15) };
    // SAFETY: the same.
    let eight = unsafe { _mm_set1_epi8(8) };
    // SAFETY: the same.
    let v = unsafe { _mm_and_si128(v, fifteen) };
    // SAFETY: the same.
    unsafe { _mm_sub_epi8(v, eight) }
}

/// Both halves of an array.
#[inline(always)]
fn parts<T, const N: usize, const HALF: usize>(v: &[T; N]) -> [&[T; HALF]; 2] {
    let (a, b) = v.split_at(HALF);
    [a.as_array().expect("half of it"), b.as_array().expect("half of it")]
}
