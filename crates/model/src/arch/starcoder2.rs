//! StarCoder2: layer norms and biases everywhere, an ungated feed-forward block, a window in every layer.
//!
//! Files don't carry the window, and llama.cpp attends to everything; the published models were trained with 4096
//! positions of 16,384, so we look back over these.

use super::Family;
use ingle_kernel::ops::Activation;

pub static FAMILY: Family = Family {
    name: "starcoder2",
    covers: "StarCoder2 3B, 7B, 15B",
    source: "arXiv 2402.19173; the transformers library, models/starcoder2",
    adjust: |keys, config| {
        config.use_layer_norm(keys)?;
        config.each_dense(|plan| (plan.activation, plan.gated) = (Activation::GeluTanh, false));
        let window = keys.window(4096)?;
        config.each_attention(|_, plan| plan.shape.window = window);
        Ok(())
    },
    ..Family::BASE
};
