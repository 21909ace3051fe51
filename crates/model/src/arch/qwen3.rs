//! Qwen3, dense (arXiv 2505.09388): no biases, and RMS norms on the heads of q and k before rotation.

use super::Family;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "qwen3",
    covers: "Qwen3 dense models",
    rope_order: Order::Halves,
    needs: &["attn_q_norm.weight", "attn_k_norm.weight"],
    adjust: |_, _| Ok(()),
};
