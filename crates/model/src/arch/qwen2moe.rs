//! Qwen 1.5 and 2 with experts: a token's experts weigh as their part of all, and every token takes a shared block too, by
//! a gate.

use super::Family;
use crate::config::DIM_MAX;
use crate::ffn::{dense, experts};

pub static FAMILY: Family = Family {
    name: "qwen2moe",
    covers: "Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B",
    source: "arXiv 2407.10671; the transformers library, models/qwen2_moe",
    needs: &["ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight"],
    adjust: |keys, config| {
        let mut plan = experts::Plan::read(keys)?;
        plan.renormalise = keys.file.bool(&keys.key("expert_weights_norm"))?.unwrap_or(false);
        if plan.shared.is_none() {
            let dim = keys.uint("feed_forward_length", 1..=DIM_MAX)?;
            plan.shared = Some(dense::Plan { dim, ..plan.expert });
        }
        config.use_experts(0, plan);
        Ok(())
    },
    ..Family::BASE
};
