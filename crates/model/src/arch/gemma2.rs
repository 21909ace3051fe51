//! Gemma 2: norms on both sides of every block, soft caps on scores and logits, and a window in every second layer.

use super::Family;
use super::{Norms, gemma};

pub static FAMILY: Family = Family {
    name: "gemma2",
    covers: "Gemma 2 2B, 9B, 27B",
    source: "arXiv 2408.00118",
    norms: Norms::Both,
    adjust: |keys, config| {
        gemma::adjust(config);
        config.logit_softcap = keys.positive("final_logit_softcapping")?;
        let softcap = keys.positive("attn_logit_softcapping")?;
        let window = keys.window(4096)?;
        // Files don't carry the 27B model's factor on scores, by the width per head instead of the head's.
        let scale = (config.layers.len() == 46).then_some(config.dim);
        config.each_attention(|i, plan| {
            plan.shape.softcap = softcap;
            plan.shape.window = window.filter(|_| i % 2 == 0);
            if let Some(dim) = scale {
                plan.shape.scale = 1.0 / ((dim / plan.shape.n_heads) as f32).sqrt();
            }
        });
        Ok(())
    },
    ..Family::BASE
};
