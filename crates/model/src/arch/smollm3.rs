//! SmolLM3: Llama without rotation in every fourth layer (arXiv 2501.18795).

use super::Family;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "smollm3",
    covers: "SmolLM3-3B",
    source: "the transformers library, models/smollm3",
    rope_order: Order::Interleaved,
    adjust: |_, config| {
        config.each_attention(|i, plan| plan.rope = Some(0).filter(|_| (i + 1) % 4 != 0));
        Ok(())
    },
    ..Family::BASE
};
