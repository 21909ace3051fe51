//! Qwen3, dense: no biases, and RMS norms on the heads of q and k before rotation.

use super::Family;

pub static FAMILY: Family = Family {
    name: "qwen3",
    covers: "Qwen3 dense models",
    source: "arXiv 2505.09388",
    needs: &["attn_q_norm.weight", "attn_k_norm.weight"],
    ..Family::BASE
};
