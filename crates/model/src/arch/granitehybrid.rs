//! Granite 4.0 with state space layers: Granite's factors, attention without rotation in a few layers, Mamba-2 in the others;
//! feed-forward blocks are dense, or experts beside a block that every token takes.
//!
//! A layer without key and value heads is a state space layer. Bamba, which comes under the same name, rotates.

use super::{Family, granite};
use crate::ffn::experts;
use crate::mixer::{MixerPlan, mamba2};
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "granitehybrid",
    covers: "Granite 4.0 H 350M, 1B, Micro, Tiny, Small; Bamba 9B",
    source: "the transformers library, models/granitemoehybrid; arXiv 2405.21060",
    rope_order: Order::Interleaved,
    adjust: |keys, config| {
        granite::factors(keys, config)?;
        if !keys.file.bool(&keys.key("rope.scaling.finetuned"))?.unwrap_or(true) {
            config.use_no_rope();
        }
        let plan = mamba2::Plan::read(keys)?;
        for layer in &mut config.layers {
            if layer.attention().is_some_and(|plan| plan.shape.n_kv_heads == 0) {
                layer.mixer = MixerPlan::Mamba2(plan);
            }
        }
        if keys.uint_or("expert_count", 0, 0..=usize::MAX)? > 0 {
            config.use_experts(0, experts::Plan::read(keys)?);
        }
        Ok(())
    },
    ..Family::BASE
};
