//! Tensors of a folder as tensors of ours: in place where the bytes can stay, otherwise how they are made.
//!
//! F32, F16 and BF16 are block formats of ours and stay in place. FP8 (E4M3, arXiv 2209.05433) with its scales is decoded to
//! bf16, as the models' own library does: twice the bytes of the file, in memory of our own. Rows of q and k that pair the
//! halves of a head are brought into the interleaved order of GGUF, which copies those two matrices; vectors become f32.

use std::sync::Arc;

use ingle_kernel::half::f32_to_bf16;
use ingle_kernel::quant::{self, Format};

use crate::error::{Error, Result};
use crate::file::contents::Piece;
use crate::file::safetensors::Entry;

/// Types that are block formats of ours.
const FORMATS: &[(&str, &str)] = &[("F32", "f32"), ("F16", "f16"), ("BF16", "bf16")];
const FP8: &str = "F8_E4M3";
/// Rows and columns that share a scale, where the configuration does not say.
pub const FP8_BLOCK: [usize; 2] = [128, 128];

/// What stands in a folder other than in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Rows of query heads, in halves.
    QueryRows,
    /// Rows of key heads, in halves.
    KeyRows,
    /// A norm's weights less one.
    LessOne,
    /// A dimension of size 1 in the middle.
    Squeezed,
}

/// What changes need to know of the model.
#[derive(Debug, Clone, Copy)]
pub struct Heads {
    /// Of queries.
    pub n_heads: usize,
    /// Of keys and values.
    pub n_kv_heads: usize,
    /// Rows and columns of FP8 weights that share a scale.
    pub fp8_block: [usize; 2],
}

/// A tensor or a part of one: shape (innermost first), format, bytes.
#[derive(Debug)]
pub struct Part {
    pub shape: Vec<usize>,
    pub format: &'static Format,
    pub piece: Piece,
}

/// Reads `entry`, whose FP8 scales are `scale`.
///
/// # Errors
/// [`Error::Unsupported`] for other types, [`Error::Malformed`] when shapes contradict each other.
pub fn read(entry: &Entry, scale: Option<&Entry>, change: Change, heads: &Heads) -> Result<Part> {
    let part = || format!("tensor {}", entry.name);
    if entry.shape.contains(&0) {
        return Err(Error::malformed(part(), format!("shape {:?}", entry.shape), "sizes above zero"));
    }
    let mut shape: Vec<usize> = entry.shape.iter().rev().copied().collect();
    if change == Change::Squeezed {
        shape.retain(|&n| n != 1);
    }
    if shape.is_empty() {
        shape.push(1);
    }
    let rows = if shape.len() > 1 { entry.shape[0] } else { shape[0] };
    let known = FORMATS.iter().find(|(dtype, _)| *dtype == entry.dtype);
    let (format, piece) = match known {
        Some((_, name)) => (by_name(name), Piece::InPlace(entry.bytes.clone())),
        None if entry.dtype == FP8 => (by_name("bf16"), from_fp8(entry, scale, heads.fp8_block)?),
        None => {
            let types = FORMATS.iter().map(|(dtype, _)| *dtype).chain([FP8]);
            return Err(Error::unsupported(part(), format!("type {}", entry.dtype), types));
        }
    };
    let interleaved = |n_heads: usize, piece| {
        if rows % (2 * n_heads) != 0 {
            let expected = format!("pairs of rows in each of {n_heads} heads");
            return Err(Error::malformed(part(), format!("{rows} rows"), expected));
        }
        Ok(interleave(piece, rows, rows / n_heads))
    };
    let (format, piece) = match change {
        Change::None | Change::Squeezed => (format, piece),
        Change::QueryRows => (format, interleaved(heads.n_heads, piece)?),
        Change::KeyRows => (format, interleaved(heads.n_kv_heads, piece)?),
        Change::LessOne => (by_name("f32"), to_f32(piece, format, 1.0)),
    };
    // GGUF keeps vectors in f32.
    let (format, piece) = match shape.len() {
        1 if format.name != "f32" => (by_name("f32"), to_f32(piece, format, 0.0)),
        _ => (format, piece),
    };
    Ok(Part { shape, format, piece })
}

fn by_name(name: &str) -> &'static Format {
    quant::by_name(name).expect("float formats are on the shelf")
}

/// Rows `i` and `i + n / 2` of each head of `n` rows become neighbours.
fn interleave(piece: Piece, rows: usize, head_dim: usize) -> Piece {
    Piece::Made(Arc::new(move || {
        let from = piece.bytes();
        let row = from.len() / rows;
        let mut to = Vec::with_capacity(from.len());
        for head in from.chunks_exact(head_dim * row) {
            let (first, second) = head.split_at(head.len() / 2);
            for (a, b) in first.chunks_exact(row).zip(second.chunks_exact(row)) {
                to.extend_from_slice(a);
                to.extend_from_slice(b);
            }
        }
        to
    }))
}

/// Values plus `more`.
fn to_f32(piece: Piece, format: &'static Format, more: f32) -> Piece {
    Piece::Made(Arc::new(move || {
        let from = piece.bytes();
        let mut values = vec![0.0; from.len() / format.bytes];
        (format.dequantize)(&from, &mut values);
        values.iter().flat_map(|v| (v + more).to_le_bytes()).collect()
    }))
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
    let format = FORMATS.iter().find(|(dtype, _)| *dtype == scale.dtype);
    let Some(format) = format.map(|(_, name)| by_name(name)) else {
        let types = FORMATS.iter().map(|(dtype, _)| *dtype);
        return Err(Error::unsupported(
            format!("tensor {}", scale.name),
            format!("type {}", scale.dtype),
            types,
        ));
    };
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
    let mut scales = vec![0.0; scale.bytes.len() / format.bytes];
    (format.dequantize)(&scale.bytes, &mut scales);
    let bytes = entry.bytes.clone();
    Ok(Piece::Made(Arc::new(move || {
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
    use super::*;
    use ingle_kernel::bytes::Bytes;

    fn entry(dtype: &str, shape: &[usize], bytes: Vec<u8>) -> Entry {
        Entry { name: "w".into(), dtype: dtype.into(), shape: shape.to_vec(), bytes: Bytes::new(bytes) }
    }

    fn values(part: &Part) -> Vec<f32> {
        let bytes = part.piece.bytes();
        let mut values = vec![0.0; bytes.len() / part.format.bytes];
        (part.format.dequantize)(&bytes, &mut values);
        values
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
        let heads = Heads { n_heads: 1, n_kv_heads: 1, fp8_block: [2, 2] };
        let weights = entry(FP8, &[3, 3], vec![one; 9]);
        let scaled = |shape: &[usize], scales: &[f32]| {
            let bytes = scales.iter().flat_map(|v| v.to_le_bytes()).collect();
            let scale = entry("F32", shape, bytes);
            read(&weights, Some(&scale), Change::None, &heads).map(|part| values(&part))
        };
        assert_eq!(scaled(&[], &[3.0]).unwrap(), [3.0; 9]);
        assert_eq!(scaled(&[3, 1], &[1.0, 2.0, 3.0]).unwrap(), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
        let blocks = scaled(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(blocks, [1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0]);
        let heads = Heads { fp8_block: [usize::MAX; 2], ..heads };
        let all = read(&weights, Some(&entry("F32", &[1, 1], vec![0, 0, 0, 0x40])), Change::None, &heads);
        assert_eq!(values(&all.unwrap()), [2.0; 9]);
        let error = scaled(&[2, 1], &[1.0, 2.0]).unwrap_err().to_string();
        assert_eq!(error, "tensor w: shape [2, 1], expected [1], [3, 1] or [2, 2] for [3, 3]");
    }

    #[test]
    fn a_single_value_has_one_dimension_whatever_its_shape() {
        let heads = Heads { n_heads: 1, n_kv_heads: 1, fp8_block: FP8_BLOCK };
        for (shape, change) in [(&[][..], Change::None), (&[1, 1, 1], Change::Squeezed)] {
            let part = read(&entry("BF16", shape, vec![0x80, 0x3f]), None, change, &heads).unwrap();
            assert_eq!((&part.shape[..], values(&part)), (&[1][..], vec![1.0]));
        }
    }

    #[test]
    fn halves_of_each_head_interleave() {
        let heads = Heads { n_heads: 2, n_kv_heads: 1, fp8_block: FP8_BLOCK };
        let rows: Vec<u8> = (0..8).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let rows = entry("F32", &[8], rows);
        let q = read(&rows, None, Change::QueryRows, &heads).unwrap();
        assert_eq!(values(&q), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        let k = read(&rows, None, Change::KeyRows, &heads).unwrap();
        assert_eq!(values(&k), [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
    }
}
