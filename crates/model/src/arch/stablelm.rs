//! StableLM: layer norms, part of each head rotated; the second generation adds biases on q, k and v, its 12B model layer
//! norms of their own for every head of q and k, and both halves of a layer read the same norm.
//!
//! As in llama.cpp, a layer without `ffn_norm` is one whose halves share their norm: the key for it is not reliable.

use super::Family;

pub static FAMILY: Family = Family {
    name: "stablelm",
    covers: "StableLM 3B 4E1T, StableLM Zephyr 3B, StableLM 2 1.6B and 12B, Stable Code 3B",
    source: "arXiv 2402.17834; the transformers library, models/stablelm",
    adjust: |keys, config| {
        config.use_layer_norm(keys)?;
        for (i, layer) in config.layers.iter_mut().enumerate() {
            layer.parallel = keys.file.tensor(&format!("blk.{i}.ffn_norm.weight")).is_none();
        }
        Ok(())
    },
    ..Family::BASE
};
