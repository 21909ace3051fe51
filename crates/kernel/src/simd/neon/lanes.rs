//! Eight lanes in two registers, with or without the dot product instructions.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::simd::lanes::{Lanes, Rows};

/// That this CPU has the tier's features, the dot product among them where `DOT`.
#[derive(Clone, Copy)]
pub struct Neon<const DOT: bool>(());

impl Neon<false> {
    /// To be had in functions with the features only.
    #[target_feature(enable = "neon")]
    #[inline]
    pub fn new() -> Self {
        Self(())
    }
}

impl Neon<true> {
    /// To be had in functions with the features only.
    #[target_feature(enable = "neon,dotprod")]
    #[inline]
    pub fn new() -> Self {
        Self(())
    }
}

/// A function of the tier on both registers.
macro_rules! both {
    ($f:ident($($arg:ident),+ $(; $shared:expr)?)) => {{
        // SAFETY: `self` says that the CPU has the instructions.
        let first = unsafe { $f($($arg[0]),+ $(, $shared)?) };
        // SAFETY: the same.
        let second = unsafe { $f($($arg[1]),+ $(, $shared)?) };
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

impl<const DOT: bool> Lanes for Neon<DOT> {
    const N: usize = 8;
    const OFFSET8: i32 = 0;
    const BEGINS: bool = true;
    type V = [int32x4_t; 2];
    type F = [float32x4_t; 2];
    type P = [int32x4_t; 2];

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
        ask_for(address);
    }

    #[inline(always)]
    fn splat(self, v: i32) -> Self::V {
        same!(vdupq_n_s32(v))
    }

    #[inline(always)]
    fn and(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vandq_s32(a, b))
    }

    #[inline(always)]
    fn or(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vorrq_s32(a, b))
    }

    #[inline(always)]
    fn xor(self, a: Self::V, b: Self::V) -> Self::V {
        both!(veorq_s32(a, b))
    }

    #[inline(always)]
    fn shr(self, v: Self::V, by: u32) -> Self::V {
        both!(shift_unsigned(v; -(by as i32)))
    }

    #[inline(always)]
    fn shl(self, v: Self::V, by: u32) -> Self::V {
        both!(shift_unsigned(v; by as i32))
    }

    #[inline(always)]
    fn sar(self, v: Self::V, by: u32) -> Self::V {
        let by = self.splat(-(by as i32));
        both!(vshlq_s32(v, by))
    }

    #[inline(always)]
    fn mul32(self, v: Self::V, by: i32) -> Self::V {
        let by = self.splat(by);
        both!(vmulq_s32(v, by))
    }

    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        both!(vsubq_s32(a, b))
    }

    #[inline(always)]
    fn lookup(self, table: &[u8; 16], v: Self::V) -> Self::V {
        both!(lookup(v; table))
    }

    #[inline(always)]
    fn straddle(self, a: Self::V, b: Self::V) -> Self::V {
        both!(straddle(a, b))
    }

    #[inline(always)]
    fn scale(self, v: Self::V) -> Self::V {
        v
    }

    #[inline(always)]
    fn pair(self, low: Self::V, high: Self::V) -> Self::V {
        both!(pair(low, high))
    }

    #[inline(always)]
    fn add_pairs(self, sum: Self::V, a: Self::V, b: Self::V) -> Self::V {
        both!(add_pairs(sum, a, b))
    }

    #[inline(always)]
    fn begin(self, sum: Self::V) -> Self::P {
        sum
    }

    #[inline(always)]
    fn dot<const WIDE: bool>(self, p: Self::P, w: Self::V, a: Self::V) -> Self::P {
        if DOT { both!(sdot(p, w, a)) } else { both!(dot(p, w, a)) }
    }

    #[inline(always)]
    fn end(self, _: Self::V, p: Self::P) -> Self::V {
        p
    }

    #[inline(always)]
    fn end_scaled(self, sum: Self::V, p: Self::P, scale: Self::V) -> Self::V {
        both!(vmlaq_s32(sum, p, scale))
    }

    #[inline(always)]
    fn splat_f32(self, v: f32) -> Self::F {
        same!(vdupq_n_f32(v))
    }

    #[inline(always)]
    fn to_f32(self, v: Self::V) -> Self::F {
        both!(vcvtq_f32_s32(v))
    }

    #[inline(always)]
    fn as_f32(self, v: Self::V) -> Self::F {
        both!(vreinterpretq_f32_s32(v))
    }

    #[inline(always)]
    fn low_half(self, v: Self::V) -> Self::F {
        both!(low_half(v))
    }

    #[inline(always)]
    fn high_half(self, v: Self::V) -> Self::F {
        self.low_half(self.shr(v, 16))
    }

    #[inline(always)]
    fn add_f32(self, a: Self::F, b: Self::F) -> Self::F {
        both!(vaddq_f32(a, b))
    }

    #[inline(always)]
    fn mul_f32(self, a: Self::F, b: Self::F) -> Self::F {
        both!(vmulq_f32(a, b))
    }

    #[inline(always)]
    fn fma_f32(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(vfmaq_f32(c, a, b))
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

/// 16 bytes of 8 rows to 2 x 4 registers: register `j` holds bytes `4 j..4 j + 4` of 4 rows.
#[target_feature(enable = "neon")]
#[inline]
fn transpose(rows: Rows<'_>, at: usize) -> [[int32x4_t; 4]; 2] {
    for line in 0..2 {
        let address = rows.next(at).wrapping_add(64 * line);
        ask_for(address);
    }
    let (first, stride) = rows.sixteen(at, 8);
    let row = |r: usize| {
        let address = first.wrapping_add(r * stride).cast();
        // SAFETY: `sixteen` checked that 8 rows have 16 bytes there.
        unsafe { vld1q_s8(address) }
    };
    let four = |r: usize| {
        let word = |r| vreinterpretq_s32_s8(row(r));
        let (x0, x1, x2, x3) = (word(r), word(r + 1), word(r + 2), word(r + 3));
        let double = |v| vreinterpretq_s64_s32(v);
        let (a, b) = (double(vtrn1q_s32(x0, x1)), double(vtrn2q_s32(x0, x1)));
        let (c, d) = (double(vtrn1q_s32(x2, x3)), double(vtrn2q_s32(x2, x3)));
        let single = |v| vreinterpretq_s32_s64(v);
        [
            single(vtrn1q_s64(a, c)),
            single(vtrn1q_s64(b, d)),
            single(vtrn2q_s64(a, c)),
            single(vtrn2q_s64(b, d)),
        ]
    };
    [four(0), four(4)]
}

/// Each lane shifted to the left, or to the right by as much below 0.
#[target_feature(enable = "neon")]
#[inline]
fn shift_unsigned(v: int32x4_t, by: i32) -> int32x4_t {
    vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(v), vdupq_n_s32(by)))
}

/// `table[byte]` of every byte.
#[target_feature(enable = "neon")]
#[inline]
fn lookup(v: int32x4_t, table: &[u8; 16]) -> int32x4_t {
    // SAFETY: the table has the 16 bytes that are read.
    let table = unsafe { vld1q_u8(table.as_ptr()) };
    vreinterpretq_s32_u8(vqtbl1q_u8(table, vreinterpretq_u8_s32(v)))
}

/// The upper half of `a` and the lower half of `b` in each lane.
#[target_feature(enable = "neon")]
#[inline]
fn straddle(a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let low = vshrq_n_u32::<16>(vreinterpretq_u32_s32(a));
    vreinterpretq_s32_u32(vsliq_n_u32::<16>(low, vreinterpretq_u32_s32(b)))
}

/// The lower halves of the lanes of `low`, and behind them those of `high`.
#[target_feature(enable = "neon")]
#[inline]
fn pair(low: int32x4_t, high: int32x4_t) -> int32x4_t {
    vreinterpretq_s32_s16(vuzp1q_s16(vreinterpretq_s16_s32(low), vreinterpretq_s16_s32(high)))
}

/// `sum + a.low * b.low + a.high * b.high` of `a` from [`pair`] and the halves of `b`, whose lanes are all the same.
#[target_feature(enable = "neon")]
#[inline]
fn add_pairs(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
    let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
    vmlal_high_laneq_s16::<1>(vmlal_laneq_s16::<0>(sum, vget_low_s16(a), b), a, b)
}

/// Four products of signed bytes onto each lane: in pairs, of which two of 128 x 127 fit an i16.
#[target_feature(enable = "neon")]
#[inline]
fn dot(sum: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t {
    let (w, a) = (vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(a));
    let (low, high) = (vmull_s8(vget_low_s8(w), vget_low_s8(a)), vmull_high_s8(w, a));
    vpadalq_s16(sum, vpaddq_s16(low, high))
}

/// The same in one instruction.
#[target_feature(enable = "neon,dotprod")]
#[inline]
pub(in crate::simd) fn sdot(mut sum: int32x4_t, w: int32x4_t, a: int32x4_t) -> int32x4_t {
    // SAFETY: the instruction works on registers alone.
    unsafe {
        asm!(
            "sdot {:v}.4s, {:v}.16b, {:v}.16b",
            inout(vreg) sum, in(vreg) w, in(vreg) a,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Asks for the line at `address`.
#[inline(always)]
pub(super) fn ask_for(address: *const u8) {
    // SAFETY: a prefetch reads nothing and does not fault, whatever the address.
    unsafe { asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly)) };
}

/// The f16 in the lower half of each lane.
#[target_feature(enable = "neon")]
#[inline]
fn low_half(v: int32x4_t) -> float32x4_t {
    widen(vmovn_s32(v))
}

/// Four f16 as floats.
#[target_feature(enable = "neon")]
#[inline]
pub(super) fn widen(halves: int16x4_t) -> float32x4_t {
    let floats: float32x4_t;
    // SAFETY: the instruction works on registers alone.
    unsafe {
        asm!(
            "fcvtl {:v}.4s, {:v}.4h",
            out(vreg) floats, in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    floats
}

#[target_feature(enable = "neon")]
#[inline]
fn load(v: &[f32; 8]) -> [float32x4_t; 2] {
    let mut out = [vdupq_n_f32(0.0); 2];
    for (out, v) in out.iter_mut().zip(v.as_chunks::<4>().0) {
        // SAFETY: the array has the 4 floats that are read.
        *out = unsafe { vld1q_f32(v.as_ptr()) };
    }
    out
}

#[target_feature(enable = "neon")]
#[inline]
fn store(v: [float32x4_t; 2], out: &mut [f32; 8]) {
    for (out, v) in out.as_chunks_mut::<4>().0.iter_mut().zip(v) {
        // SAFETY: the array has room for the 4 floats.
        unsafe { vst1q_f32(out.as_mut_ptr(), v) };
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn load_bytes(bytes: &[u8; 32]) -> [int32x4_t; 2] {
    let mut out = [vdupq_n_s32(0); 2];
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<16>().0) {
        // SAFETY: the array has the 16 bytes that are read.
        *out = vreinterpretq_s32_u8(unsafe { vld1q_u8(bytes.as_ptr()) });
    }
    out
}

#[target_feature(enable = "neon")]
#[inline]
fn store_bytes(v: [int32x4_t; 2], out: &mut [u8; 32]) {
    for (out, v) in out.as_chunks_mut::<16>().0.iter_mut().zip(v) {
        let bytes = vreinterpretq_u8_s32(v);
        // SAFETY: the array has room for the 16 bytes.
        unsafe { vst1q_u8(out.as_mut_ptr(), bytes) };
    }
}

#[target_feature(enable = "neon")]
#[inline]
fn load_halves(bytes: &[u8; 16]) -> [float32x4_t; 2] {
    // SAFETY: the array has the 16 bytes that are read.
    let halves = vreinterpretq_s16_u8(unsafe { vld1q_u8(bytes.as_ptr()) });
    [widen(vget_low_s16(halves)), widen(vget_high_s16(halves))]
}
