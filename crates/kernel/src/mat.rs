//! A weight matrix: a block format, a shape, the bytes where they lie, and the kernel that multiplies them.

use std::ops::Range;

use crate::bytes::Bytes;
use crate::quant::Format;
use crate::simd::{Kernels, RowKernel};

/// `rows` rows of `cols` weights. A matrix maps `cols` inputs to `rows` outputs; a row is contiguous.
#[derive(Debug, Clone)]
pub struct Mat {
    format: &'static Format,
    rows: usize,
    cols: usize,
    bytes: Bytes,
    kernel: RowKernel,
}

impl Mat {
    /// A matrix over `bytes`, multiplied by the kernels of one tier.
    ///
    /// # Panics
    /// When `bytes` is not exactly `rows` rows of `cols` weights in whole blocks: loaders check shapes first.
    pub fn new(kernels: &Kernels, format: &'static Format, rows: usize, cols: usize, bytes: Bytes) -> Self {
        assert!(cols.is_multiple_of(format.block), "{cols} columns in blocks of {}", format.block);
        assert_eq!(bytes.len(), rows * format.row_bytes(cols), "{rows} rows of {cols} in {}", format.name);
        Self { format, rows, cols, bytes, kernel: kernels.row_kernel(format, cols) }
    }

    /// Outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Block format of the weights.
    pub fn format(&self) -> &'static Format {
        self.format
    }

    /// Bytes of all rows.
    pub fn n_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The kernel, and with it the form of activations it takes.
    pub fn kernel(&self) -> &RowKernel {
        &self.kernel
    }

    /// Rows `range` as a matrix of its own over the same bytes: how fused projections are taken apart.
    pub fn rows_view(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows);
        let row = self.row_bytes();
        let bytes = self.bytes.get(range.start * row..range.end * row).expect("rows lie inside");
        Self { rows: range.len(), bytes, ..self.clone() }
    }

    /// Decodes row `r` into `out` `(cols)`: how a token's embedding is looked up.
    pub fn dequantize_row(&self, r: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols);
        let row = self.row_bytes();
        (self.format.dequantize)(&self.bytes[r * row..(r + 1) * row], out);
    }

    /// The bytes of a tile's `rows`.
    pub(crate) fn tile(&self, rows: Range<usize>) -> &[u8] {
        let row = self.row_bytes();
        &self.bytes[rows.start * row..rows.end * row]
    }

    fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.cols)
    }
}
