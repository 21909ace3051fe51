//! q4_0: 32 four-bit numbers around 8 and their scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..18 | `q`: byte `j` holds value `j` in its low half and value `16 + j` in its high half |
//!
//! A weight is `d * (q - 8)`.

use super::Format;
use super::fit::{self, Levels as _, Uniform};
use super::grid::{self, Grid, Levels};
use super::ints::{self, Block};
use crate::acts::Act;

pub static Q4_0: Format = Format {
    name: "q4_0",
    ggml_id: 2,
    block: 32,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize: |blocks, out| ints::dequantize(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(-8, 7),
        read: |blocks, steps, levels| grid::read(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot: |w, a| ints::dot(w, a, unpack),
};

const BYTES: usize = 2 + 16;
const _: () = assert!(BYTES == 18, "ggml's size");

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Block<32> {
    let q = ints::nibbles(block[2..].first_chunk().expect("16 of 16"));
    Block { d: ints::f16(block, 0), m: 0.0, q: q.map(|q| q - 8) }
}

fn encode(x: &[f32; 32], w: &[f32; 32], block: &mut [u8; BYTES]) {
    let levels = Uniform(-8.0, 7.0);
    let (d, t) = fit::stored_scale(x, w, levels, (1.8, 4));
    block[..2].copy_from_slice(&d);
    put(&x.map(|x| levels.nearest(x * t) as i8), block);
}

fn put(levels: &[i8; 32], block: &mut [u8; BYTES]) {
    ints::pack_nibbles(levels.map(|q| (q + 8) as u8), block[2..].first_chunk_mut().expect("16 of 16"));
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
        (Q4_0.dequantize)(&block, &mut back);
        assert_eq!((back[0], back[1], back[16], back[17], back[2]), (8.0, -7.0, 3.0, -5.0, 0.0));
    }

    #[test]
    fn a_block_of_zeros_decodes_to_zeros() {
        let mut block = [1; BYTES];
        encode(&[0.0; 32], &[1.0; 32], &mut block);
        let mut back = [1.0; 32];
        (Q4_0.dequantize)(&block, &mut back);
        assert_eq!(back, [0.0; 32]);
    }
}
