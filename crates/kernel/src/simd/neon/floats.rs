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

/// The `i`th eight signed bytes as i16.
macro_rules! pairs {
    ($i:literal, $v:ident) => {
        // SAFETY: `self` says that the CPU has the instructions; the array has the 8 bytes that are read.
        unsafe { vmovl_s8(vreinterpret_s8_u8(vld1_u8($v[$i].as_ptr()))) }
    };
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
        let v = bytes.as_chunks::<8>().0;
        let [a, b] = [pairs!(0, v), pairs!(1, v)];
        let wide = [a, a, b, b];
        four!(
            i,
            vcvtq_f32_s32(if i % 2 == 0 {
                vmovl_s16(vget_low_s16(wide[i]))
            } else {
                vmovl_high_s16(wide[i])
            })
        )
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
