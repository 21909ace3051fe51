//! A tier's builds of the small operations: the same plain code, compiled once more with the tier's instructions.

/// All of [`crate::ops::Ops`], compiled with `$features`.
macro_rules! ops {
    ($features:literal) => {{
        use $crate::ops::{self, Activation, Ops};
        use $crate::simd::ops::build;
        use $crate::{acts::{self, Act}, scan};
        Ops {
            rms_norm: build!($features, ops::rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32])),
            rms_norm_in_place: build!($features, ops::rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f32)),
            layer_norm: build!($features, ops::layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32])),
            layer_norm_in_place: build!($features, ops::layer_norm_in_place(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32)),
            glu: build!($features, ops::glu(f: Activation, gate: &mut [f32], up: &[f32])),
            activate: build!($features, ops::activate(f: Activation, x: &mut [f32])),
            softcap: build!($features, ops::softcap(x: &mut [f32], cap: f32)),
            rope_halves: build!($features, ops::rope_halves(row: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32])),
            rope_interleaved: build!($features, ops::rope_interleaved(row: &mut [f32], head_dim: usize, cos: &[f32], sin: &[f32])),
            quantize: build!($features, acts::quantize(
                act: Act, x: &[f32], place: (usize, usize), q: &mut [i8], d: &mut [f32], sums: &mut [i32]
            )),
            ssm_step: build!($features, scan::ssm_step(
                state: &mut [f32], x: &[f32], b: &[f32], c: &[f32], numbers: [f32; 3], out: &mut [f32]
            )),
            selective_step: build!($features, scan::selective_step(
                state: &mut [f32], a: &[f32], channels: [&[f32]; 3], rows: [&[f32]; 2], out: &mut [f32]
            )),
            delta_step: build!($features, scan::delta_step(
                state: &mut [f32], q: &[f32], k: &[f32], v: &[f32], numbers: [f32; 2], out: &mut [f32]
            )),
        }
    }};
}
pub(crate) use ops;

/// One operation.
macro_rules! build {
    ($features:literal, $($f:ident)::+($($arg:ident: $type:ty),+ $(,)?)) => {{
        #[target_feature(enable = $features)]
        fn build($($arg: $type),+) {
            $($f)::+($($arg),+);
        }
        // SAFETY: called only where the tier's `detect` found the features.
        |$($arg: $type),+| unsafe { build($($arg),+) }
    }};
}
pub(crate) use build;
