//! Phi-1 to Phi-2: both halves of a layer read the same layer norm, part of each head is rotated, biases everywhere and on
//! the head too, an ungated feed-forward block.

use super::Family;
use ingle_kernel::ops::Activation;

pub static FAMILY: Family = Family {
    name: "phi2",
    covers: "Phi-1, Phi-1.5, Phi-2",
    source: "arXiv 2306.11644, 2309.05463; the transformers library, models/phi",
    adjust: |keys, config| {
        config.use_layer_norm(keys)?;
        config.each_dense(|plan| (plan.activation, plan.gated) = (Activation::GeluTanh, false));
        config.layers.iter_mut().for_each(|layer| layer.parallel = true);
        Ok(())
    },
    ..Family::BASE
};
