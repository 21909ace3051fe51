//! Qwen3.5 with experts, beside a gated block that every token takes.

use ingle_kernel::scan::KeyHeads;

use super::{Family, qwen3next};
use crate::ffn::experts;

pub static FAMILY: Family = Family {
    name: "qwen35moe",
    covers: "Qwen3.5 35B-A3B, 122B-A10B, 397B-A17B (text), Qwen3.6-35B-A3B (text)",
    source: "arXiv 2412.06464; the transformers library, models/qwen3_5_moe",
    aliases: qwen3next::ALIASES,
    adjust: |keys, config| {
        qwen3next::mixers(keys, config, KeyHeads::Tiled)?;
        config.use_experts(0, experts::Plan::read(keys)?);
        Ok(())
    },
    ..Family::BASE
};
