//! Gemma: embeddings times the root of their width, GELU as the gate, and norms whose stored weight is the factor less one,
//! which GGUF has added already.

use super::Family;
use crate::config::Config;
use ingle_kernel::ops::Activation;

pub static FAMILY: Family = Family {
    name: "gemma",
    covers: "Gemma 1, CodeGemma",
    source: "arXiv 2403.08295",
    adjust: |_, config| {
        adjust(config);
        Ok(())
    },
    ..Family::BASE
};

/// What all Gemmas share.
pub(super) fn adjust(config: &mut Config) {
    config.embed_scale = (config.dim as f32).sqrt();
    config.each_dense(|plan| plan.activation = Activation::GeluTanh);
}
