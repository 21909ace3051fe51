//! EXAONE 4: norms only behind the blocks, and on the heads of q and k. In the models with windows three layers of four
//! look back over one and rotate, the others see everything and are told no positions.

use super::Family;
use super::Norms;

pub static FAMILY: Family = Family {
    name: "exaone4",
    covers: "EXAONE 4.0 1.2B, 32B; EXAONE 4.0.1 32B",
    source: "arXiv 2507.11407; the transformers library, models/exaone4",
    norms: Norms::After,
    needs: &["attn_q_norm.weight", "attn_k_norm.weight"],
    adjust: |keys, config| {
        let n_layers = config.layers.len();
        // The first files of the 32B model don't carry its window.
        let default = if n_layers == 64 { 4096 } else { 0 };
        if let Some(window) = keys.window(default)? {
            let windowed = keys.windowed(n_layers, 4)?;
            config.each_attention(|i, plan| {
                plan.shape.window = windowed[i].then_some(window);
                plan.rope = windowed[i].then_some(0);
            });
        }
        Ok(())
    },
    ..Family::BASE
};
