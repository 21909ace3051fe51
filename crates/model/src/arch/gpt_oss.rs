//! gpt-oss: sinks that take attention and give nothing, a window in every second layer, experts and a router with biases,
//! a clamped gate.
//!
//! The norm before the experts is called after the attention it follows. A token's experts weigh as the softmax over those
//! chosen, which is what weights that add up to 1 are. YaRN's ramp is not rounded to whole pairs, as published; llama.cpp
//! rounds it.

use super::Family;
use crate::ffn::experts;
use crate::rope::Ramp;
use ingle_kernel::ops::Activation;

pub static FAMILY: Family = Family {
    name: "gpt-oss",
    covers: "gpt-oss-20b, gpt-oss-120b, gpt-oss-safeguard",
    source: "arXiv 2508.10925; the transformers library, models/gpt_oss",
    yarn_ramp: Ramp::Exact,
    needs: &["attn_sinks.weight", "ffn_gate_inp.bias", "ffn_gate_exps.bias", "ffn_up_exps.bias"],
    aliases: &[("ffn_norm", "post_attention_norm")],
    adjust: |keys, config| {
        let window = keys.window(128)?;
        let windowed = keys.windowed(config.layers.len(), 2)?;
        config.each_attention(|i, plan| plan.shape.window = window.filter(|_| windowed[i]));
        let mut plan = experts::Plan::read(keys)?;
        plan.expert.activation = Activation::ClampedSwish;
        config.use_experts(0, plan);
        Ok(())
    },
    ..Family::BASE
};
