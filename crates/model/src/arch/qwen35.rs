//! Qwen3.5: Qwen3-Next's mixers with dense feed-forward blocks. Value heads take turns at the key heads. Text has one
//! position for all parts of the rotation, so that the sections for images say nothing.

use ingle_kernel::scan::KeyHeads;

use super::{Family, qwen3next};

pub static FAMILY: Family = Family {
    name: "qwen35",
    covers: "Qwen3.5 0.8B, 2B, 4B, 9B, 27B (text), Qwen3.6-27B (text)",
    source: "arXiv 2412.06464; the transformers library, models/qwen3_5",
    aliases: qwen3next::ALIASES,
    adjust: |keys, config| qwen3next::mixers(keys, config, KeyHeads::Tiled),
    ..Family::BASE
};
