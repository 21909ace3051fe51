//! Hugging Face folders: `config.json`, weights in safetensors files and the texts beside them, as GGUF would have them.
//!
//! [`import`] finds the model type on its shelf ([`model_type`]), writes the configuration's fields as keys (`fields`, `draft`,
//! `rope`), and gives each tensor its name (`names`) and its bytes (`values`). Both generations of the library's configuration
//! are read. The result is what a GGUF file of the same weights holds, so that nothing behind this door knows the difference:
//! the same bits come out. Matrices in F32, F16 and BF16 stay where they lie; experts, a tensor each in a folder and one
//! together in GGUF, become pieces in place; a head that repeats the embedding is left out.
//!
//! It opens no file: the caller asks [`shards`] which there are. It does not read the vocabulary, which is text
//! ([`crate::token::Tokenizer::from_json`]; [`ending`] has the ids that end an answer), weights pickled by older versions of the library, or quantisations other than FP8. [`peft`] reads adapters.

mod draft;
mod fields;
pub mod model_type;
mod names;
pub mod peft;
mod rope;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ingle_kernel::bytes::Bytes;

use self::draft::Draft;
use self::fields::Fields;
use self::model_type::{FIELDS, Kind, ModelType};
use self::names::{Place, place};
use self::values::{Change, FP8_BLOCK, Heads};
use super::contents::{Contents, Tensor};
use super::safetensors::{self, Entry};
use super::value::Value;
use crate::error::{Error, Result};

/// The file of the model's numbers.
pub const CONFIG: &str = "config.json";
/// The file of the weights where there is one.
pub const WEIGHTS: &str = "model.safetensors";
/// The file that names those of the weights where there are several.
pub const INDEX: &str = "model.safetensors.index.json";
/// The file that says how to generate, where there is one.
pub const GENERATION: &str = "generation_config.json";
/// Quantisations whose tensors are read.
const METHODS: &[&str] = &["\"fp8\"", "\"fbgemm_fp8\"", "\"compressed-tensors\""];
/// Far above the published ones.
const SHARDS_MAX: usize = 4096;

/// The files of a folder, read or mapped.
#[derive(Debug, Default)]
pub struct Folder {
    /// `config.json`
    pub config: Vec<u8>,
    /// `model.safetensors.index.json`, where there is one.
    pub index: Option<Vec<u8>>,
    /// Each file of weights under its name.
    pub shards: Vec<(String, Bytes)>,
    /// `tokenizer_config.json`, for the chat template of older folders.
    pub tokenizer_config: Option<Vec<u8>>,
    /// `chat_template.jinja`
    pub chat_template: Option<Vec<u8>>,
}

/// The names of the files of weights that `index` speaks of, sorted.
///
/// # Errors
/// [`Error::Malformed`] when it is not such an index or names anything but files beside it.
pub fn shards(index: &[u8]) -> Result<Vec<String>> {
    let map = weight_map(index)?;
    let names: BTreeSet<String> = map.into_values().collect();
    if let Some(name) = names.iter().find(|name| !is_beside(name)) {
        return Err(Error::malformed(INDEX, format!("file {name:?}"), "names of files beside it"));
    }
    if names.is_empty() || names.len() > SHARDS_MAX {
        return Err(Error::malformed(INDEX, format!("{} files", names.len()), format!("1 to {SHARDS_MAX}")));
    }
    Ok(names.into_iter().collect())
}

/// Tensors and the file of each.
fn weight_map(index: &[u8]) -> Result<HashMap<String, String>> {
    let malformed = |e| Error::malformed(INDEX, e, "an object weight_map of tensors and their files");
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    serde_json::from_slice::<Index>(index).map(|index| index.weight_map).map_err(malformed)
}

fn is_beside(name: &str) -> bool {
    name.ends_with(".safetensors") && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

/// The contents of `folder` under GGUF's keys and names.
///
/// # Errors
/// [`Error::Unsupported`] for a model type that is not on the shelf, or a field, type or tensor we don't know the arithmetic of;
/// [`Error::Malformed`] when a file breaks its format or contradicts another.
pub fn import(folder: &Folder) -> Result<Contents> {
    let whole = fields::parse(CONFIG, &folder.config)?;
    let whole = Fields { part: CONFIG, within: None, map: &whole, defaults: &[] };
    let name = whole.str("model_type")?;
    let name = name.ok_or_else(|| Error::malformed(whole.of("model_type"), "nothing", "a model type"))?;
    let model = model_type::by_name(name)?;
    let text = model.text_config.map_or(Ok(None), |name| whole.object(name))?;
    let config = Fields { defaults: model.defaults, ..text.unwrap_or(whole) };
    for (field, values) in model.expects {
        config.expect(field, values)?;
    }
    let n = folder.shards.len();
    let container = if n == 1 { "safetensors".to_owned() } else { format!("safetensors in {n} files") };
    let mut draft = Draft { config, family: model.family, file: Contents::new(container) };
    keys(model, &mut draft)?;
    let heads = heads(&draft, &whole)?;
    let entries = entries(folder)?;
    tensors(model, &whole, &mut draft, &heads, &entries)?;
    if let Some(template) = template(folder)? {
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

fn heads(draft: &Draft<'_>, whole: &Fields<'_>) -> Result<Heads> {
    let count = |name: &str| -> Result<Option<usize>> {
        let Some(n) = draft.config.uint(name)? else { return Ok(None) };
        let in_range = usize::try_from(n).ok().filter(|n| (1..=1 << 12).contains(n));
        in_range.map(Some).ok_or_else(|| Error::malformed(draft.config.of(name), n, "1 to 4096"))
    };
    let n_heads = count("num_attention_heads")?.unwrap_or(1);
    let n_kv_heads = count("num_key_value_heads")?.unwrap_or(n_heads);
    let mut fp8_block = FP8_BLOCK;
    if let Some(quantization) = whole.object("quantization_config")? {
        quantization.expect("quant_method", METHODS)?;
        if let Some(block) = quantization.floats("weight_block_size")? {
            fp8_block = match block[..] {
                [rows, cols] if rows >= 1.0 && cols >= 1.0 => [rows as usize, cols as usize],
                _ => {
                    let part = quantization.of("weight_block_size");
                    return Err(Error::malformed(part, format!("{block:?}"), "two numbers above zero"));
                }
            };
        }
    }
    Ok(Heads { n_heads, n_kv_heads, fp8_block })
}

/// The tensors of all files by name, as the index says where there is one.
fn entries(folder: &Folder) -> Result<BTreeMap<String, Entry>> {
    let mut index = folder.index.as_deref().map(weight_map).transpose()?;
    let mut all = BTreeMap::new();
    for (file, bytes) in &folder.shards {
        for entry in safetensors::parse(file, bytes)? {
            let part = || format!("{file} tensor {}", entry.name);
            if let Some(index) = &mut index
                && index.remove(&entry.name).as_ref() != Some(file)
            {
                return Err(Error::malformed(
                    part(),
                    "a tensor that the index has elsewhere or not",
                    "its file",
                ));
            }
            if all.contains_key(&entry.name) {
                return Err(Error::malformed(
                    part(),
                    "a tensor that another file has too",
                    "each tensor once",
                ));
            }
            all.insert(entry.name.clone(), entry);
        }
    }
    match index.and_then(|index| index.into_iter().min()) {
        Some((name, file)) => Err(Error::malformed(
            INDEX,
            format!("tensor {name}, which {file} has not"),
            "tensors that are there",
        )),
        None => Ok(all),
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

/// A tensor of ours in the making: its parts by expert.
type Parts<'a> = BTreeMap<Option<usize>, (&'a Entry, Change)>;

fn tensors(
    model: &ModelType,
    whole: &Fields<'_>,
    draft: &mut Draft<'_>,
    heads: &Heads,
    entries: &BTreeMap<String, Entry>,
) -> Result<()> {
    let n_layers = draft.config.need_uint("num_hidden_layers")?;
    // The whole model's first, then layer by layer.
    let mut all: BTreeMap<(Option<usize>, String), Parts<'_>> = BTreeMap::new();
    let mut scales = HashMap::new();
    for entry in entries.values() {
        let part = || format!("tensor {}", entry.name);
        match place(model, &entry.name) {
            Place::Skipped => {}
            Place::ScaleOf(weights) => {
                scales.insert(weights, entry);
            }
            Place::Unknown => {
                let found = format!("a tensor that model type {} does not use", model.names[0]);
                return Err(Error::unsupported(
                    part(),
                    found,
                    ["the tensors of the published models of that type"],
                ));
            }
            Place::Into { layer: Some(layer), .. } if layer as u64 >= n_layers => {
                let expected = format!("layers below the {n_layers} of num_hidden_layers");
                return Err(Error::malformed(part(), format!("layer {layer}"), expected));
            }
            Place::Into { name, layer, expert, change } => {
                let parts = all.entry((layer, name)).or_default();
                if let Some((other, _)) = parts.insert(expert, (entry, change)) {
                    return Err(Error::malformed(
                        part(),
                        format!("the same as {}", other.name),
                        "each tensor once",
                    ));
                }
            }
        }
    }
    let head = (None, HEAD.to_owned());
    if is_tied(model, whole, &draft.config, all.contains_key(&head))? {
        for (entry, _) in all.remove(&head).unwrap_or_default().values() {
            scales.remove(&entry.name);
        }
    }
    for ((layer, name), parts) in all {
        let name = layer.map_or_else(String::new, |i| format!("blk.{i}.")) + &name;
        let tensor = tensor(name, &parts, &mut scales, heads)?;
        if tensor.name == EMBEDDING {
            check_vocab(draft, &tensor)?;
        }
        draft.file.add(tensor)?;
    }
    match scales.into_values().map(|scale| &scale.name).min() {
        Some(name) => {
            Err(Error::malformed(format!("tensor {name}"), "scales alone", "the weights they scale"))
        }
        None => Ok(()),
    }
}

fn tensor(
    name: String,
    parts: &Parts<'_>,
    scales: &mut HashMap<String, &Entry>,
    heads: &Heads,
) -> Result<Tensor> {
    let n = parts.len();
    let mut read = Vec::with_capacity(n);
    for (i, (expert, (entry, change))) in parts.iter().enumerate() {
        let part = || format!("tensor {}", entry.name);
        if expert.is_some_and(|expert| expert != i) {
            return Err(Error::malformed(part(), format!("expert {i} is not there"), "all experts"));
        }
        read.push(values::read(entry, scales.remove(&entry.name), *change, heads)?);
        let (first, last) = (&read[0], &read[i]);
        if last.shape != first.shape || last.format != first.format {
            let found = format!("shape {:?} in {}", last.shape, last.format.name);
            let expected = format!("{:?} in {}, as in the others", first.shape, first.format.name);
            return Err(Error::malformed(part(), found, expected));
        }
    }
    let mut shape = read[0].shape.clone();
    if parts.keys().all(Option::is_some) {
        shape.push(n);
    }
    let format = read[0].format;
    Ok(Tensor::new(name, shape, format, read.into_iter().map(|part| part.piece).collect()))
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
        let file = Fields { part, within: None, map: &map, defaults: &[] };
        let Some(value) = file.value(FIELD) else { continue };
        let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        if !all.iter().all(|id| id.is_i64() || id.is_u64()) {
            return Err(Error::malformed(file.of(FIELD), "something else", "an id or a list of ids"));
        }
        return Ok(all.iter().filter_map(|id| u32::try_from(id.as_u64()?).ok()).collect());
    }
    Ok(Vec::new())
}

/// The chat template: a file of its own, or a field of the tokenizer's, one text or several under names.
fn template(folder: &Folder) -> Result<Option<String>> {
    const FILE: &str = "chat_template.jinja";
    if let Some(bytes) = &folder.chat_template {
        let text = std::str::from_utf8(bytes);
        let text = text.map_err(|_| Error::malformed(FILE, "invalid UTF-8", "a text in UTF-8"))?;
        return Ok(Some(text.to_owned()));
    }
    let Some(bytes) = &folder.tokenizer_config else { return Ok(None) };
    let config = fields::parse("tokenizer_config.json", bytes)?;
    let Some(value) = config.get("chat_template") else { return Ok(None) };
    let named =
        value.as_array().and_then(|all| all.iter().find(|one| one["name"] == "default").or(all.first()));
    Ok(named.map_or(value, |one| &one["template"]).as_str().map(str::to_owned))
}
