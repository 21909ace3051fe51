//! What a tier can do with 16 floats at a time, as attention ([`crate::attn`]) and the products of float weights
//! ([`super::float`]) need it: one written order of 16 lanes, whatever the width of a tier's registers.
//!
//! A value of a type that implements [`Floats`] is the proof that this CPU has the instructions: tiers make one only inside
//! functions that were compiled for them.

use crate::half;

/// The floats of a tier. Methods are compiled into the function that uses them, with that function's instructions.
pub(crate) trait Floats: Copy {
    /// 16 floats.
    type F: Copy;
    /// Vectors of sums that stay in registers.
    const SUMS: usize;
    /// The most rows of sums that do.
    const ROWS: usize;
    /// Whether the tier multiplies and adds with one rounding.
    const FUSES: bool = true;

    fn splat(self, v: f32) -> Self::F;
    fn load(self, v: &[f32; 16]) -> Self::F;
    fn load_f32(self, bytes: &[u8; 64]) -> Self::F;
    fn load_f16(self, bytes: &[u8; 32]) -> Self::F;
    fn load_bf16(self, bytes: &[u8; 32]) -> Self::F;
    fn load_i8(self, bytes: &[u8; 16]) -> Self::F;
    /// The upper or else the lower halves of bytes, less 8.
    fn load_i4(self, bytes: &[u8; 16], upper: bool) -> Self::F;
    fn store(self, v: Self::F, out: &mut [f32; 16]);
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, with one rounding where the tier has the instruction.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Asks for the 64 bytes at `address`, which need not be there.
    fn prefetch(self, address: *const u8);
}

/// What a tier does with each format of caches, compiled for it.
macro_rules! caches {
    ($floats:ty, $features:literal; $($format:ident)*) => {
        &[$((
            <$crate::attn::cache::$format as $crate::attn::cache::CacheFormat>::NAME,
            $crate::attn::CacheKernel {
                attend: {
                    #[target_feature(enable = $features)]
                    fn build(block: &$crate::attn::block::Block<'_>, running: &mut $crate::attn::block::Running<'_>) {
                        $crate::attn::block::attend::<$floats, $crate::attn::cache::$format>(<$floats>::new(), block, running);
                    }
                    // SAFETY: called only where the tier's `detect` found the features.
                    |block, running| unsafe { build(block, running) }
                },
                store: {
                    #[target_feature(enable = $features)]
                    fn build(format: &$crate::quant::Format, slot: usize, rows: [&[f32]; 2], blocks: [&mut [u8]; 2]) {
                        $crate::attn::cache::store::<$crate::attn::cache::$format>(format, slot, rows, blocks);
                    }
                    // SAFETY: the same.
                    |format, slot, rows, blocks| unsafe { build(format, slot, rows, blocks) }
                },
            },
        ),)*]
    };
}
pub(crate) use caches;

/// The kernels of matrices of floats, compiled for a tier: `$rows` rows by `$tokens` tokens at a time, `$more` rows for
/// one token.
macro_rules! floats {
    ($floats:ty, $features:literal, $rows:literal x $tokens:literal, $more:literal) => {{
        use $crate::simd::floats::float_tile;
        &[
            float_tile!($floats, $features, $rows, $tokens, $more, "f32", 64, load_f32),
            float_tile!($floats, $features, $rows, $tokens, $more, "f16", 32, load_f16),
            float_tile!($floats, $features, $rows, $tokens, $more, "bf16", 32, load_bf16),
        ]
    }};
}
pub(crate) use floats;

/// The kernel of one format whose 16 values take `$bytes` bytes, read by `$load`.
macro_rules! float_tile {
    ($floats:ty, $features:literal, $rows:literal, $tokens:literal, $more:literal, $name:literal, $bytes:literal, $load:ident) => {
        (
            $name,
            $crate::simd::RowKernel {
                form: $crate::acts::Form::rows($crate::acts::Act::F32),
                packing: None,
                tile: {
                    #[target_feature(enable = $features)]
                    fn build(
                        weights: &[u8],
                        acts: &$crate::acts::Acts,
                        groups: std::ops::Range<usize>,
                        out: &mut $crate::par::Columns<'_, f32>,
                    ) {
                        use $crate::simd::floats::Floats;
                        let l = <$floats>::new();
                        $crate::simd::float::tile::<$floats, $bytes, $rows, $tokens, $more>(
                            l,
                            weights,
                            acts,
                            groups,
                            out,
                            |bytes| l.$load(bytes),
                        );
                    }
                    // SAFETY: called only where the tier's `detect` found the features.
                    |_, weights, acts, groups, out| unsafe { build(weights, acts, groups, out) }
                },
            },
        )
    };
}
pub(crate) use float_tile;

/// Plain Rust, on every CPU; products and sums are rounded one by one.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Floats for Portable {
    type F = [f32; 16];
    const SUMS: usize = 2;
    const ROWS: usize = 2;
    const FUSES: bool = false;

    #[inline(always)]
    fn splat(self, v: f32) -> Self::F {
        [v; 16]
    }

    #[inline(always)]
    fn load(self, v: &[f32; 16]) -> Self::F {
        *v
    }

    #[inline(always)]
    fn load_f32(self, bytes: &[u8; 64]) -> Self::F {
        let mut out = [0.0; 16];
        for (out, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
            *out = f32::from_le_bytes(*bytes);
        }
        out
    }

    #[inline(always)]
    fn load_f16(self, bytes: &[u8; 32]) -> Self::F {
        widen(bytes, half::f16_to_f32)
    }

    #[inline(always)]
    fn load_bf16(self, bytes: &[u8; 32]) -> Self::F {
        widen(bytes, half::bf16_to_f32)
    }

    #[inline(always)]
    fn load_i8(self, bytes: &[u8; 16]) -> Self::F {
        let mut out = [0.0; 16];
        for (out, byte) in out.iter_mut().zip(bytes) {
            *out = f32::from(*byte as i8);
        }
        out
    }

    #[inline(always)]
    fn load_i4(self, bytes: &[u8; 16], upper: bool) -> Self::F {
        let shift = if upper { 4 } else { 0 };
        self.load_i8(&bytes.map(|byte| (byte >> shift & 15).wrapping_sub(8)))
    }

    #[inline(always)]
    fn store(self, v: Self::F, out: &mut [f32; 16]) {
        *out = v;
    }

    #[inline(always)]
    fn mul(self, mut a: Self::F, b: Self::F) -> Self::F {
        for i in 0..16 {
            a[i] *= b[i];
        }
        a
    }

    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, mut c: Self::F) -> Self::F {
        for i in 0..16 {
            c[i] += a[i] * b[i];
        }
        c
    }

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}
}

#[inline(always)]
fn widen(bytes: &[u8; 32], to_f32: impl Fn(u16) -> f32) -> [f32; 16] {
    let mut out = [0.0; 16];
    for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
        *out = to_f32(u16::from_le_bytes(*bytes));
    }
    out
}
