//! Phi-3 to Phi-4-mini: fused projections, part of each head rotated, LongRoPE in the models of long context.
//!
//! Files give LongRoPE's factor on cosine and sine ready-made. Windows are applied as the original implementation does.

use super::Family;

pub static FAMILY: Family = Family {
    name: "phi3",
    covers: "Phi-3 mini and medium, Phi-3.5-mini, Phi-4, Phi-4-mini",
    source: "arXiv 2404.14219, 2402.13753",
    adjust: |keys, config| {
        let window = keys.window(0)?;
        config.each_attention(|_, plan| plan.shape.window = window);
        Ok(())
    },
    ..Family::BASE
};
