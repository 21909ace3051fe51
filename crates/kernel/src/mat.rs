//! A weight matrix: a block format, a shape, the bytes where they lie, and the kernel that multiplies them.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use crate::bytes::{Bytes, Order, Room};
use crate::gemm::TILE_ROWS;
use crate::par::{Disjoint, Pool};
use crate::quant::Format;
use crate::simd::{Kernels, RowKernel, TileFn};

/// `rows` rows of `cols` weights. A matrix maps `cols` inputs to `rows` outputs; a row is contiguous.
#[derive(Debug, Clone)]
pub struct Mat {
    format: &'static Format,
    rows: usize,
    cols: usize,
    bytes: Bytes,
    kernel: RowKernel,
    packed: Option<Arc<PackedCopy>>,
}

/// The weights packed ([`crate::simd::Packing`]), once they are.
struct PackedCopy {
    packs: Packs,
    /// Steps of few tokens that go by before something is done about it.
    n_before: AtomicUsize,
    bytes: OnceLock<Bytes>,
}

/// Where packed weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packs {
    /// A file that has them so, where there is one ([`Bytes::kept`]); else they are packed in memory after so many steps of few tokens.
    After(usize),
    /// Such a file alone, which may come to be while they are used.
    WhereKept,
}

/// Memory that begins with a cache line.
struct Lines {
    room: Room,
    first: usize,
}

impl Lines {
    /// `n` zeros.
    fn new(bytes: &Bytes, n: usize) -> Self {
        let room = bytes.room(n + LINE - 1);
        let first = (*room).as_ref().as_ptr().align_offset(LINE);
        Self { room, first }
    }
}

impl AsRef<[u8]> for Lines {
    fn as_ref(&self) -> &[u8] {
        &(*self.room).as_ref()[self.first..]
    }
}

impl fmt::Debug for PackedCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackedCopy({:?})", self.bytes.get().map(Bytes::len))
    }
}

/// Bytes of a cache line.
const LINE: usize = 64;

/// The most tokens of a step that gains from packed weights enough to pack them.
const FEW_TOKENS: usize = 16;
/// Rows that a thread packs at once, a multiple of every strip.
pub const ROWS_AT_ONCE: usize = 256;
/// Steps of few tokens until it is looked again whether a file has the weights packed.
const LOOK_AGAIN: usize = 32;

impl Mat {
    /// A matrix over `bytes`, multiplied by the kernels of one tier.
    ///
    /// # Panics
    /// When `bytes` is not exactly `rows` rows of `cols` weights in whole blocks: loaders check shapes first.
    pub fn new(kernels: &Kernels, format: &'static Format, rows: usize, cols: usize, bytes: Bytes) -> Self {
        assert!(cols.is_multiple_of(format.block), "{cols} columns in blocks of {}", format.block);
        assert_eq!(bytes.len(), rows * format.row_bytes(cols), "{rows} rows of {cols} in {}", format.name);
        Self { format, rows, cols, bytes, kernel: kernels.row_kernel(format, cols), packed: None }
    }

    /// The same matrix, whose weights come to be packed: not all of a model at once, and none in the first step, which is on the
    /// way to somebody's first token, but for those that a file has so. A copy in memory then replaces what was read of the
    /// bytes it was made of.
    pub fn packable(mut self, packs: Packs) -> Self {
        let Some(order) = self.order() else { return self };
        assert!(TILE_ROWS.is_multiple_of(order.packing.rows), "tiles begin with whole strips");
        let n_before = match packs {
            Packs::After(n_steps) => n_steps,
            Packs::WhereKept => LOOK_AGAIN,
        };
        let bytes = self.bytes.kept(&order).map(OnceLock::from).unwrap_or_default();
        if bytes.get().is_none() {
            self.bytes.want(order);
        }
        self.packed = Some(Arc::new(PackedCopy { packs, n_before: AtomicUsize::new(n_before), bytes }));
        self
    }

    /// Where its packed weights come from; `None` if they are never packed.
    pub fn packs(&self) -> Option<Packs> {
        self.packed.as_ref().map(|packed| packed.packs)
    }

    /// Whether its weights are packed now.
    pub fn is_packed(&self) -> bool {
        self.packed.as_ref().is_some_and(|packed| packed.bytes.get().is_some())
    }

    /// The order of its weights when they are packed.
    fn order(&self) -> Option<Order> {
        let packing = self.kernel.packing?;
        Some(Order { format: self.format.name, n_rows: self.rows, row_bytes: self.row_bytes(), packing })
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

    /// Rows `range` as a matrix of its own over the same bytes, which packs nothing: how fused projections are taken apart.
    pub fn rows_view(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows);
        let row = self.row_bytes();
        let bytes = self.bytes.get(range.start * row..range.end * row).expect("rows lie inside");
        Self { rows: range.len(), bytes, packed: None, ..self.clone() }
    }

    /// Decodes row `r` into `out` `(cols)`: how a token's embedding is looked up.
    pub fn dequantize_row(&self, r: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.cols);
        let row = self.row_bytes();
        (self.format.dequantize)(&self.bytes[r * row..(r + 1) * row], out);
    }

    /// Packs the weights if a step of `n_tokens` is to find them packed.
    pub(crate) fn get_ready(&self, pool: &Pool, n_tokens: usize) {
        let (Some(packed), Some(order)) = (&self.packed, self.order()) else { return };
        if n_tokens > FEW_TOKENS || packed.bytes.get().is_some() {
            return;
        }
        let waits = packed.n_before.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_ok();
        if waits {
            return;
        }
        match packed.packs {
            Packs::After(_) => _ = packed.bytes.get_or_init(|| self.pack(pool, &order)),
            Packs::WhereKept => {
                packed.n_before.store(LOOK_AGAIN, Relaxed);
                if let Some(kept) = self.bytes.kept(&order) {
                    self.bytes.release();
                    packed.bytes.get_or_init(|| kept);
                }
            }
        }
    }

    fn pack(&self, pool: &Pool, order: &Order) -> Bytes {
        let Order { row_bytes: row, packing, .. } = *order;
        let mut lines = Lines::new(&self.bytes, order.n_bytes());
        let out = Disjoint::new(&mut (*lines.room).as_mut()[lines.first..]);
        pool.run(self.rows.div_ceil(ROWS_AT_ONCE), |i, _| {
            let rows = i * ROWS_AT_ONCE..self.rows.min((i + 1) * ROWS_AT_ONCE);
            let n = rows.len().next_multiple_of(packing.rows) * row;
            // SAFETY: these rows are packed by this task alone.
            let out = unsafe { out.part(rows.start * row, n) };
            let weights = self.bytes.get(rows.start * row..rows.end * row).expect("rows lie inside");
            (packing.pack)(&weights, rows.len(), out);
            // At once, so that a large matrix is not there twice.
            weights.release();
        });
        self.bytes.release();
        Bytes::new(lines)
    }

    /// How a tile of rows is multiplied and its bytes. Tiles begin with a multiple of [`TILE_ROWS`].
    pub(crate) fn tile(&self, rows: Range<usize>) -> (TileFn, &[u8]) {
        let row = self.row_bytes();
        let packed = self.packed.as_ref().and_then(|packed| packed.bytes.get());
        match (packed, self.kernel.packing) {
            (Some(packed), Some(packing)) => {
                let end = rows.start + rows.len().next_multiple_of(packing.rows);
                (packing.tile, &packed[rows.start * row..end * row])
            }
            _ => (self.kernel.tile, &self.bytes[rows.start * row..rows.end * row]),
        }
    }

    fn row_bytes(&self) -> usize {
        self.format.row_bytes(self.cols)
    }
}
