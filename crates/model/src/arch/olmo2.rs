//! OLMo 2: norms only behind the blocks, and on q and k over all heads together. OLMo 3 goes by the same name; three layers
//! of four look back over a window and rotate unscaled.

use super::Family;
use super::Norms;
use crate::rope::Rope;

pub static FAMILY: Family = Family {
    name: "olmo2",
    covers: "OLMo 2 1B, 7B, 13B, 32B; OLMo 3 7B, 32B",
    source: "arXiv 2501.00656, 2512.13961; the transformers library, models/olmo3",
    norms: Norms::After,
    needs: &["attn_q_norm.weight", "attn_k_norm.weight"],
    adjust: |keys, config| {
        let Some(window) = keys.window(0)? else { return Ok(()) };
        let windowed = keys.windowed(config.layers.len(), 4)?;
        let base = keys.float_or("rope.freq_base", 10_000.0, 1.0)?;
        let unscaled = config.ropes.iter().map(|rope| Rope::plain(rope.order, base, 2 * rope.n_pairs()));
        let unscaled: Vec<Rope> = unscaled.collect();
        config.ropes.extend(unscaled);
        config.each_attention(|i, plan| {
            if windowed[i] {
                plan.shape.window = Some(window);
                plan.rope = plan.rope.map(|_| 1);
            }
        });
        Ok(())
    },
    ..Family::BASE
};
