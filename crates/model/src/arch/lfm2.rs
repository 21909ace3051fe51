//! LFM2: short convolutions in most layers, attention with norms on the heads of q and k in the others.
//!
//! A layer without key and value heads is a convolution. The norm before the head is called after the embedding.

use super::Family;
use crate::config::{Config, Keys};
use crate::error::Result;
use crate::mixer::{MixerPlan, short_conv};

pub static FAMILY: Family = Family {
    name: "lfm2",
    covers: "LFM2 350M, 700M, 1.2B, 2.6B; LFM2.5 1.2B",
    source: "arXiv 2511.23404; the transformers library, models/lfm2",
    aliases: ALIASES,
    adjust: convolutions,
    ..Family::BASE
};

/// How the family's files call the norm before the head.
pub(super) const ALIASES: &[(&str, &str)] = &[("output_norm", "token_embd_norm")];

/// Convolutions in the layers without key and value heads.
pub(super) fn convolutions(keys: &Keys<'_>, config: &mut Config) -> Result<()> {
    let plan = short_conv::Plan::read(keys, config.dim)?;
    for layer in &mut config.layers {
        if layer.attention().is_some_and(|plan| plan.shape.n_kv_heads == 0) {
            layer.mixer = MixerPlan::ShortConv(plan);
        }
    }
    Ok(())
}
