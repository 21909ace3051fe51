//! Hugging Face folders: `config.json`, weights in safetensors or PyTorch files and the texts beside them, as GGUF would have
//! them.
//!
//! [`import`] finds the model type on its shelf ([`model_type`]), writes the configuration's fields as keys (`fields`, `draft`,
//! `rope`), and gives each tensor ([`weights`], [`quantised`]) its name (`names`) and its bytes (`values`). Both generations of the library's configuration
//! are read. The result is what a GGUF file of the same weights holds, so that nothing behind this door knows the difference:
//! the same bits come out. Matrices in F32, F16 and BF16 stay where they lie; experts, a tensor each in a folder and one
//! together in GGUF, become pieces in place; a head that repeats the embedding is left out. Where bytes must differ, a table
//! of the model type names how (`change`), and they are made when the weights are read.
//!
//! It opens no file: the caller asks [`WeightFiles::shards`] which there are. It does not read the vocabulary, which is text
//! ([`crate::token::Tokenizer::from_json`]; [`ending`] has the ids that end an answer). [`peft`] reads adapters, [`sentence`] how embeddings are made.

mod change;
mod draft;
pub mod export;
mod fields;
pub mod model_type;
mod names;
pub mod peft;
pub mod quantised;
mod rope;
pub mod sentence;
mod template;
mod values;
pub mod weights;

use std::collections::{BTreeMap, HashMap, HashSet};

use ingle_kernel::bytes::Bytes;

use self::change::{Change, Part};
use self::draft::Draft;
use self::fields::Fields;
use self::model_type::{FIELDS, Kind, ModelType};
use self::names::{Place, place};
use self::sentence::Sentence;
pub use self::template::chat_template;
use self::values::FP8_BLOCK;
use self::weights::WeightFiles;
use super::contents::{Contents, Tensor};
use super::entry::Entry;
use super::value::Value;
use crate::arch;
use crate::error::{Error, Result};

/// The file of the model's numbers.
pub const CONFIG: &str = "config.json";
/// The file that says how to generate, where there is one.
pub const GENERATION: &str = "generation_config.json";
/// What the configuration says of quantised weights, in an object of this name.
const QUANTIZATION: &str = "quantization_config";

/// The files of a folder, read or mapped.
#[derive(Debug, Default)]
pub struct Folder {
    /// `config.json`
    pub config: Vec<u8>,
    /// What its files of weights are.
    pub weights: &'static WeightFiles,
    /// The file that names those of the weights, where there is one.
    pub index: Option<Vec<u8>>,
    /// Each file of weights under its name.
    pub shards: Vec<(String, Bytes)>,
    /// `tokenizer_config.json`, for the chat template of older folders.
    pub tokenizer_config: Option<Vec<u8>>,
    /// `chat_template.jinja`
    pub chat_template: Option<Vec<u8>>,
    /// How embeddings are made, where the folder says so.
    pub sentence: Sentence,
}

/// The contents of `folder` under GGUF's keys and names.
///
/// # Errors
/// [`Error::Unsupported`] for a model type that is not on the shelf, or a field, type or tensor we don't know the arithmetic of;
/// [`Error::Malformed`] when a file breaks its format or contradicts another.
pub fn import(folder: &Folder) -> Result<Contents> {
    let whole = fields::parse(CONFIG, &folder.config)?;
    let whole = Fields::of_file(CONFIG, &whole);
    let name = whole.str("model_type")?;
    let name = name.ok_or_else(|| Error::missing(whole.of("model_type"), "a model type"))?;
    let (model, config) = model_type::find(name, &whole)?;
    for (field, values) in model.expects {
        config.expect(field, values)?;
    }
    let n = folder.shards.len();
    let container = folder.weights.container;
    let container = if n == 1 { container.to_owned() } else { format!("{container} in {n} files") };
    let mut draft = Draft { config, family: model.family, file: Contents::new(container) };
    keys(model, &mut draft)?;
    sentence::write(&mut draft, &folder.sentence)?;
    let mut entries = folder.weights.entries(folder.index.as_deref(), &folder.shards)?;
    let quantization = match config.object(QUANTIZATION)? {
        None => whole.object(QUANTIZATION)?,
        said => said,
    };
    if let Some(config) = &quantization {
        quantised::unpack(config, &mut entries)?;
    }
    let block = quantization.map_or(Ok(FP8_BLOCK), |config| fp8_block(&config))?;
    tensors(model, &whole, &mut draft, &entries, block)?;
    let template = chat_template(folder.chat_template.as_deref(), folder.tokenizer_config.as_deref())?;
    if let Some(template) = template {
        draft.file.set("tokenizer.chat_template", Value::text(&template))?;
    }
    Ok(draft.file)
}

fn keys(model: &ModelType, draft: &mut Draft<'_>) -> Result<()> {
    draft.file.set("general.architecture", Value::text(model.family))?;
    (model.adjust)(draft)?;
    rope::write(draft)?;
    let config = draft.config;
    for field in model.fields.iter().chain(FIELDS) {
        if draft.has(field.to) {
            continue;
        }
        match field.kind {
            Kind::Uint => config.uint(field.from)?.map_or(Ok(()), |v| draft.uint(field.to, v))?,
            Kind::Float => config.float(field.from)?.map_or(Ok(()), |v| draft.float(field.to, v))?,
            Kind::Bool => config.bool(field.from)?.map_or(Ok(()), |v| draft.bool(field.to, v))?,
        }
    }
    Ok(())
}

/// Rows and columns of FP8 weights that share a scale.
fn fp8_block(quantization: &Fields<'_>) -> Result<[usize; 2]> {
    const FIELD: &str = "weight_block_size";
    let Some(block) = quantization.floats(FIELD)? else { return Ok(FP8_BLOCK) };
    match block[..] {
        [rows, cols] if rows >= 1.0 && cols >= 1.0 => Ok([rows as usize, cols as usize]),
        _ => Err(Error::malformed(quantization.of(FIELD), format!("{block:?}"), "two numbers above zero")),
    }
}

/// Whether the head is the embedding; both are then the same, and one is enough.
fn is_tied(model: &ModelType, whole: &Fields<'_>, config: &Fields<'_>, has_head: bool) -> Result<bool> {
    const FIELD: &str = "tie_word_embeddings";
    let said = match config.bool(FIELD)?.or(whole.bool(FIELD)?) {
        None => config.bool("tie_embedding")?,
        said => said,
    };
    if said == Some(false) && !has_head {
        return Err(Error::malformed(
            whole.of(FIELD),
            "false without a head among the tensors",
            "its weights",
        ));
    }
    Ok(said.unwrap_or(model.tied) || !has_head)
}

const HEAD: &str = "output.weight";
const EMBEDDING: &str = "token_embd.weight";
/// What the embedding is called there in a model that was saved without its head.
const ALONE: &str = "embed_tokens.weight";

/// A tensor of ours in the making: its parts by expert.
type Parts<'a> = BTreeMap<Option<usize>, (&'a Entry, Change)>;

/// What the tables make of a folder's tensors.
#[derive(Default)]
struct Placed<'a> {
    /// The whole model's first, then layer by layer.
    tensors: BTreeMap<(Option<usize>, String), Parts<'a>>,
    /// By the name of the weights they scale.
    scales: HashMap<String, &'a Entry>,
    /// Numbers of layers, by key.
    listed: BTreeMap<&'static str, BTreeMap<usize, &'a Entry>>,
}

fn tensors(
    model: &ModelType,
    whole: &Fields<'_>,
    draft: &mut Draft<'_>,
    entries: &BTreeMap<String, Entry>,
    fp8_block: [usize; 2],
) -> Result<()> {
    let n_layers = match draft.file.uint(&draft.key("block_count"))? {
        Some(n) => n,
        None => draft.config.need_uint("num_hidden_layers")?,
    };
    let Placed { tensors: mut all, mut scales, listed } = placed(model, entries, n_layers)?;
    let head = (None, HEAD.to_owned());
    let has_head = all.contains_key(&head);
    // Encoders have none, and nor has a model that was saved without it for its embeddings.
    let is_headless = arch::is_encoder(model.family) || (!has_head && entries.contains_key(ALONE));
    if !is_headless && is_tied(model, whole, &draft.config, has_head)? {
        for (entry, _) in all.remove(&head).unwrap_or_default().values() {
            scales.remove(&entry.name);
        }
    }
    for ((layer, name), parts) in &all {
        let name = layer.map_or_else(String::new, |i| format!("blk.{i}.")) + name;
        let tensor = tensor(name, parts, &scales, fp8_block, &draft.config)?;
        if tensor.name == EMBEDDING {
            check_vocab(draft, &tensor)?;
        }
        draft.file.add(tensor)?;
    }
    let scaled: HashSet<&str> =
        all.values().flat_map(|parts| parts.values()).map(|part| &*part.0.name).collect();
    scales.retain(|weights, _| !scaled.contains(&**weights));
    if let Some(name) = scales.into_values().map(|scale| &scale.name).min() {
        return Err(Error::malformed(format!("tensor {name}"), "scales alone", "the weights they scale"));
    }
    for (key, layers) in listed {
        let values = layers.into_values().map(|entry| values::single(entry, &draft.config));
        let values = values.collect::<Result<Vec<f32>>>()?;
        draft.file.set(key, Value::floats(&values))?;
    }
    Ok(())
}

fn placed<'a>(model: &ModelType, entries: &'a BTreeMap<String, Entry>, n_layers: u64) -> Result<Placed<'a>> {
    let mut all = Placed::default();
    for entry in entries.values() {
        let part = || format!("tensor {}", entry.name);
        let place = place(model, &entry.name);
        if let Place::Into { layer: Some(layer), .. } | Place::Listed { layer, .. } = place
            && layer as u64 >= n_layers
        {
            let expected = format!("layers below the {n_layers} of num_hidden_layers");
            return Err(Error::malformed(part(), format!("layer {layer}"), expected));
        }
        match place {
            Place::Skipped => {}
            Place::ScaleOf(weights) => {
                all.scales.insert(weights, entry);
            }
            Place::Listed { layer, key } => {
                all.listed.entry(key).or_default().insert(layer, entry);
            }
            Place::Unknown => {
                let found = format!("a tensor that model type {} does not use", model.names[0]);
                let expected = ["the tensors of the published models of that type"];
                return Err(Error::unsupported(part(), found, expected));
            }
            Place::Into { layer, expert, to } => {
                for (name, change) in to {
                    let parts = all.tensors.entry((layer, name)).or_default();
                    if let Some((other, _)) = parts.insert(expert, (entry, change)) {
                        let found = format!("the same as {}", other.name);
                        return Err(Error::malformed(part(), found, "each tensor once"));
                    }
                }
            }
        }
    }
    Ok(all)
}

fn tensor(
    name: String,
    parts: &Parts<'_>,
    scales: &HashMap<String, &Entry>,
    fp8_block: [usize; 2],
    config: &Fields<'_>,
) -> Result<Tensor> {
    let n = parts.len();
    let stacked = parts.keys().all(Option::is_some);
    let mut read: Vec<Part> = Vec::with_capacity(n);
    for (i, (expert, (entry, change))) in parts.iter().enumerate() {
        let part = || format!("tensor {}", entry.name);
        if expert.is_some_and(|expert| expert != i) || (expert.is_none() && n > 1) {
            return Err(Error::malformed(part(), format!("expert {i} is not there"), "all experts"));
        }
        let scale = scales.get(&entry.name).copied();
        read.push(values::read(entry, scale, fp8_block, *change, config)?);
    }
    let differ = read.iter().any(|part| part.format != read[0].format);
    if differ && read.iter().any(|part| part.format.block > 1) {
        // Experts that were quantised one by one need not have found room in the same blocks.
        read = read.into_iter().map(Part::plain).collect();
    }
    let first = &read[0];
    for one in &read {
        if one.shape != first.shape || one.format != first.format || (stacked && one.pieces.len() != 1) {
            let found = format!("shape {:?} in {}", one.shape, one.format.name);
            let expected = format!("{:?} in {}, as in the others", first.shape, first.format.name);
            return Err(Error::malformed(one.part(), found, expected));
        }
    }
    let mut shape = read[0].shape.clone();
    if stacked {
        shape.push(n);
    }
    let format = read[0].format;
    Ok(Tensor::new(name, shape, format, read.into_iter().flat_map(|part| part.pieces).collect()))
}

fn check_vocab(draft: &Draft<'_>, embedding: &Tensor) -> Result<()> {
    let rows = embedding.shape.get(1).copied().unwrap_or(0) as u64;
    match draft.config.uint("vocab_size")? {
        Some(n) if n != rows => {
            let found = format!("{n} where the embedding has {rows} rows");
            Err(Error::malformed(draft.config.of("vocab_size"), found, "the same number"))
        }
        _ => Ok(()),
    }
}

/// The ids that end an answer: one or a list of them in `generation`, generation_config.json, or else in `config`. Those
/// that no vocabulary can have are left out.
///
/// # Errors
/// [`Error::Malformed`] when a file is not an object, or its field neither.
pub fn ending(config: &[u8], generation: Option<&[u8]>) -> Result<Vec<u32>> {
    const FIELD: &str = "eos_token_id";
    for (part, bytes) in generation.map(|bytes| (GENERATION, bytes)).into_iter().chain([(CONFIG, config)]) {
        let map = fields::parse(part, bytes)?;
        let file = Fields::of_file(part, &map);
        let Some(value) = file.value(FIELD) else { continue };
        let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if !all.iter().all(|id| id.is_i64() || id.is_u64()) {
            return Err(Error::malformed(file.of(FIELD), "something else", "an id or a list of ids"));
        }
        return Ok(all.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect());
    }
    Ok(Vec::new())
}
