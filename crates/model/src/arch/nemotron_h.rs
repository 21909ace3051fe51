//! Nemotron-H: every layer is one block, Mamba-2, attention without rotation, or feed-forward without a gate.

use ingle_kernel::ops::Activation;

use super::Family;
use crate::config::{Config, Keys};
use crate::error::Result;
use crate::ffn::{FfnPlan, dense};
use crate::mixer::{MixerPlan, mamba2};

pub static FAMILY: Family = Family {
    name: "nemotron_h",
    covers: "Nemotron-H 4B, 8B, 47B, 56B; Nemotron Nano 9B v2, 12B v2; Nemotron 3 Nano 4B",
    source: "arXiv 2504.03624; the transformers library, models/nemotron_h",
    adjust: blocks,
    ..Family::BASE
};

/// What each layer is: feed-forward where it has a width, else attention where it has key and value heads, else Mamba-2.
pub(super) fn blocks(keys: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.drop_drafts(keys)?;
    config.use_no_rope();
    let plan = mamba2::Plan::read(keys)?;
    for layer in &mut config.layers {
        let attends = layer.attention().is_some_and(|plan| plan.shape.n_kv_heads > 0);
        if let FfnPlan::Dense(dense::Plan { activation, gated, .. }) = &mut layer.ffn {
            (*activation, *gated) = (Activation::Relu2, false);
            layer.mixer = MixerPlan::None;
        } else if !attends {
            layer.mixer = MixerPlan::Mamba2(plan);
        }
    }
    Ok(())
}
