//! Rounding: each weight becomes the nearest code of its block.
//!
//! `rtn` chooses a block's scales for the least squared error of its weights. `search` weighs each column's error by the mean
//! square of the input that it meets, `sum_j E[x_j^2] (w_j - q_j)^2`, which is the error of the product where columns are
//! independent: what llama.cpp calls an importance matrix. Both are the formats' own encoders (`kernel::quant`) and cost one pass.

use ingle_kernel::par::Pool;

use super::{Encoder, Needs, Task};

/// Nearest codes, all columns alike.
pub static RTN: Encoder = Encoder {
    name: "rtn",
    about: "nearest codes, scales for the least error of the weights",
    source: "round to nearest",
    needs: Needs::Nothing,
    encode: |task, pool| encode(task, None, pool),
};

/// Nearest codes, columns weighed.
pub static SEARCH: Encoder = Encoder {
    name: "search",
    about: "nearest codes, scales for the least error of the product with independent columns",
    source: "llama.cpp's importance matrix",
    needs: Needs::Moments,
    encode: |task, pool| encode(task, task.known.map(|known| &known.squares[..]), pool),
};

/// Encodes row by row, with importances where there are some.
pub(super) fn encode(task: &Task<'_>, importances: Option<&[f32]>, pool: &Pool) -> Vec<u8> {
    let quantize = task.format.quantize.expect("plans choose formats that can be written");
    let row_bytes = task.format.row_bytes(task.cols);
    let mut out = vec![0; task.values.len() / task.cols * row_bytes];
    pool.for_rows(&mut out, row_bytes, |i, out| {
        quantize(&task.values[i * task.cols..(i + 1) * task.cols], importances, out);
    });
    out
}
