//! Qwen2 and Qwen2.5 (arXiv 2407.10671): Llama with biases on q, k and v and rotary pairs by halves.

use super::Family;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "qwen2",
    covers: "Qwen2, Qwen2.5, DeepSeek-R1 distils of Qwen",
    rope_order: Order::Halves,
    needs: &["attn_q.bias", "attn_k.bias", "attn_v.bias"],
    adjust: |_, _| Ok(()),
};
