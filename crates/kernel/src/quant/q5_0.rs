//! q5_0: 32 five-bit numbers around 16 and their scale.
//!
//! | bytes | what |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2..6 | bit `j` of this little-endian word is the fifth bit of value `j` |
//! | 6..22 | the lower four bits as in q4_0: byte `j` holds value `j` in its low half and value `16 + j` in its high half |
//!
//! A weight is `d * (q - 16)`.

use super::Format;
use super::fit::{self, Levels as _, Uniform};
use super::grid::{self, Grid, Levels};
use super::ints::{self, Block};
use crate::acts::Act;

pub static Q5_0: Format = Format {
    name: "q5_0",
    ggml_id: 6,
    block: 32,
    bytes: BYTES,
    act: Act::Q8x32,
    dequantize: |blocks, out| ints::dequantize(blocks, out, unpack),
    quantize: Some(|x, importance, out| fit::each_block(x, importance, out, encode)),
    grid: Some(Grid {
        levels: Levels::Uniform(-16, 15),
        read: |blocks, steps, levels| grid::read(blocks, steps, levels, unpack),
        write: |levels, blocks| grid::write(levels, blocks, put),
        scaling: None,
    }),
    dot: |w, a| ints::dot(w, a, unpack),
};

const BYTES: usize = 2 + 4 + 16;
const _: () = assert!(BYTES == 22, "ggml's size");

#[inline(always)]
fn unpack(block: &[u8; BYTES]) -> Block<32> {
    let q = five_bits(block[2..].first_chunk().expect("20 of 20"));
    Block { d: ints::f16(block, 0), m: 0.0, q: q.map(|q| q as i8 - 16) }
}

/// The 32 five-bit numbers of a fifth-bit word and 16 bytes, as q5_1 has them too.
#[inline(always)]
pub(super) fn five_bits(bytes: &[u8; 20]) -> [u8; 32] {
    let (high, low) = bytes.split_first_chunk::<4>().expect("4 of 20");
    let high = u32::from_le_bytes(*high);
    std::array::from_fn(|k| (low[k % 16] >> (4 * (k / 16)) & 15) | ((high >> k & 1) as u8) << 4)
}

/// The inverse of [`five_bits`].
#[inline(always)]
pub(super) fn pack_five_bits(q: [u8; 32], bytes: &mut [u8; 20]) {
    let (high, low) = bytes.split_first_chunk_mut::<4>().expect("4 of 20");
    *high = q.iter().enumerate().fold(0u32, |word, (k, &q)| word | u32::from(q >> 4) << k).to_le_bytes();
    for (j, low) in low.iter_mut().enumerate() {
        *low = q[j] & 15 | q[j + 16] << 4;
    }
}

fn encode(x: &[f32; 32], w: &[f32; 32], block: &mut [u8; BYTES]) {
    let levels = Uniform(-16.0, 15.0);
    let (d, t) = fit::stored_scale(x, w, levels, (3.6, 8));
    block[..2].copy_from_slice(&d);
    put(&x.map(|x| levels.nearest(x * t) as i8), block);
}

fn put(levels: &[i8; 32], block: &mut [u8; BYTES]) {
    pack_five_bits(levels.map(|q| (q + 16) as u8), block[2..].first_chunk_mut().expect("20 of 20"));
}
