//! Command R7B and Command A: Command R with three layers of four that look back over a window and rotate; the others see
//! everything and are told no positions.

use super::Family;
use super::command_r;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "cohere2",
    covers: "Command R7B, Command A",
    source: "arXiv 2504.00698; the transformers library, models/cohere2",
    rope_order: Order::Interleaved,
    adjust: |keys, config| {
        command_r::adjust(keys, config)?;
        let window = keys.window(4096)?;
        let windowed = keys.windowed(config.layers.len(), 4)?;
        config.each_attention(|i, plan| {
            plan.shape.window = window.filter(|_| windowed[i]);
            plan.rope = windowed[i].then_some(0);
        });
        Ok(())
    },
    ..Family::BASE
};
