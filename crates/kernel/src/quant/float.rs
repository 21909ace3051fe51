//! f32, f16 and bf16: "blocks" of one value. Activations stay f32.

use super::Format;
use crate::acts::{Act, ActRow};
use crate::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

/// IEEE binary32.
pub static F32: Format = Format {
    name: "f32",
    ggml_id: 0,
    block: 1,
    bytes: 4,
    act: Act::F32,
    dequantize: |b, out| decode(b, out, f32::from_le_bytes),
    quantize: Some(|x, _, out| encode(x, out, f32::to_le_bytes)),
    grid: None,
    dot: |w, a| dot(w, a, f32::from_le_bytes),
};

/// IEEE binary16.
pub static F16: Format = Format {
    name: "f16",
    ggml_id: 1,
    block: 1,
    bytes: 2,
    act: Act::F32,
    dequantize: |b, out| decode(b, out, |v| f16_to_f32(u16::from_le_bytes(v))),
    quantize: Some(|x, _, out| encode(x, out, |v| f32_to_f16(v).to_le_bytes())),
    grid: None,
    dot: |w, a| dot(w, a, |v| f16_to_f32(u16::from_le_bytes(v))),
};

/// bfloat16: the upper half of an f32.
pub static BF16: Format = Format {
    name: "bf16",
    ggml_id: 30,
    block: 1,
    bytes: 2,
    act: Act::F32,
    dequantize: |b, out| decode(b, out, |v| bf16_to_f32(u16::from_le_bytes(v))),
    quantize: Some(|x, _, out| encode(x, out, |v| f32_to_bf16(v).to_le_bytes())),
    grid: None,
    dot: |w, a| dot(w, a, |v| bf16_to_f32(u16::from_le_bytes(v))),
};

#[inline(always)]
fn decode<const N: usize>(blocks: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    for (v, &b) in out.iter_mut().zip(blocks.as_chunks::<N>().0) {
        *v = value(b);
    }
}

#[inline(always)]
fn encode<const N: usize>(x: &[f32], out: &mut [u8], bytes: impl Fn(f32) -> [u8; N]) {
    for (b, &v) in out.as_chunks_mut::<N>().0.iter_mut().zip(x) {
        *b = bytes(v);
    }
}

/// 16 partial sums, folded by halves; see the module above for why.
#[inline(always)]
fn dot<const N: usize>(w: &[u8], a: ActRow<'_>, value: impl Fn([u8; N]) -> f32) -> f32 {
    let (w16, w_rest) = w.as_chunks::<N>().0.as_chunks::<16>();
    let (x16, x_rest) = a.f.as_chunks::<16>();
    let mut sums = [0f32; 16];
    for (w, x) in w16.iter().zip(x16) {
        for lane in 0..16 {
            sums[lane] += value(w[lane]) * x[lane];
        }
    }
    for (sum, (&w, &x)) in sums.iter_mut().zip(w_rest.iter().zip(x_rest)) {
        *sum += value(w) * x;
    }
    crate::ops::fold(&sums)
}
