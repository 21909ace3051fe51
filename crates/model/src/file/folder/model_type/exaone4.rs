//! EXAONE 4: norms behind the blocks as in OLMo 2.

use super::super::names::LAYER;
use super::{ModelType, olmo2};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["exaone4"],
    family: "exaone4",
    defaults: &[("rms_norm_eps", 1e-5)],
    layer: &[olmo2::NORMS, LAYER],
    adjust: |draft| draft.windows(),
    ..ModelType::BASE
};
