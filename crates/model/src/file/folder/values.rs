//! Tensors of a folder as parts of tensors of ours: in place where the bytes can stay, otherwise how they are made.
//!
//! F32, F16 and BF16 are block formats of ours and stay in place. FP8 (E4M3, arXiv 2209.05433) with its scales is decoded to
//! bf16, as the models' own library does: twice the bytes of the file, in memory of our own. MXFP4 (OCP's Microscaling
//! specification 1.0) has blocks of 32 codes and their scales in two tensors of bytes: the same numbers as in GGUF, whose
//! blocks we make in memory, one expert after the other. Weights that [`super::quantised`] put there come in blocks of ours or
//! as floats. Then come the changes that the tables ask for; vectors become f32.

use std::sync::{Arc, OnceLock};

use ingle_kernel::bytes::Bytes;
use ingle_kernel::half::f32_to_bf16;
use ingle_kernel::quant::{self, Format};

use super::change::{Change, Part, squeezed};
use super::fields::Fields;
use super::quantised::block_format;
use crate::error::{Error, Result};
use crate::file::contents::Piece;
use crate::file::entry::Entry;

/// Types that are block formats of ours.
static FORMATS: [(&str, &Format); 3] = [("F32", &quant::F32), ("F16", &quant::F16), ("BF16", &quant::BF16)];
const FP8: &str = "F8_E4M3";
/// The type of MXFP4's blocks and scales.
const BYTES: &str = "U8";
/// Bytes of a block's codes in such files, and the values in it.
const MXFP4: [usize; 2] = [16, 32];
/// Rows and columns that share a scale of FP8 weights, where the configuration does not say.
pub const FP8_BLOCK: [usize; 2] = [128, 128];

/// Reads `entry`, whose scales are `scale`, and applies `change`. Blocks of FP8 weights that share a scale are of `fp8_block`.
///
/// # Errors
/// [`Error::Unsupported`] for other types, [`Error::Malformed`] when shapes contradict each other or `config`.
pub fn read(
    entry: &Entry,
    scale: Option<&Entry>,
    fp8_block: [usize; 2],
    change: Change,
    config: &Fields<'_>,
) -> Result<Part> {
    let name = entry.name.clone();
    let part = || format!("tensor {}", entry.name);
    if entry.shape.contains(&0) {
        return Err(Error::malformed(part(), format!("shape {:?}", entry.shape), "sizes above zero"));
    }
    let mut shape: Vec<usize> = entry.shape.iter().rev().copied().collect();
    if shape.is_empty() {
        shape.push(1);
    }
    let plain = FORMATS.iter().find(|(dtype, _)| *dtype == entry.dtype).map(|(_, format)| *format);
    let known = plain.or_else(|| block_format(&entry.dtype));
    let read = match (known, scale) {
        (Some(format), _) => {
            let pieces = vec![entry.piece.clone()];
            Part { name, shape, format, pieces }
        }
        (None, _) if entry.dtype == FP8 => {
            let pieces = vec![from_fp8(entry, scale, fp8_block)?];
            Part { name, shape, format: &quant::BF16, pieces }
        }
        (None, Some(scale)) if entry.dtype == BYTES => from_mxfp4(entry, scale)?,
        (None, _) => {
            let types = FORMATS.iter().map(|(dtype, _)| *dtype).chain([FP8]);
            return Err(Error::unsupported(part(), format!("type {}", entry.dtype), types));
        }
    };
    let changed = change.apply(read, config)?;
    // GGUF keeps vectors in f32.
    Ok(match changed.shape.len() {
        1 if changed.format.name != "f32" => changed.map(|v| v),
        _ => changed,
    })
}

/// The format of `entry`'s floats.
///
/// # Errors
/// [`Error::Unsupported`] when it has something else.
pub fn float_format(entry: &Entry) -> Result<&'static Format> {
    let format = FORMATS.iter().find(|(dtype, _)| *dtype == entry.dtype);
    format.map(|(_, format)| *format).ok_or_else(|| {
        let types = FORMATS.iter().map(|(dtype, _)| *dtype);
        Error::unsupported(entry.part(), format!("type {}", entry.dtype), types)
    })
}

/// The only value of `entry`.
///
/// # Errors
/// As [`read`], and [`Error::Malformed`] when it has more.
pub fn single(entry: &Entry, config: &Fields<'_>) -> Result<f32> {
    let part = read(entry, None, FP8_BLOCK, Change::Other(squeezed), config)?;
    if part.shape != [1] {
        let part = format!("tensor {}", entry.name);
        return Err(Error::malformed(part, format!("shape {:?}", entry.shape), "one value"));
    }
    let bytes = part.pieces[0].bytes();
    Ok(f32::from_le_bytes(bytes[..4].try_into().expect("a vector in f32")))
}

/// FP8 values times their scales, as bf16.
///
/// One scale for all, one for each row, or one for each block of rows and columns.
fn from_fp8(entry: &Entry, scale: Option<&Entry>, block: [usize; 2]) -> Result<Piece> {
    let part = || format!("tensor {}", entry.name);
    let &[rows, cols] = entry.shape.as_slice() else {
        return Err(Error::malformed(part(), format!("shape {:?}", entry.shape), "a matrix of FP8 values"));
    };
    let scale = scale.ok_or_else(|| {
        Error::malformed(part(), "FP8 values alone", "a tensor of the same name and _scale or _scale_inv")
    })?;
    let format = float_format(scale)?;
    let block = [block[0].min(rows), block[1].min(cols)];
    let blocks = [rows.div_ceil(block[0]), cols.div_ceil(block[1])];
    let block = match *scale.shape.as_slice() {
        [] | [1] | [1, 1] => [rows, cols],
        [n] | [n, 1] if n == rows => [1, cols],
        [r, c] if [r, c] == blocks => block,
        _ => {
            let found = format!("shape {:?}", scale.shape);
            let expected = format!("[1], [{rows}, 1] or {blocks:?} for {:?}", entry.shape);
            return Err(Error::malformed(format!("tensor {}", scale.name), found, expected));
        }
    };
    let stored = scale.bytes();
    let mut scales = vec![0.0; stored.len() / format.bytes];
    (format.dequantize)(&stored, &mut scales);
    let piece = entry.piece.clone();
    Ok(Piece::Made(Arc::new(move || {
        let bytes = piece.bytes();
        let mut to = vec![0; 2 * bytes.len()];
        let decoded: [f32; 256] = std::array::from_fn(|bits| e4m3(bits as u8));
        let per_row = cols.div_ceil(block[1]);
        let rows = bytes.chunks_exact(cols).zip(to.chunks_exact_mut(2 * cols));
        for (r, (row, to)) in rows.enumerate() {
            let runs = row.chunks(block[1]).zip(to.chunks_mut(2 * block[1]));
            for ((run, to), scale) in runs.zip(&scales[r / block[0] * per_row..]) {
                for (to, &bits) in to.as_chunks_mut::<2>().0.iter_mut().zip(run) {
                    *to = f32_to_bf16(decoded[bits as usize] * scale).to_le_bytes();
                }
            }
        }
        to
    })))
}

/// Blocks of GGUF's order: a scale, then codes 0 and 16, 1 and 17, ... two to a byte. The file has neighbours in a byte.
fn from_mxfp4(entry: &Entry, scale: &Entry) -> Result<Part> {
    let [bytes_per_block, block] = MXFP4;
    let part = || format!("tensor {}", entry.name);
    let &[n, rows, blocks, bytes] = entry.shape.as_slice() else {
        let expected = "experts, rows, blocks and bytes of a block";
        return Err(Error::malformed(part(), format!("shape {:?}", entry.shape), expected));
    };
    if bytes != bytes_per_block {
        return Err(Error::malformed(part(), format!("blocks of {bytes} bytes"), bytes_per_block));
    }
    if scale.dtype != BYTES || scale.shape != [n, rows, blocks] {
        let found = format!("shape {:?} of type {}", scale.shape, scale.dtype);
        let expected = format!("{:?} of type {BYTES}", [n, rows, blocks]);
        return Err(Error::malformed(format!("tensor {}", scale.name), found, expected));
    }
    let (codes, scales) = (entry.piece.clone(), scale.piece.clone());
    // Once for all experts, as values that don't lie together are gathered for it; and not before one of them is wanted.
    let gathered = Arc::new(OnceLock::new());
    let expert = |i: usize| {
        let (codes, scales, gathered) = (codes.clone(), scales.clone(), gathered.clone());
        Piece::Made(Arc::new(move || {
            let share = |of: &Bytes| {
                let size = of.len() / n;
                of.get(i * size..(i + 1) * size).expect("an expert's share")
            };
            let [codes, scales] = gathered.get_or_init(|| [codes.bytes(), scales.bytes()]);
            let (codes, scales) = (share(codes), share(scales));
            let mut to = Vec::with_capacity(codes.len() + scales.len());
            for (codes, &scale) in codes.as_chunks::<{ MXFP4[0] }>().0.iter().zip(&scales[..]) {
                let code = |i: usize| codes[i / 2] >> (i % 2 * 4) & 15;
                to.push(scale);
                to.extend((0..block / 2).map(|i| code(i) | code(block / 2 + i) << 4));
            }
            to
        }))
    };
    let pieces = (0..n).map(expert).collect();
    let shape = vec![blocks * block, rows, n];
    Ok(Part { name: entry.name.clone(), shape, format: &quant::MXFP4, pieces })
}

/// A sign, four bits of exponent with a bias of 7, three of mantissa; no infinities, one NaN of each sign.
fn e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 512.0,
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if bits & 0x80 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use serde_json::json;

    fn entry(dtype: &str, shape: &[usize], bytes: Vec<u8>) -> Entry {
        Entry {
            name: "w".into(),
            dtype: dtype.into(),
            shape: shape.to_vec(),
            piece: Piece::InPlace(Bytes::new(bytes)),
        }
    }

    fn values(part: &Part) -> Vec<f32> {
        let bytes: Vec<u8> = part.pieces.iter().flat_map(|piece| piece.bytes().to_vec()).collect();
        let mut values = vec![0.0; bytes.len() / part.format.bytes * part.format.block];
        (part.format.dequantize)(&bytes, &mut values);
        values
    }

    /// Reads with blocks of 2 by 2 in a model of two heads of queries and one of keys.
    fn read_as(change: Change, entry: &Entry, scale: Option<&Entry>, fp8_block: [usize; 2]) -> Result<Part> {
        let config = json!({"num_attention_heads": 2, "num_key_value_heads": 1});
        let map = config.as_object().unwrap();
        read(entry, scale, fp8_block, change, &Fields::of_file("config.json", map))
    }

    #[test]
    fn fp8_is_what_its_paper_says() {
        for (bits, value) in
            [(0x00, 0.0), (0x01, 1.0 / 512.0), (0x07, 7.0 / 512.0), (0x08, 1.0 / 64.0), (0x38, 1.0)]
        {
            assert_eq!(e4m3(bits), value);
            assert_eq!(e4m3(bits | 0x80), -value);
        }
        assert_eq!(e4m3(0x7e), 448.0);
        assert!(e4m3(0x7f).is_nan());
    }

    #[test]
    fn fp8_scales_cover_all_a_row_or_a_block() {
        let one = 0x38;
        let weights = entry(FP8, &[3, 3], vec![one; 9]);
        let scaled = |shape: &[usize], scales: &[f32]| {
            let bytes = scales.iter().flat_map(|v| v.to_le_bytes()).collect();
            let scale = entry("F32", shape, bytes);
            read_as(Change::AsIs, &weights, Some(&scale), [2, 2]).map(|part| values(&part))
        };
        assert_eq!(scaled(&[], &[3.0]).unwrap(), [3.0; 9]);
        assert_eq!(scaled(&[3, 1], &[1.0, 2.0, 3.0]).unwrap(), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
        let blocks = scaled(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(blocks, [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
        let two = entry("F32", &[1, 1], vec![0, 0, 0, 0x40]);
        let all = read_as(Change::AsIs, &weights, Some(&two), [usize::MAX; 2]);
        assert_eq!(values(&all.unwrap()), [2.0; 9]);
        let error = scaled(&[2, 1], &[1.0, 2.0]).unwrap_err().to_string();
        assert_eq!(error, "tensor w: shape [2, 1], expected [1], [3, 1] or [2, 2] for [3, 3]");
    }

    #[test]
    fn a_single_value_has_one_dimension_whatever_its_shape() {
        for (shape, change) in [(&[][..], Change::AsIs), (&[1, 1, 1], Change::Other(squeezed))] {
            let one = entry("BF16", shape, vec![0x80, 0x3f]);
            let part = read_as(change, &one, None, FP8_BLOCK).unwrap();
            assert_eq!((&part.shape[..], values(&part)), (&[1][..], vec![1.0]));
        }
    }

    #[test]
    fn halves_of_each_head_interleave() {
        let rows: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let rows = entry("F32", &[8], rows);
        let q = read_as(Change::QueryRows, &rows, None, FP8_BLOCK).unwrap();
        assert_eq!(values(&q), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        let k = read_as(Change::KeyRows, &rows, None, FP8_BLOCK).unwrap();
        assert_eq!(values(&k), [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
    }

    #[test]
    fn codes_of_mxfp4_change_places_within_their_block() {
        let codes: Vec<u8> = (0..16).map(|i| (2 * i % 16) | (((2 * i + 1) % 16) << 4)).collect();
        let blocks = entry(BYTES, &[1, 1, 1, 16], codes);
        let part =
            read_as(Change::AsIs, &blocks, Some(&entry(BYTES, &[1, 1, 1], vec![128])), FP8_BLOCK).unwrap();
        assert_eq!(part.shape, [32, 1, 1]);
        let half = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 0.0, -1.0, -2.0, -3.0, -4.0, -6.0, -8.0, -12.0];
        assert_eq!(values(&part), [half, half].concat());
        let said =
            read_as(Change::AsIs, &blocks, Some(&entry(BYTES, &[1, 2], vec![0; 2])), FP8_BLOCK).unwrap_err();
        assert_eq!(said.to_string(), "tensor w: shape [1, 2] of type U8, expected [1, 1, 1] of type U8");
    }

    #[test]
    fn experts_that_lie_apart_are_gathered_when_one_is_wanted_and_once_for_all() {
        let n_gathered = Arc::new(AtomicUsize::new(0));
        let apart = |shape: &[usize]| {
            let (n_gathered, n_bytes) = (n_gathered.clone(), shape.iter().product());
            let made = move || {
                n_gathered.fetch_add(1, Relaxed);
                (0..n_bytes).map(|i| i as u8).collect()
            };
            Entry { piece: Piece::Made(Arc::new(made)), ..entry(BYTES, shape, Vec::new()) }
        };
        let (blocks, scales) = (apart(&[3, 2, 1, 16]), apart(&[3, 2, 1]));
        let part = read_as(Change::AsIs, &blocks, Some(&scales), FP8_BLOCK).unwrap();
        assert_eq!((part.pieces.len(), n_gathered.load(Relaxed)), (3, 0));
        let firsts: Vec<u8> = part.pieces.iter().map(|piece| piece.bytes()[0]).collect();
        assert_eq!((firsts, n_gathered.load(Relaxed)), (vec![0, 2, 4], 2));
    }
}
