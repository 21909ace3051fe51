//! Rounding: each weight becomes the nearest code of its block.
//!
//! `rtn` chooses a block's scales for the least squared error of its weights. `search` weighs each column's error by the mean
//! square of the input that it meets, `sum_j E[x_j^2] (w_j - q_j)^2`, which is the error of the product where columns are
//! independent: what llama.cpp calls an importance matrix. Both are the formats' own encoders (`kernel::quant`) and cost one pass.

use ingle_kernel::par::Pool;
use ingle_kernel::quant::Format;

use super::{Encoder, Needs};

/// Nearest codes, all columns alike.
pub static RTN: Encoder = Encoder {
    name: "rtn",
    about: "nearest codes, scales for the least error of the weights",
    source: "round to nearest",
    needs: Needs::Nothing,
    encode: |task, pool| encode_by_importance(task.values, task.cols, task.format, None, pool),
};

/// Nearest codes, columns weighed.
pub static SEARCH: Encoder = Encoder {
    name: "search",
    about: "nearest codes, scales for the least error of the product with independent columns",
    source: "llama.cpp's importance matrix",
    needs: Needs::Moments,
    encode: |task, pool| {
        let squares = task.known.map(|known| &known.squares[..]);
        encode_by_importance(task.values, task.cols, task.format, squares, pool)
    },
};

/// Rows that a thread encodes at once.
const ROWS: usize = 16;

/// Encodes `values` `(rows, cols)` by the format's own search, with or without an importance per column.
///
/// # Panics
/// When `format` is only read, `cols` are not whole blocks, or `importance` is not one per column.
pub fn encode_by_importance(
    values: &[f32],
    cols: usize,
    format: &Format,
    importance: Option<&[f32]>,
    pool: &Pool,
) -> Vec<u8> {
    let quantize = format.quantize.expect("a format that is encoded");
    assert!(values.len().is_multiple_of(cols), "rows of {cols} weights");
    let row_bytes = format.row_bytes(cols);
    let mut bytes = vec![0; values.len() / cols * row_bytes];
    let rows = values.chunks(ROWS * cols).zip(bytes.chunks_mut(ROWS * row_bytes));
    let mut tasks: Vec<(&[f32], &mut [u8])> = rows.collect();
    pool.for_rows(&mut tasks, 1, |_, task| {
        let (values, bytes) = &mut task[0];
        for (values, bytes) in values.chunks_exact(cols).zip(bytes.chunks_exact_mut(row_bytes)) {
            quantize(values, importance, bytes);
        }
    });
    bytes
}
