//! OLMo 3: OLMo 2 with windows in three layers of four.

use super::super::names::LAYER;
use super::{ModelType, olmo2};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["olmo3"],
    family: "olmo2",
    defaults: &[("rms_norm_eps", 1e-5), ("sliding_window", 4096.0)],
    layer: &[olmo2::NORMS, LAYER],
    adjust: |draft| draft.windows(),
    ..ModelType::BASE
};
