//! Command R7B and Command A: Command R with windows in three layers of four.

use super::{ModelType, cohere};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["cohere2"],
    family: "cohere2",
    fields: cohere::FIELDS,
    defaults: cohere::DEFAULTS,
    tied: true,
    adjust: |draft| draft.windows(),
    ..ModelType::BASE
};
