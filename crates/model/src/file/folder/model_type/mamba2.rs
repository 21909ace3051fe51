//! Mamba-2.

use super::super::change::Change::{AsIs, Other};
use super::super::change::{column, neg_exp_column, squeezed};
use super::super::names::mamba2;
use super::mamba::{CONV, EPS, LAYER, LAYERS_IN, STATE, WHOLE, recurs};
use super::{ModelType, uint};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["mamba2"],
    family: "mamba2",
    fields: &[CONV, STATE, EPS, uint("num_heads", "ssm.time_step_rank"), uint("n_groups", "ssm.group_count")],
    defaults: &[
        ("layer_norm_epsilon", 1e-5),
        ("conv_kernel", 4.0),
        ("state_size", 128.0),
        ("num_heads", 128.0),
        ("n_groups", 8.0),
    ],
    expects: &[("hidden_act", &["\"silu\""]), NO_LIMIT],
    layers_in: LAYERS_IN,
    whole: &[WHOLE],
    layer: &[LAYER, mamba2!("mixer", "n_groups")],
    adjust: |draft| {
        recurs(draft)?;
        draft.uint("ssm.inner_size", draft.expanded("expand")?)
    },
    ..ModelType::BASE
};

/// Time steps from 0 to infinity, which the library writes in two ways.
pub(super) const NO_LIMIT: (&str, &[&str]) =
    ("time_step_limit", &["[0.0,null]", "[0,null]", "[0.0,{\"__float__\":\"Infinity\"}]"]);
