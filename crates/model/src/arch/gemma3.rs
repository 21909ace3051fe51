//! Gemma 3: norms on the heads of q and k instead of Gemma 2's soft caps; five layers of six look back over a window and
//! rotate by a base of their own, unscaled.

use super::Family;
use super::{Norms, gemma};
use crate::rope::Rope;

pub static FAMILY: Family = Family {
    name: "gemma3",
    covers: "Gemma 3 270M, 1B, 4B, 12B, 27B (text), MedGemma",
    source: "arXiv 2503.19786",
    norms: Norms::Both,
    needs: &["attn_q_norm.weight", "attn_k_norm.weight"],
    adjust: |keys, config| {
        gemma::adjust(config);
        config.logit_softcap = keys.positive("final_logit_softcapping")?;
        let window = keys.window(1024)?;
        let windowed = keys.windowed(config.layers.len(), 6)?;
        let base = keys.float_or("rope.freq_base_swa", 10_000.0, 1.0)?;
        let global = &config.ropes[0];
        let local = Rope::plain(global.order, base, 2 * global.n_pairs());
        config.ropes.push(local);
        // Files don't carry the 27B model's factor on scores, by the width per head instead of the head's.
        let scale = (config.layers.len() == 62).then_some(config.dim);
        config.each_attention(|i, plan| {
            if windowed[i] {
                plan.shape.window = window;
                plan.rope = Some(1);
            }
            if let Some(dim) = scale {
                plan.shape.scale = 1.0 / ((dim / plan.shape.n_heads) as f32).sqrt();
            }
        });
        Ok(())
    },
    ..Family::BASE
};
