//! ERNIE 4.5, dense: its rotary pairs are neighbours in the folder too.

use super::ModelType;

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["ernie4_5"],
    family: "ernie4_5",
    defaults: &[("rms_norm_eps", 1e-5), ("head_dim", 128.0), ("rope_theta", 500_000.0)],
    tied: true,
    ..ModelType::BASE
};
