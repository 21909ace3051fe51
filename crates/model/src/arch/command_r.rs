//! Command R: both halves of a layer read the same layer norm, which has no bias; a factor on the logits. The larger model
//! has layer norms of their own for every head of q and k.

use super::Family;
use crate::config::{Config, Keys};
use crate::error::Result;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "command-r",
    covers: "Command R and R+, Aya 23, Aya Expanse",
    source: "the transformers library, models/cohere",
    rope_order: Order::Interleaved,
    adjust,
    ..Family::BASE
};

/// What Cohere's models share.
pub(super) fn adjust(keys: &Keys<'_>, config: &mut Config) -> Result<()> {
    config.use_layer_norm(keys)?;
    config.logit_scale = keys.positive("logit_scale")?.unwrap_or(0.0625);
    config.layers.iter_mut().for_each(|layer| layer.parallel = true);
    Ok(())
}
