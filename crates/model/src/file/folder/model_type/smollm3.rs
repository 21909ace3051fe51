//! SmolLM3: Llama's names; every fourth layer does not rotate.

use super::super::names::{INTERLEAVED, LAYER};
use super::ModelType;
use crate::error::Error;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["smollm3"],
    family: "smollm3",
    defaults: &[("rms_norm_eps", 1e-6), ("rope_theta", 2e6)],
    expects: &[("hidden_act", &["\"silu\""]), ("use_sliding_window", &["false"])],
    tied: true,
    layer: &[INTERLEAVED, LAYER],
    adjust: |draft| {
        let rotated = draft.config.list("no_rope_layers")?.map_or(&[][..], |list| list);
        match (0..rotated.len()).find(|&i| rotated[i].as_u64() != Some(u64::from((i + 1) % 4 != 0))) {
            None => Ok(()),
            Some(i) => {
                let found = format!("{} for layer {i}", rotated[i]);
                let part = draft.config.of("no_rope_layers");
                Err(Error::unsupported(part, found, ["0 for every fourth layer, 1 for the others"]))
            }
        }
    },
    ..ModelType::BASE
};
