//! 16 floats in four registers.

use std::arch::aarch64::*;

use super::lanes::{Neon, ask_for, widen};
use crate::simd::floats::Floats;

/// What an instruction makes of the `i`th quarter of things, for all four.
macro_rules! four {
    ($i:ident, $f:expr) => {
        [four!($i, 0, $f), four!($i, 1, $f), four!($i, 2, $f), four!($i, 3, $f)]
    };
    ($i:ident, $n:literal, $f:expr) => {{
        let $i = $n;
        // SAFETY: `self` says that the CPU has the instructions; what is read or written is a part of an array given.
        unsafe { $f }
    }};
}

/// 16 signed bytes as floats.
#[inline(always)]
fn to_floats(bytes: int8x16_t) -> [float32x4_t; 4] {
    // SAFETY: NEON is in every CPU of this architecture.
    let low = unsafe { vget_low_s8(bytes) };
    // SAFETY: the same.
    let low = unsafe { vmovl_s8(low) };
    // SAFETY: the same.
    let high = unsafe { vmovl_high_s8(bytes) };
    let wide = [low, low, high, high];
    four!(
        i,
        vcvtq_f32_s32(if i % 2 == 0 { vmovl_s16(vget_low_s16(wide[i])) } else { vmovl_high_s16(wide[i]) })
    )
}

impl<const DOT: bool> Floats for Neon<DOT> {
    type F = [float32x4_t; 4];
    const SUMS: usize = 6;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, v: f32) -> Self::F {
        // SAFETY: `self` says that the CPU has the instruction.
        [unsafe { vdupq_n_f32(v) }; 4]
    }

    #[inline(always)]
    fn load(self, v: &[f32; 16]) -> Self::F {
        let v = v.as_chunks::<4>().0;
        four!(i, vld1q_f32(v[i].as_ptr()))
    }

    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 64]) -> Self::F {
        let v = bytes.as_chunks::<16>().0;
        four!(i, vreinterpretq_f32_u8(vld1q_u8(v[i].as_ptr())))
    }

    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 32]) -> Self::F {
        let v = bytes.as_chunks::<8>().0;
        four!(i, widen(vreinterpret_s16_u8(vld1_u8(v[i].as_ptr()))))
    }

    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 32]) -> Self::F {
        let v = bytes.as_chunks::<8>().0;
        let wide = four!(i, vshll_n_u16::<16>(vreinterpret_u16_u8(vld1_u8(v[i].as_ptr()))));
        four!(i, vreinterpretq_f32_u32(wide[i]))
    }

    #[inline(always)]
    fn load_i8(self, bytes: &[u8; 16]) -> Self::F {
        // SAFETY: `self` says that the CPU has the instruction; the array has the 16 bytes.
        to_floats(unsafe { vld1q_s8(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn load_i4(self, bytes: &[u8; 16], upper: bool) -> Self::F {
        // SAFETY: `self` says that the CPU has the instruction; the array has the 16 bytes.
        let v = unsafe { vld1q_u8(bytes.as_ptr()) };
        // SAFETY: `self` says that the CPU has the instruction.
        let fifteen = unsafe { vdupq_n_u8(15) };
        // SAFETY: the same.
        let eight = unsafe { vdupq_n_u8(8) };
        // SAFETY: the same.
        let v = if upper { unsafe { vshrq_n_u8::<4>(v) } } else { unsafe { vandq_u8(v, fifteen) } };
        // SAFETY: the same.
        let v = unsafe { vsubq_u8(v, eight) };
        // SAFETY: the same.
        to_floats(unsafe { vreinterpretq_s8_u8(v) })
    }

    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        four!(i, vmulq_f32(a[i], b[i]))
    }

    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; 16]) {
        let out = out.as_chunks_mut::<4>().0;
        four!(i, vst1q_f32(out[i].as_mut_ptr(), v[i]));
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        four!(i, vfmaq_f32(c[i], a[i], b[i]))
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        ask_for(address);
    }
}
