//! A matrix of integers with scales and zero points, and what it becomes in memory.
//!
//! A weight is `scale * (code - zero)`. Where the columns of a block share scale and zero, and the scale is one that binary16
//! holds, the smallest of q4_0, q5_0 and q8_0 that has all differences of code and zero holds the same weights bit for bit:
//! q4_0 what is symmetric of 4 bits and anything of 2 and 3, q5_0 the rest of 4 bits, q8_0 what is symmetric of 8. Otherwise
//! (columns in another order than their groups, groups that are no whole blocks, asymmetric 8 bits) the weights become floats
//! of the scales' type, rounded as the libraries that write such files round them. Both are made when the weight is read.

use std::sync::Arc;

use ingle_kernel::half::{f16_to_f32, f32_to_f16};
use ingle_kernel::quant::{self, Format};

use super::super::values;
use super::words;
use crate::error::{Error, Result};
use crate::file::contents::Piece;
use crate::file::entry::Entry;

/// Values of a block.
const BLOCK: usize = 32;

/// Formats of blocks, the smallest first: the differences each holds, and how a block of them is written.
static BLOCKS: [(i16, i16, &str, fn(&[i16; BLOCK], &mut Vec<u8>)); 3] =
    [(-8, 7, "q4_0", four_bits), (-16, 15, "q5_0", five_bits), (-128, 127, "q8_0", eight_bits)];

/// Fills the codes of the rows from one on: `(n_rows, cols)`.
pub type Codes = Box<dyn Fn(usize, &mut [i16]) + Send + Sync>;

/// Gives the zero of each group of each row: `(rows, n_groups)`.
pub type Zeros = Box<dyn Fn() -> Vec<i16> + Send + Sync>;

/// A matrix as it is stored.
pub struct Grid {
    pub rows: usize,
    pub cols: usize,
    /// The lowest and highest code there can be.
    pub range: (i16, i16),
    pub codes: Codes,
    /// How many rows are best asked for at once.
    pub tile: usize,
    pub scales: Scales,
    /// Zero where there are none.
    pub zeros: Option<Zeros>,
    pub groups: Groups,
}

/// Which columns share a scale and a zero.
pub enum Groups {
    /// So many neighbours.
    Of(usize),
    /// The group of each column, of so many.
    Listed(Vec<u32>, usize),
}

impl Groups {
    /// As a tensor of a number for each of `cols` columns says, which may say no more than that groups have `size` neighbours.
    pub fn listed(entry: &Entry, cols: usize, size: usize) -> Result<Self> {
        let n = cols.div_ceil(size);
        if entry.dtype != "I32" || entry.shape != [cols] {
            let found = format!("shape {:?} of type {}", entry.shape, entry.dtype);
            return Err(Error::malformed(entry.part(), found, format!("[{cols}] of type I32")));
        }
        let list = words(entry);
        // Some write it before they know, and never again.
        if list.iter().all(|&group| group == u32::MAX) || (0..cols).all(|i| list[i] as usize == i / size) {
            return Ok(Self::Of(size));
        }
        match list.iter().find(|&&group| group as usize >= n) {
            Some(group) => Err(Error::malformed(
                entry.part(),
                format!("group {}", *group as i32),
                format!("0 to {}", n - 1),
            )),
            None => Ok(Self::Listed(list, n)),
        }
    }

    fn n(&self, cols: usize) -> usize {
        match self {
            Self::Of(size) => cols.div_ceil(*size),
            Self::Listed(_, n) => *n,
        }
    }
}

/// Scales of groups.
pub struct Scales {
    entry: Entry,
    format: &'static Format,
    /// Rows of the matrix are the tensor's columns.
    turned: bool,
}

impl Scales {
    /// Of a tensor with a scale for each group of each row; `turned`: for each row of each group.
    pub fn new(entry: Entry, turned: bool) -> Result<Self> {
        let format = values::float_format(&entry)?;
        Ok(Self { entry, format, turned })
    }

    /// All, the same for all rows and groups if there is but one. `(rows, n_groups)`
    fn read(&self, rows: usize, n_groups: usize) -> Vec<f32> {
        let bytes = self.entry.bytes();
        let mut stored = vec![0.0; bytes.len() / self.format.bytes];
        (self.format.dequantize)(&bytes, &mut stored);
        match stored[..] {
            [one] => vec![one; rows * n_groups],
            _ if self.turned => {
                (0..rows * n_groups).map(|i| stored[i % n_groups * rows + i / n_groups]).collect()
            }
            _ => stored,
        }
    }
}

impl Grid {
    /// The weights under `name`.
    pub fn entry(self, name: String) -> Entry {
        let n_groups = self.groups.n(self.cols);
        let in_blocks = self.cols.is_multiple_of(BLOCK)
            && matches!(self.groups, Groups::Of(size) if size % BLOCK == 0 || size >= self.cols);
        let is_half = |&scale: &f32| scale.is_finite() && f16_to_f32(f32_to_f16(scale)) == scale;
        let exact = in_blocks
            && (self.scales.format.name == "f16"
                || self.scales.read(self.rows, n_groups).iter().all(is_half));
        let block = self.differences().and_then(|(low, high)| {
            BLOCKS.iter().find(|(least, most, ..)| *least <= low && high <= *most).filter(|_| exact)
        });
        let shape = vec![self.rows, self.cols];
        let (dtype, piece) = match block {
            Some(&(_, _, format, pack)) => {
                (format.to_owned(), Piece::Made(Arc::new(move || self.blocks(pack))))
            }
            None => (self.scales.entry.dtype.clone(), Piece::Made(Arc::new(move || self.floats()))),
        };
        Entry { name, dtype, shape, piece }
    }

    /// The lowest and highest difference of a code and a zero that there can be; `None` where they are too far apart to count.
    fn differences(&self) -> Option<(i16, i16)> {
        let zeros = self.zeros.as_ref().map(|zeros| zeros());
        let zeros = zeros.map_or(Some((0, 0)), |all| Some((*all.iter().min()?, *all.iter().max()?)));
        let (least, most) = zeros?;
        Some((self.range.0.checked_sub(most)?, self.range.1.checked_sub(least)?))
    }

    /// Calls `take` with each row's differences of codes and zeros, and its scales by group.
    fn each_row(&self, mut take: impl FnMut(&[i16], &[f32])) {
        let n_groups = self.groups.n(self.cols);
        let scales = self.scales.read(self.rows, n_groups);
        let zeros = self.zeros.as_ref().map(|zeros| zeros());
        let mut codes = vec![0; self.tile * self.cols];
        for first in (0..self.rows).step_by(self.tile) {
            let n = self.tile.min(self.rows - first);
            (self.codes)(first, &mut codes[..n * self.cols]);
            for (i, row) in codes[..n * self.cols].chunks_exact_mut(self.cols).enumerate() {
                let groups = (first + i) * n_groups..(first + i + 1) * n_groups;
                if let Some(zeros) = zeros.as_ref().map(|zeros| &zeros[groups.clone()]) {
                    match &self.groups {
                        Groups::Of(size) => {
                            for (run, zero) in row.chunks_mut(*size).zip(zeros) {
                                run.iter_mut().for_each(|code| *code -= zero);
                            }
                        }
                        Groups::Listed(list, _) => {
                            row.iter_mut()
                                .zip(list)
                                .for_each(|(code, &group)| *code -= zeros[group as usize]);
                        }
                    }
                }
                take(row, &scales[groups]);
            }
        }
    }

    fn blocks(&self, pack: fn(&[i16; BLOCK], &mut Vec<u8>)) -> Vec<u8> {
        let Groups::Of(size) = self.groups else { unreachable!("columns in groups of neighbours") };
        let mut to = Vec::new();
        self.each_row(|row, scales| {
            for (i, block) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
                to.extend_from_slice(&f32_to_f16(scales[i * BLOCK / size]).to_le_bytes());
                pack(block, &mut to);
            }
        });
        to
    }

    fn floats(&self) -> Vec<u8> {
        let format = self.scales.format;
        let encode = format.quantize.expect("float formats can be written");
        let mut to = vec![0; format.row_bytes(self.rows * self.cols)];
        let mut rows = to.chunks_exact_mut(format.row_bytes(self.cols));
        let mut values = vec![0.0; self.cols];
        self.each_row(|row, scales| {
            for (i, (value, &code)) in values.iter_mut().zip(row).enumerate() {
                let group = match &self.groups {
                    Groups::Of(size) => i / size,
                    Groups::Listed(list, _) => list[i] as usize,
                };
                *value = scales[group] * f32::from(code);
            }
            encode(&values, None, rows.next().expect("as many rows"));
        });
        to
    }
}

fn four_bits(codes: &[i16; BLOCK], to: &mut Vec<u8>) {
    to.extend((0..BLOCK / 2).map(|i| (codes[i] + 8) as u8 | ((codes[i + BLOCK / 2] + 8) as u8) << 4));
}

fn five_bits(codes: &[i16; BLOCK], to: &mut Vec<u8>) {
    let code = |i: usize| (codes[i] + 16) as u32;
    let high = (0..BLOCK).fold(0u32, |word, i| word | (code(i) >> 4) << i);
    to.extend_from_slice(&high.to_le_bytes());
    to.extend((0..BLOCK / 2).map(|i| (code(i) & 15 | (code(i + BLOCK / 2) & 15) << 4) as u8));
}

fn eight_bits(codes: &[i16; BLOCK], to: &mut Vec<u8>) {
    to.extend(codes.iter().map(|&code| code as i8 as u8));
}

/// The format of ours in which a grid makes weights of type `dtype`.
pub fn block_format(dtype: &str) -> Option<&'static Format> {
    BLOCKS.iter().find(|block| block.2 == dtype)?;
    quant::FORMATS.iter().copied().find(|format| format.name == dtype)
}
