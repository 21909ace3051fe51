//! The shelf of model types: what `config.json` calls `model_type`, and how its fields and tensors are called in GGUF.
//!
//! Most of it is data: the family it becomes, tables of names, defaults the library has for fields that a file leaves out,
//! and fields whose other values mean arithmetic we don't have. To add a model type write its file and one line in
//! [`MODEL_TYPES`], or in [`ENCODERS`] for models that read texts as a whole. Source of names and keys: llama.cpp's converter and the transformers library's models.

mod apertus;
mod bamba;
mod bert;
mod cohere;
mod cohere2;
mod distilbert;
mod ernie4_5;
mod exaone4;
mod falcon_h1;
mod gemma;
mod gemma2;
mod gemma3;
mod gemma3n;
mod gemma4;
mod glm4;
mod gpt_oss;
mod granite;
mod granitemoehybrid;
mod hunyuan_v1_dense;
mod jamba;
mod lfm2;
mod lfm2_moe;
mod llama;
mod mamba;
mod mamba2;
mod minicpm;
mod nemotron;
mod nemotron_h;
mod olmo2;
mod olmo3;
mod phi;
mod phi3;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_5;
mod qwen3_5_moe;
mod qwen3_moe;
mod qwen3_next;
mod roberta;
mod seed_oss;
mod smollm3;
mod stablelm;
mod starcoder2;

use super::draft::Draft;
use super::fields::Fields;
use super::names::{LAYER, Rule, WHOLE};
use crate::error::{Error, Result};

/// One or several values of `model_type` that are imported in the same way.
#[derive(Debug)]
pub struct ModelType {
    /// The values.
    pub names: &'static [&'static str],
    /// Which of the models of these names it is about, where there are two kinds.
    pub when: Option<fn(&Fields<'_>) -> bool>,
    /// The family it becomes ([`crate::arch`]).
    pub family: &'static str,
    /// The object of `config.json` that is about text, where the model also sees or hears.
    pub text_config: Option<&'static str>,
    /// Fields beyond those all share.
    pub fields: &'static [Field],
    /// Numbers of fields that files leave out.
    pub defaults: &'static [(&'static str, f64)],
    /// Truth values of fields that files leave out.
    pub flags: &'static [(&'static str, bool)],
    /// Fields, and the values in JSON that we know the arithmetic of.
    pub expects: &'static [(&'static str, &'static [&'static str])],
    /// Whether the head is the embedding where the configuration does not say.
    pub tied: bool,
    /// What stands before a layer's number.
    pub layers_in: &'static str,
    /// Beginnings of names that stand for others.
    pub prefixes: &'static [(&'static str, &'static str)],
    /// Beginnings of names of tensors that are not about text.
    pub skips: &'static [&'static str],
    /// Tables of the whole model's tensors; the first that has a name counts.
    pub whole: &'static [&'static [Rule]],
    /// Tables of a layer's tensors; the first that has a name counts.
    pub layer: &'static [&'static [Rule]],
    /// Tensors of a layer with one value, and the key under which GGUF lists those of all layers.
    pub listed: &'static [(&'static str, &'static str)],
    /// Sets the keys that are more than a field's value, before the others.
    pub adjust: fn(&mut Draft<'_>) -> Result<()>,
}

/// A field and the key it becomes.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Its name in `config.json`.
    pub from: &'static str,
    /// The key behind the family's name.
    pub to: &'static str,
    /// Its type.
    pub kind: Kind,
}

/// Types of fields.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Uint,
    Float,
    Bool,
}

const fn uint(from: &'static str, to: &'static str) -> Field {
    Field { from, to, kind: Kind::Uint }
}

const fn float(from: &'static str, to: &'static str) -> Field {
    Field { from, to, kind: Kind::Float }
}

const fn bool(from: &'static str, to: &'static str) -> Field {
    Field { from, to, kind: Kind::Bool }
}

/// The fields that nearly all share.
pub const FIELDS: &[Field] = &[
    uint("vocab_size", "vocab_size"),
    uint("max_position_embeddings", "context_length"),
    uint("hidden_size", "embedding_length"),
    uint("num_hidden_layers", "block_count"),
    uint("intermediate_size", "feed_forward_length"),
    uint("num_attention_heads", "attention.head_count"),
    uint("num_key_value_heads", "attention.head_count_kv"),
    uint("head_dim", "attention.key_length"),
    uint("head_dim", "attention.value_length"),
    float("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
];

impl ModelType {
    /// What most model types share, to be completed.
    const BASE: Self = Self {
        names: &[],
        when: None,
        family: "",
        text_config: None,
        fields: &[],
        defaults: &[("rms_norm_eps", 1e-6)],
        flags: &[],
        expects: &[("hidden_act", &["\"silu\""])],
        tied: false,
        layers_in: "model.layers.",
        prefixes: &[],
        skips: &[],
        whole: &[WHOLE],
        layer: &[LAYER],
        listed: &[],
        adjust: |_| Ok(()),
    };
}

/// Every model type this build imports.
pub static MODEL_TYPES: &[&ModelType] = &[
    &llama::MODEL_TYPE,
    &qwen2::MODEL_TYPE,
    &qwen3::MODEL_TYPE,
    &qwen3_moe::MODEL_TYPE,
    &gemma::MODEL_TYPE,
    &gemma2::MODEL_TYPE,
    &gemma3::MODEL_TYPE,
    &gemma3n::MODEL_TYPE,
    &phi3::MODEL_TYPE,
    &smollm3::MODEL_TYPE,
    &granite::MODEL_TYPE,
    &olmo2::MODEL_TYPE,
    &lfm2::MODEL_TYPE,
    &phi::MODEL_TYPE,
    &starcoder2::MODEL_TYPE,
    &stablelm::MODEL_TYPE,
    &gpt_oss::MODEL_TYPE,
    &exaone4::MODEL_TYPE,
    &hunyuan_v1_dense::MODEL_TYPE,
    &ernie4_5::MODEL_TYPE,
    &nemotron::MODEL_TYPE,
    &glm4::MODEL_TYPE,
    &cohere::MODEL_TYPE,
    &cohere2::MODEL_TYPE,
    &qwen2_moe::MODEL_TYPE,
    &seed_oss::MODEL_TYPE,
    &apertus::MODEL_TYPE,
    &olmo3::MODEL_TYPE,
    &gemma4::MODEL_TYPE,
    &mamba::MODEL_TYPE,
    &mamba2::MODEL_TYPE,
    &jamba::MODEL_TYPE,
    &granitemoehybrid::DENSE,
    &granitemoehybrid::EXPERTS,
    &bamba::MODEL_TYPE,
    &falcon_h1::MODEL_TYPE,
    &qwen3_next::MODEL_TYPE,
    &qwen3_5::MODEL_TYPE,
    &qwen3_5_moe::MODEL_TYPE,
    &nemotron_h::DENSE,
    &nemotron_h::EXPERTS,
    &lfm2_moe::MODEL_TYPE,
    &minicpm::MODEL_TYPE,
];

/// Every model type this build imports for [`crate::encoder`].
pub static ENCODERS: &[&ModelType] = &[
    &bert::MODEL_TYPE,
    &bert::CLASSIFIER,
    &roberta::MODEL_TYPE,
    &roberta::CLASSIFIER,
    &distilbert::MODEL_TYPE,
];

/// The model type called `name` in the configuration `whole`, and the part of it that is about text.
///
/// # Errors
/// [`Error::Unsupported`] with the names there are.
pub fn find<'a>(name: &str, whole: &Fields<'a>) -> Result<(&'static ModelType, Fields<'a>)> {
    let all = || MODEL_TYPES.iter().chain(ENCODERS);
    for &model in all().filter(|model| model.names.contains(&name)) {
        let text = model.text_config.map_or(Ok(None), |name| whole.object(name))?;
        let config = Fields { defaults: model.defaults, flags: model.flags, ..text.unwrap_or(*whole) };
        if model.when.is_none_or(|when| when(&config)) {
            return Ok((model, config));
        }
    }
    let mut names: Vec<&str> = all().flat_map(|model| model.names).copied().collect();
    names.dedup();
    Err(Error::unsupported("config.json model_type", format!("{name:?}"), names))
}

/// The factor on scores where it is not the one by the head's width: by a number of its own.
fn scale_by(draft: &mut Draft<'_>, field: &str) -> Result<()> {
    match draft.config.float(field)? {
        Some(n) if n != draft.head_dim()? as f64 => draft.float("attention.scale", n.powf(-0.5)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::{self, FAMILIES};

    #[test]
    fn every_model_type_has_a_family_and_a_name_of_its_own() {
        let all: Vec<_> = MODEL_TYPES.iter().chain(ENCODERS).collect();
        for (i, model) in all.iter().enumerate() {
            let others = all[..i].iter().filter(|other| model.when.is_none() || other.when.is_none());
            let mut others = others.flat_map(|other| other.names);
            assert!(!others.any(|name| model.names.contains(name)), "{:?}", model.names);
        }
        for model in MODEL_TYPES {
            assert!(FAMILIES.iter().any(|family| family.name == model.family), "{}", model.family);
        }
        for model in ENCODERS {
            assert!(arch::is_encoder(model.family), "{}", model.family);
        }
    }
}
