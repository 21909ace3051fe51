//! Qwen3-Next: gated delta nets in three layers of four, gated attention with part of each head rotated in the fourth;
//! experts beside a gated block that every token takes.
//!
//! The norm before the feed-forward block is called after the attention. Norms are stored as they are used, 1 added.

use ingle_kernel::scan::KeyHeads;

use super::Family;
use crate::config::{Config, Keys};
use crate::error::Result;
use crate::ffn::experts;
use crate::mixer::{MixerPlan, delta_net};

pub static FAMILY: Family = Family {
    name: "qwen3next",
    covers: "Qwen3-Next-80B-A3B, Qwen3-Coder-Next",
    source: "arXiv 2412.06464; the transformers library, models/qwen3_next",
    aliases: ALIASES,
    adjust: |keys, config| {
        mixers(keys, config, KeyHeads::Grouped)?;
        config.use_experts(0, experts::Plan::read(keys)?);
        Ok(())
    },
    ..Family::BASE
};

/// How the family's files call the norm before the feed-forward block.
pub(super) const ALIASES: &[(&str, &str)] = &[("ffn_norm", "post_attention_norm")];

/// Delta nets in all layers but each `full_attention_interval`-th, and layers that draft put aside.
pub(super) fn mixers(keys: &Keys<'_>, config: &mut Config, key_heads: KeyHeads) -> Result<()> {
    config.drop_drafts(keys)?;
    let period = keys.uint_or("full_attention_interval", 4, 1..=1 << 12)?;
    let told = keys.uints("attention.recurrent_layers", config.layers.len(), 0..=1)?;
    let plan = delta_net::Plan::read(keys, key_heads)?;
    for (i, layer) in config.layers.iter_mut().enumerate() {
        if told.as_ref().map_or((i + 1) % period != 0, |told| told[i] == 1) {
            layer.mixer = MixerPlan::DeltaNet(plan);
        }
    }
    config.each_attention(|_, plan| plan.gated = true);
    Ok(())
}
