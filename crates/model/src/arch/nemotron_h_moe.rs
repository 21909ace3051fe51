//! Nemotron-H with experts in place of the feed-forward blocks, beside a block that every token takes; a bias chooses the
//! experts and does not weigh them. Those whose experts see a narrower copy of the input are not read.

use ingle_kernel::ops::Activation;

use super::{Family, nemotron_h};
use crate::ffn::{FfnPlan, dense, experts};

pub static FAMILY: Family = Family {
    name: "nemotron_h_moe",
    covers: "Nemotron 3 Nano 30B-A3B",
    source: "arXiv 2512.20848; the transformers library, models/nemotron_h",
    adjust: |keys, config| {
        nemotron_h::blocks(keys, config)?;
        let mut plan = experts::Plan::read(keys)?;
        plan.expert = ungated(plan.expert);
        plan.shared = plan.shared.map(ungated);
        plan.sigmoid = true;
        for layer in &mut config.layers {
            if matches!(layer.ffn, FfnPlan::Dense(_)) {
                layer.ffn = FfnPlan::Experts(plan);
            }
        }
        Ok(())
    },
    ..Family::BASE
};

/// The block without a gate.
fn ungated(plan: dense::Plan) -> dense::Plan {
    dense::Plan { activation: Activation::Relu2, gated: false, ..plan }
}
