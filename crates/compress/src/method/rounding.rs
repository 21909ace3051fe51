//! Rounding: each weight becomes the nearest code of its block.
//!
//! `rtn` chooses a block's scales for the least squared error of its weights. `search` weighs each column's error by the mean
//! square of the input that it meets, `sum_j E[x_j^2] (w_j - q_j)^2`, which is the error of the product where columns are
//! independent: what llama.cpp calls an importance matrix. Both are the formats' own encoders (`kernel::quant`) and cost one pass.

use super::gptq::encode_by_importance;
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
