//! MiniCPM: Llama's names; three numbers make the factors on embeddings, residuals and logits.

use super::super::names::{INTERLEAVED, LAYER};
use super::{ModelType, float};

pub static MODEL_TYPE: ModelType = ModelType {
    names: &["minicpm"],
    family: "minicpm",
    fields: &[float("scale_emb", "embedding_scale")],
    defaults: &[
        ("rms_norm_eps", 1e-6),
        ("scale_emb", 1.0),
        ("scale_depth", 1.0),
        ("dim_model_base", 1.0),
        ("rope_theta", 10_000.0),
    ],
    tied: true,
    layer: &[INTERLEAVED, LAYER],
    adjust: |draft| {
        let config = draft.config;
        let number = |name: &str| Ok::<_, crate::Error>(config.float(name)?.unwrap_or(1.0));
        let n_layers = config.need_uint("num_hidden_layers")?;
        draft.float("residual_scale", number("scale_depth")? / (n_layers as f64).sqrt())?;
        draft.float("logit_scale", config.need_uint("hidden_size")? as f64 / number("dim_model_base")?)
    },
    ..ModelType::BASE
};
