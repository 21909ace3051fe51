//! LFM2 with experts in all layers but the first few; a bias chooses them and does not weigh them.

use super::{Family, lfm2};
use crate::ffn::experts;

pub static FAMILY: Family = Family {
    name: "lfm2moe",
    covers: "LFM2 8B-A1B, 24B-A2B",
    source: "arXiv 2511.23404; the transformers library, models/lfm2_moe",
    aliases: lfm2::ALIASES,
    adjust: |keys, config| {
        lfm2::convolutions(keys, config)?;
        let n_dense = keys.uint_or("leading_dense_block_count", 0, 0..=config.layers.len())?;
        config.use_experts(n_dense, experts::Plan::read(keys)?);
        Ok(())
    },
    ..Family::BASE
};
