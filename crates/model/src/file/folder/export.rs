//! Contents as a Hugging Face folder has them: the way back through the tables that importing goes by.
//!
//! [`export`] finds for each tensor the name that the model type's tables give it ([`super::model_type`]), and which rows go
//! where. It takes only names that `names::place` leads back to the same tensor, and only changes that are the order of
//! a rotation's rows; a model type that changes values, or makes several tensors of one, is refused by the tensor's name. The
//! configuration is the source's, but for its type of values and how it was quantised; for a file without one it is made of the
//! keys, in the families where `MADE` says how, and a key that it can't say is refused. It reads no weights.

use serde_json::{Map, Value as Json, json};

use super::change::{Change, count};
use super::fields::{self, Fields};
use super::model_type::{self, FIELDS, Kind, MODEL_TYPES, ModelType};
use super::names::{Place, Rule, place};
use super::{CONFIG, EMBEDDING, HEAD, QUANTIZATION, rope};
use crate::error::{Error, Result};
use crate::file::contents::{Contents, Tensor};
use crate::file::value::Value;

/// Families whose configuration is made of the keys: the model type and the class that the transformers library has for it.
const MADE: &[(&str, &str)] =
    &[("llama", "LlamaForCausalLM"), ("qwen2", "Qwen2ForCausalLM"), ("qwen3", "Qwen3ForCausalLM")];
const MISTRAL: (&str, &str) = ("mistral", "MistralForCausalLM");
/// Tensors of rotations, which a configuration says in numbers.
const ROTATIONS: &[&str] = &["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// How many values of a head a rotation turns.
const TURNED: &str = "rope.dimension_count";

/// A folder to be written.
#[derive(Debug)]
pub struct Export {
    /// `config.json`, without a type of values.
    pub config: Map<String, Json>,
    /// The tensors, sorted by name.
    pub tensors: Vec<Out>,
}

/// One tensor there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    /// Its name.
    pub name: String,
    /// The tensor of the contents that it is or is part of, by number.
    pub tensor: usize,
    /// Which of how many equal parts of that it is.
    pub part: (usize, usize),
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// The order of its rows.
    pub rows: Rows,
    /// Whether it is a matrix of a layer, which inputs are multiplied with.
    pub is_linear: bool,
}

/// Which row of ours a row there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// The same.
    Same,
    /// Of each head of so many rows, so many that are turned lie in halves there and in pairs here.
    Halves {
        /// Rows of a head.
        head: usize,
        /// Those of them that are turned.
        turned: usize,
    },
}

impl Rows {
    /// Our row of row `i` there.
    pub fn ours(self, i: usize) -> usize {
        match self {
            Self::Same => i,
            Self::Halves { head, turned } => match i % head {
                j if j >= turned => i,
                j if j < turned / 2 => i + j,
                j => i - j + 2 * (j - turned / 2) + 1,
            },
        }
    }
}

/// `file` as a folder with the configuration `config`, or one made of its keys.
///
/// # Errors
/// [`Error::Unsupported`] for families, keys and tensors for which there is no way back.
pub fn export(file: &Contents, config: Option<&[u8]>) -> Result<Export> {
    let mut map = match config {
        Some(config) => fields::parse(CONFIG, config)?,
        None => made(file)?,
    };
    map.remove(QUANTIZATION);
    let whole = Fields::of_file(CONFIG, &map);
    let name = whole.str("model_type")?.unwrap_or_default();
    let (model, config) = model_type::find(name, &whole)?;
    if config.within.is_some() {
        let found = "a text model inside of another";
        return Err(Error::unsupported(whole.of("model_type"), found, ["models of text alone"]));
    }
    let mut tensors = Vec::new();
    for (i, tensor) in file.tensors().iter().enumerate() {
        if !ROTATIONS.contains(&&*tensor.name) {
            place_back(model, &config, tensor, i, &mut tensors)?;
        }
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Export { config: map, tensors })
}

/// Adds what `tensor`, number `i`, is there.
fn place_back(
    model: &ModelType,
    config: &Fields<'_>,
    tensor: &Tensor,
    i: usize,
    to: &mut Vec<Out>,
) -> Result<()> {
    let part = || format!("tensor {}", tensor.name);
    let refused = || {
        let found = format!("a way back to a folder of model type {}", model.names[0]);
        Error::unsupported(part(), found, ["tensors that have other names there, or heads with other rows"])
    };
    let layer = tensor.name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    let (tables, before, ours) = match layer {
        Some((layer, rest)) => (model.layer, format!("{}{layer}.", model.layers_in), rest),
        None => (model.whole, String::new(), &*tensor.name),
    };
    let leads_back = |full: &str| match place(model, full) {
        Place::Into { to, .. } => match &to[..] {
            [(name, change)] if name == ours => Some(*change),
            _ => None,
        },
        _ => None,
    };
    let theirs = |rule: &Rule| {
        let end = ours.strip_prefix(rule.1)?;
        (end.is_empty() || [".weight", ".bias"].contains(&end)).then(|| format!("{before}{}{end}", rule.0))
    };
    let names = tables.iter().copied().flatten().filter_map(theirs);
    let found = names.filter_map(|name| Some((leads_back(&name.replace("{}", "0"))?, name))).next();
    let (change, name) = found.ok_or_else(refused)?;
    let mut shape: Vec<usize> = tensor.shape.iter().rev().copied().collect();
    let n_parts = if name.contains("{}") && shape.len() == 3 { shape.remove(0) } else { 1 };
    if name.contains("{}") != (n_parts > 1 || tensor.shape.len() == 3) {
        return Err(refused());
    }
    let n_heads = match change {
        Change::AsIs => None,
        Change::QueryRows => Some(count(config, "num_attention_heads")?.unwrap_or(1)),
        Change::KeyRows => match count(config, "num_key_value_heads")? {
            None => Some(count(config, "num_attention_heads")?.unwrap_or(1)),
            n => n,
        },
        _ => return Err(refused()),
    };
    let rows = match n_heads {
        None => Rows::Same,
        Some(n) => {
            let head = shape[0] / n;
            let turned = rope::rotated_part(config)?.map_or(head, |part| (head as f64 * part) as usize);
            if head == 0 || !shape[0].is_multiple_of(n) || turned % 2 != 0 {
                let expected = format!("pairs of rows in each of {n} heads");
                return Err(Error::malformed(part(), format!("{} rows", shape[0]), expected));
            }
            Rows::Halves { head, turned }
        }
    };
    let is_linear = layer.is_some() && shape.len() == 2 && name.ends_with(".weight");
    to.extend((0..n_parts).map(|at| Out {
        name: name.replace("{}", &at.to_string()),
        tensor: i,
        part: (at, n_parts),
        shape: shape.clone(),
        rows,
        is_linear,
    }));
    Ok(())
}

/// A configuration of the keys of `file`.
fn made(file: &Contents) -> Result<Map<String, Json>> {
    const FAMILY: &str = "general.architecture";
    let family = file.str(FAMILY)?.unwrap_or_default();
    let Some((_, class)) = MADE.iter().find(|(name, _)| *name == family) else {
        let part = format!("metadata {FAMILY}");
        let found = format!("config.json for a file of family {family:?}");
        return Err(Error::unsupported(part, found, MADE.iter().map(|(name, _)| *name)));
    };
    if let Some(name) = ROTATIONS.iter().find(|name| file.tensor(name).is_some()) {
        let found = "config.json for a scaled rotation";
        return Err(Error::unsupported(format!("tensor {name}"), found, ["rotations without scaling"]));
    }
    let model = MODEL_TYPES.iter().find(|model| model.family == family).expect("families that are made");
    let has = |name: &str| file.tensor(name).is_some();
    // A Llama that looks back over a window is called so.
    let is_mistral = family == "llama" && file.uint("llama.attention.sliding_window")?.is_some_and(|n| n > 0);
    let (name, class) = if is_mistral { MISTRAL } else { (model.names[0], *class) };
    let mut config = json!({"architectures": [class], "model_type": name, "hidden_act": "silu",
        "tie_word_embeddings": !has(HEAD)});
    for (key, value) in file.keys() {
        let Some(name) = key.strip_prefix(family).and_then(|rest| rest.strip_prefix('.')) else { continue };
        // The width of a head, as is seen to below.
        if name == TURNED {
            continue;
        }
        if name == "rope.freq_base" {
            config["rope_theta"] = json!(file.float(key)?.map(shortest));
            continue;
        }
        let field = model.fields.iter().chain(FIELDS).find(|field| field.to == name);
        let Some(field) = field else {
            let found = format!("config.json for the value {}", brief(value));
            return Err(Error::unsupported(format!("metadata {key}"), found, ["keys that have a field"]));
        };
        config[field.from] = match field.kind {
            Kind::Uint => json!(file.uint(key)?),
            Kind::Float => json!(file.float(key)?.map(shortest)),
            Kind::Bool => json!(file.bool(key)?),
        };
    }
    let rows = file.tensor(EMBEDDING).and_then(|embedding| embedding.shape.get(1).copied());
    config["vocab_size"] =
        json!(rows.ok_or_else(|| Error::missing(format!("tensor {EMBEDDING}"), "the embedding"))?);
    if let (Some(dim), Some(n)) = (config["hidden_size"].as_u64(), config["num_attention_heads"].as_u64())
        && config.get("head_dim").is_none()
    {
        // Some model types have another width where the field is not there.
        config["head_dim"] = json!(dim / n.max(1));
    }
    let turned = format!("{family}.{TURNED}");
    if let (Some(n), Some(head)) = (file.uint(&turned)?, config["head_dim"].as_u64())
        && n != head
    {
        let found = format!("config.json for {n} turned values in heads of {head}");
        return Err(Error::unsupported(format!("metadata {turned}"), found, ["heads that are turned whole"]));
    }
    for (field, tensor) in [("attention_bias", "blk.0.attn_q.bias"), ("mlp_bias", "blk.0.ffn_up.bias")] {
        if has(tensor) {
            config[field] = json!(true);
        }
    }
    for (field, key) in [
        ("bos_token_id", "bos_token_id"),
        ("eos_token_id", "eos_token_id"),
        ("pad_token_id", "padding_token_id"),
    ] {
        if let Some(id) = file.uint(&format!("tokenizer.ggml.{key}"))? {
            config[field] = json!(id);
        }
    }
    match config {
        Json::Object(map) => Ok(map),
        _ => unreachable!("made as an object"),
    }
}

/// The shortest number that is this one in f32, which is how files keep numbers.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// A value in a few words.
fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{:?}", String::from_utf8_lossy(&text[..text.len().min(40)])),
        Value::Array { .. } => "of an array".into(),
        Value::Uint(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Float(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_back_to_where_importing_takes_them_from() {
        let rows = Rows::Halves { head: 8, turned: 6 };
        let there: Vec<usize> = (0..16).map(|i| rows.ours(i)).collect();
        assert_eq!(there, [0, 2, 4, 1, 3, 5, 6, 7, 8, 10, 12, 9, 11, 13, 14, 15]);
        assert_eq!(Rows::Same.ours(5), 5);
    }
}
