//! MiniCPM: Llama with factors on embeddings, residuals and logits.
//!
//! The first files carry none of them, and all models of that time had the same: 12, 1.4 over the root of the number of
//! layers, and logits over a 256th of the width. llama.cpp takes the inverse of the last for such files; we follow the
//! original. GGUF stores q and k rows permuted so that rotary pairs are neighbours.

use super::Family;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "minicpm",
    covers: "MiniCPM 1B and 2B, MiniCPM4 0.5B and 8B by dense attention",
    source: "arXiv 2404.06395; the original modelling file of MiniCPM-2B",
    rope_order: Order::Interleaved,
    adjust: |keys, config| {
        let factor =
            |name: &str, default: f32| Ok::<_, crate::Error>(keys.positive(name)?.unwrap_or(default));
        config.embed_scale = factor("embedding_scale", 12.0)?;
        config.residual_scale = factor("residual_scale", 1.4 / (config.layers.len() as f32).sqrt())?;
        config.logit_scale = 1.0 / factor("logit_scale", config.dim as f32 / 256.0)?;
        Ok(())
    },
    ..Family::BASE
};
