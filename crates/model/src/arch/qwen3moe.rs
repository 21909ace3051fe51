//! Qwen3 with experts: the weights of the experts a token takes add up to 1.

use super::Family;
use crate::ffn::experts;

pub static FAMILY: Family = Family {
    name: "qwen3moe",
    covers: "Qwen3-30B-A3B, Qwen3-235B-A22B, Qwen3-Coder-30B-A3B",
    source: "arXiv 2505.09388",
    needs: &["attn_q_norm.weight", "attn_k_norm.weight", "ffn_gate_inp.weight"],
    adjust: |keys, config| {
        config.use_experts(0, experts::Plan::read(keys)?);
        Ok(())
    },
    ..Family::BASE
};
