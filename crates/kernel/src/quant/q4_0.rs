//! q4_0: 32 four-bit numbers around 8 and their scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | `q`: byte `j` holds value `j` in its low half and value `16 + j` in its high half |
//!
//! A weight is `d * (q - 8)`.

use super::Format;
use super::fit::{self, Levels, Uniform};
use crate::acts::{Act, ActRow};
use crate::half::{f16_to_f32, f32_to_f16};

pub static Q4_0: Format = Format {
    name: "q4_0",
    ggml_id: 2,
    block: 32,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize,
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    dot,
};

pub(crate) const BYTES: usize = 2 + 16;
const _: () = assert!(BYTES == 18, "ggml's size");

/// Scale and packed quants of a block.
#[inline(always)]
pub(crate) fn parts(block: &[u8; BYTES]) -> (f32, &[u8; 16]) {
    let (d, q) = block.split_first_chunk::<2>().expect("2 of 18");
    (f16_to_f32(u16::from_le_bytes(*d)), q.first_chunk().expect("16 of 16"))
}

fn dequantize(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        let (d, q) = parts(block);
        for (j, &q) in q.iter().enumerate() {
            out[j] = (i32::from(q & 15) - 8) as f32 * d;
            out[j + 16] = (i32::from(q >> 4) - 8) as f32 * d;
        }
    }
}

fn encode(x: &[f32; 32], w: &[f32; 32], block: &mut [u8; BYTES]) {
    let levels = Uniform(-8.0, 7.0);
    let d = if fit::representable(x) { fit::scale(x, w, levels, 1.8, 4).0 } else { f32::NAN };
    let d = f32_to_f16(d);
    let t = fit::inverse(f16_to_f32(d));
    let step = |x: f32| (levels.nearest(x * t) + 8.0) as u8;
    let (head, q) = block.split_first_chunk_mut().expect("2 of 18");
    *head = d.to_le_bytes();
    for (j, q) in q.iter_mut().enumerate() {
        *q = step(x[j]) | step(x[j + 16]) << 4;
    }
}

fn dot(w: &[u8], a: ActRow<'_>) -> f32 {
    let mut acc = 0.0;
    for ((block, a_q), &a_d) in w.as_chunks::<BYTES>().0.iter().zip(a.q.as_chunks::<32>().0).zip(a.d) {
        let (d, q) = parts(block);
        let mut isum = 0;
        for (j, &q) in q.iter().enumerate() {
            isum += (i32::from(q & 15) - 8) * i32::from(a_q[j]);
            isum += (i32::from(q >> 4) - 8) * i32::from(a_q[j + 16]);
        }
        acc += isum as f32 * (d * a_d);
    }
    acc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_the_grid_are_exact() {
        let mut x = [0.0; 32];
        (x[0], x[1], x[16], x[17]) = (8.0, -7.0, 3.0, -5.0);
        let mut block = [0; BYTES];
        encode(&x, &[1.0; 32], &mut block);
        let mut back = [0.0; 32];
        dequantize(&block, &mut back);
        assert_eq!((back[0], back[1], back[16], back[17], back[2]), (8.0, -7.0, 3.0, -5.0, 0.0));
    }

    #[test]
    fn a_block_of_zeros_decodes_to_zeros() {
        let mut block = [1; BYTES];
        encode(&[0.0; 32], &[1.0; 32], &mut block);
        let mut back = [1.0; 32];
        dequantize(&block, &mut back);
        assert_eq!(back, [0.0; 32]);
    }
}
