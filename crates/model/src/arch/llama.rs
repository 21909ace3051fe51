//! Llama 1 to 3 and the many that share its arithmetic.
//!
//! GGUF stores q and k rows permuted so that rotary pairs are neighbours. Llama-3's RoPE scaling comes as the tensor
//! `rope_freqs.weight`. Biases are used where a file has them, and a window, which only the first Mistral has.

use super::Family;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "llama",
    covers: "Llama 1-3.x, Mistral, TinyLlama, SmolLM2, Vicuna, DeepSeek-R1 distils of Llama",
    source: "arXiv 2302.13971, 2307.09288, 2407.21783",
    rope_order: Order::Interleaved,
    adjust: |keys, config| {
        let window = keys.window(0)?;
        config.each_attention(|_, plan| plan.shape.window = window);
        Ok(())
    },
    ..Family::BASE
};
