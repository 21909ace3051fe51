//! Granite 3 and 4 dense: Llama with factors on embeddings, scores, residuals and logits.

use super::Family;
use crate::config::{Config, Keys};
use crate::error::Result;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "granite",
    covers: "Granite 3.x dense, Granite 4.0 micro and 1B, 350M without state space layers",
    source: "the transformers library, models/granite; arXiv 2408.13359",
    rope_order: Order::Interleaved,
    adjust: factors,
    ..Family::BASE
};

/// The family's factors.
pub(super) fn factors(keys: &Keys<'_>, config: &mut Config) -> Result<()> {
    let factor = |name: &str| Ok::<f32, crate::Error>(keys.positive(name)?.unwrap_or(1.0));
    config.embed_scale = factor("embedding_scale")?;
    config.residual_scale = factor("residual_scale")?;
    config.logit_scale = 1.0 / factor("logit_scale")?;
    Ok(())
}
