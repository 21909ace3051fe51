//! Jamba: Mamba in the layers without key and value heads, attention without rotation in the others; layers that have a router
//! have experts, whose weights are their part of all.

use super::Family;
use crate::ffn::{FfnPlan, experts};
use crate::mixer::{MixerPlan, mamba};

pub static FAMILY: Family = Family {
    name: "jamba",
    covers: "Jamba Reasoning 3B, Jamba 1.5 and 1.6 Mini and Large",
    source: "arXiv 2403.19887; the transformers library, models/jamba",
    adjust: |keys, config| {
        let plan = mamba::Plan::read(keys)?;
        config.use_no_rope();
        for (i, layer) in config.layers.iter_mut().enumerate() {
            if layer.attention().is_some_and(|plan| plan.shape.n_kv_heads == 0) {
                layer.mixer = MixerPlan::Mamba(plan);
            }
            if keys.file.tensor(&format!("blk.{i}.ffn_gate_inp.weight")).is_some() {
                layer.ffn =
                    FfnPlan::Experts(experts::Plan { renormalise: false, ..experts::Plan::read(keys)? });
            }
        }
        Ok(())
    },
    ..Family::BASE
};
