//! q6_K: 256 six-bit numbers around 32 in 16 groups of 16, each group with an 8-bit scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..128 | `low`: the lower four bits |
//! | 128..192 | `high`: the upper two bits |
//! | 192..208 | `sc[0..16]`, i8 |
//! | 208..210 | `d`, f16 |
//!
//! Each half of 128 values owns 64 bytes of `low` and 32 of `high`. Value `32 r + l` of a half (`r` < 4, `l` < 32) has its low bits in
//! byte `32 (r % 2) + l`, lower half of the byte for `r` < 2 and upper half otherwise, and its high bits in byte `l` at bit `2 r`.
//!
//! A weight of group `j` is `d * sc[j] * (q - 32)`.

use super::Format;
use super::fit::{self, Uniform};
use super::superblock::{self, Encoded};
use crate::acts::{Act, ActRow};
use crate::half::f16_to_f32;

pub static Q6_K: Format = Format {
    name: "q6_K",
    ggml_id: 14,
    block: 256,
    bytes: BYTES,
    act: Act::Q8x256,
    dequantize,
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    dot,
};

pub(crate) const BYTES: usize = 128 + 64 + 16 + 2;
const _: () = assert!(BYTES == 210, "ggml's size");

/// A block's fields.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub low: &'a [u8; 128],
    pub high: &'a [u8; 64],
    /// Scales, to be read as i8.
    pub sc: &'a [u8; 16],
    pub d: f32,
}

#[inline(always)]
pub(crate) fn parts(block: &[u8; BYTES]) -> Parts<'_> {
    let (low, rest) = block.split_first_chunk().expect("128 of 210");
    let (high, rest) = rest.split_first_chunk().expect("64 of 82");
    let (sc, d) = rest.split_first_chunk().expect("16 of 18");
    Parts { low, high, sc, d: f16_to_f32(u16::from_le_bytes([d[0], d[1]])) }
}

/// The 32 values of run `run` < 8, two groups, around zero.
#[inline(always)]
fn values(b: &Parts<'_>, run: usize) -> [i8; 32] {
    let (half, r) = (run / 4, run % 4);
    let low = &b.low.as_chunks::<32>().0[2 * half + r % 2];
    let high = &b.high.as_chunks::<32>().0[half];
    std::array::from_fn(|l| ((low[l] >> (4 * (r / 2))) & 15 | ((high[l] >> (2 * r)) & 3) << 4) as i8 - 32)
}

fn dequantize(blocks: &[u8], out: &mut [f32]) {
    for (block, out) in blocks.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<256>().0) {
        let b = parts(block);
        for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (l, (v, q)) in out.iter_mut().zip(values(&b, run)).enumerate() {
                *v = b.d * f32::from(b.sc[2 * run + l / 16] as i8) * f32::from(q);
            }
        }
    }
}

fn dot(w: &[u8], a: ActRow<'_>) -> f32 {
    let mut acc = 0.0;
    for ((block, a_q), &a_d) in w.as_chunks::<BYTES>().0.iter().zip(a.q.as_chunks::<256>().0).zip(a.d) {
        let b = parts(block);
        let mut isum = 0;
        for (run, a_q) in a_q.as_chunks::<32>().0.iter().enumerate() {
            let q = values(&b, run);
            for (group, (q, a_q)) in q.as_chunks::<16>().0.iter().zip(a_q.as_chunks::<16>().0).enumerate() {
                let dot: i32 = q.iter().zip(a_q).map(|(&q, &a)| i32::from(q) * i32::from(a)).sum();
                isum += i32::from(b.sc[2 * run + group] as i8) * dot;
            }
        }
        acc += isum as f32 * (b.d * a_d);
    }
    acc
}

fn encode(x: &[f32; 256], w: &[f32; 256], block: &mut [u8; BYTES]) {
    let e: Encoded<16> = if fit::representable(x) {
        superblock::encode_symmetric::<16, 16>(x, w, Uniform(-32.0, 31.0), Uniform(-128.0, 127.0), (5.0, 8))
    } else {
        Encoded::NAN
    };
    let q = |half: usize, r: usize, l: usize| (e.q[128 * half + 32 * r + l] + 32) as u8;
    for (i, byte) in block[..128].iter_mut().enumerate() {
        let (half, r, l) = (i / 64, i / 32 % 2, i % 32);
        *byte = q(half, r, l) & 15 | q(half, r + 2, l) << 4;
    }
    for (i, byte) in block[128..192].iter_mut().enumerate() {
        *byte = (0..4).fold(0, |byte, r| byte | q(i / 32, r, i % 32) >> 4 << (2 * r));
    }
    for (byte, sc) in block[192..208].iter_mut().zip(e.sc) {
        *byte = sc as u8;
    }
    block[208..].copy_from_slice(&e.d.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_of_the_quants_moves_one_value() {
        for bit in 0..192 * 8 {
            let mut block = [0; BYTES];
            block[bit / 8] = 1 << (bit % 8);
            let b = parts(&block);
            let moved = (0..8).flat_map(|run| values(&b, run)).filter(|&v| v != -32).count();
            assert_eq!(moved, 1, "bit {bit}");
        }
    }

    #[test]
    fn scales_are_signed() {
        let mut block = [0; BYTES];
        (block[192], block[208], block[209]) = (0xff, 0x00, 0x3c); // -1 and d = 1
        let mut out = [0.0; 256];
        dequantize(&block, &mut out);
        assert_eq!((out[0], out[15], out[16]), (32.0, 32.0, 0.0));
    }
}
