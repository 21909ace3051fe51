//! Nemotron and Minitron: layer norms whose stored weight is the factor less one, which GGUF has added already; part of each
//! head rotated; an ungated feed-forward block with the square of ReLU.

use super::Family;
use ingle_kernel::ops::Activation;

pub static FAMILY: Family = Family {
    name: "nemotron",
    covers: "Minitron 4B and 8B, Nemotron-Mini 4B, Nemotron-4 15B and 340B",
    source: "arXiv 2402.16819, 2407.14679; the transformers library, models/nemotron",
    adjust: |keys, config| {
        config.use_layer_norm(keys)?;
        config.each_dense(|plan| (plan.activation, plan.gated) = (Activation::Relu2, false));
        Ok(())
    },
    ..Family::BASE
};
