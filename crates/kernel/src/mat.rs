//! A weight matrix: a block format, a shape, the bytes where they lie, and the kernel that multiplies them.

use std::ops::Range;

use crate::bytes::Bytes;
use crate::gemm::TILE_ROWS;
use crate::quant::Format;
use crate::simd::{Kernels, RowKernel};

/// `rows` rows of `cols` weights. A matrix maps `cols` inputs to `rows` outputs; a row is contiguous.
#[derive(Debug, Clone)]
pub struct Mat {
    format: &'static Format,
    rows: usize,
    cols: usize,
    bytes: Bytes,
    /// The same weights as the kernel wants them, where it wants them otherwise.
    packed: Option<Bytes>,
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
        Self::with_kernel(kernels.row_kernel(format, cols), format, rows, cols, bytes)
    }

    fn with_kernel(
        kernel: RowKernel,
        format: &'static Format,
        rows: usize,
        cols: usize,
        bytes: Bytes,
    ) -> Self {
        let packed = kernel.packing.map(|packing| {
            let (from, to) = (format.row_bytes(cols), (packing.row_bytes)(format, cols));
            let mut packed = vec![0; rows * to];
            for (tile, out) in bytes.chunks(TILE_ROWS * from).zip(packed.chunks_mut(TILE_ROWS * to)) {
                (packing.pack)(format, tile.len() / from, tile, out);
            }
            Bytes::new(packed)
        });
        Self { format, rows, cols, bytes, packed, kernel }
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
        Self::with_kernel(self.kernel, self.format, range.len(), self.cols, bytes)
    }

    /// Decodes row `r` into `out` `(cols)`: how a token's embedding is looked up.
    pub fn dequantize_row(&self, r: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols);
        let row = self.row_bytes();
        (self.format.dequantize)(&self.bytes[r * row..(r + 1) * row], out);
    }

    /// The bytes of one tile's `rows`, packed where the kernel wants that.
    pub(crate) fn tile(&self, rows: Range<usize>) -> &[u8] {
        let bytes = self.packed.as_ref().unwrap_or(&self.bytes);
        let row = bytes.len() / self.rows;
        &bytes[rows.start * row..rows.end * row]
    }

    fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.cols)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acts::{Act, Acts};
    use crate::gemm::matmul;
    use crate::par::Pool;
    use crate::quant;
    use crate::simd::Packing;

    /// Stores a tile's bytes back to front, behind one more byte per row.
    static BACKWARDS: Packing = Packing {
        row_bytes: |format, cols| format.row_bytes(cols) + 1,
        pack: |_, n_rows, rows, packed| {
            packed[..n_rows].fill(7);
            packed[n_rows..].iter_mut().zip(rows.iter().rev()).for_each(|(p, b)| *p = *b);
        },
    };

    #[test]
    fn a_kernel_that_packs_gets_packed_tiles_and_gives_the_same_product() {
        let format = quant::by_name("f32").unwrap();
        let (rows, cols) = (2 * TILE_ROWS + 5, 24);
        let values =
            (0..rows * cols).flat_map(|i| ((i % 13) as f32 - 6.0).to_le_bytes()).collect::<Vec<u8>>();
        let kernels = Kernels::named("scalar").unwrap();
        let plain = Mat::new(&kernels, format, rows, cols, Bytes::new(values.clone()));
        let kernel = RowKernel {
            act: Act::F32,
            packing: Some(&BACKWARDS),
            tile: |format, weights, n_rows, acts, tokens, out| {
                assert!(weights[..n_rows].iter().all(|&b| b == 7));
                let unpacked: Vec<u8> = weights[n_rows..].iter().rev().copied().collect();
                let tile =
                    Kernels::named("scalar").unwrap().row_kernel(quant::by_name("f32").unwrap(), 24).tile;
                tile(format, &unpacked, n_rows, acts, tokens, out);
            },
        };
        let packed = Mat::with_kernel(kernel, format, rows, cols, Bytes::new(values));
        let mut acts = Acts::default();
        let x: Vec<f32> = (0..3 * cols).map(|i| i as f32 * 0.1).collect();
        acts.set(Act::F32, &x, cols, kernels.ops().quantize);
        let product = |mat: &Mat| {
            let mut out = vec![0.0; 3 * mat.rows()];
            matmul(&Pool::new(2), &acts, mat, &mut out);
            out
        };
        assert_eq!(product(&plain), product(&packed));
        assert_eq!(product(&plain.rows_view(3..30)), product(&packed.rows_view(3..30)));
    }
}
