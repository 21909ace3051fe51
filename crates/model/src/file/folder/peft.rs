//! LoRA adapters as the peft library saves them: `adapter_config.json` beside `adapter_model.safetensors`.
//!
//! [`import`] gives an adapter the form that GGUF's have ([`crate::adapter`]): its modules are looked up in the tables of the
//! base's own model type, so they get the names that the base's tensors have, whatever container the base came in; rows of `B`
//! change places where the base's do; the rank of every pair is held against the configuration, whose factor becomes an alpha
//! of each pair. Everything else a configuration can ask for changes the arithmetic and is refused by its field.
//!
//! An adapter names its base by a path or a place on the hub, which proves nothing, and is not looked at. What is held
//! against the base is every shape and, where the adapter brings a copy of an embedding or a head, the base's own values. An adapter with
//! a hash of its base is one in GGUF. Source: the library's LoRA layers; the factor `alpha / sqrt(rank)` is from arXiv
//! 2312.03732.

mod config;

use std::collections::BTreeMap;
use std::sync::Arc;

use ingle_kernel::bytes::Bytes;
use serde_json::{Map, Value as Json};

use config::Config;

use super::change::{Change, Part};
use super::fields::{self, Fields};
use super::model_type::MODEL_TYPES;
use super::names::{Place, place};
use super::values::{self, FP8_BLOCK};
use super::{EMBEDDING, HEAD};
use crate::error::{Error, Result};
use crate::file::contents::{Contents, Piece, Tensor};
use crate::file::entry::Entry;
use crate::file::safetensors;
use crate::file::value::Value;

/// The file of the adapter's numbers.
pub const CONFIG: &str = "adapter_config.json";
/// The file of its matrices.
pub const WEIGHTS: &str = "adapter_model.safetensors";

/// What the library puts before a model's names.
const PREFIX: &str = "base_model.model.";
/// What stands behind a module's name, and which half of a pair that is.
const HALVES: &[(&str, usize)] =
    &[(".lora_A", 0), (".lora_B", 1), (".lora_embedding_A", 0), (".lora_embedding_B", 1)];
/// The same for a module that looks rows up.
const LOOKED_UP: &str = ".lora_embedding_";
/// Behind the name of a module whose own weights are saved too.
const COPY: &str = ".base_layer";

/// The adapter of `config` and `weights`, `adapter_config.json` and `adapter_model.safetensors`, as an adapter of `base`.
///
/// # Errors
/// [`Error::Unsupported`] for a base whose model type is not on the shelf, or an adapter that is more than LoRA;
/// [`Error::Malformed`] when a file breaks its format, contradicts the other, or does not fit the base.
pub fn import(config: &[u8], weights: &Bytes, base: &Contents) -> Result<Contents> {
    let map = fields::parse(CONFIG, config)?;
    let config = Config::read(&Fields::of_file(CONFIG, &map))?;
    let family = base.str("general.architecture")?.unwrap_or_default();
    if !MODEL_TYPES.iter().any(|model| model.family == family) {
        let families = MODEL_TYPES.iter().map(|model| model.family);
        return Err(Error::unsupported(
            "base",
            format!("an adapter in {WEIGHTS} for family {family}"),
            families,
        ));
    }
    let mut file = Contents::new("peft");
    file.set("general.type", Value::text("adapter"))?;
    file.set("general.architecture", Value::text(family))?;
    file.set("adapter.type", Value::text("lora"))?;
    file.set("adapter.lora.alpha", Value::Float(config.alpha.usual))?;
    for (module, pair) in pairs(&safetensors::parse(WEIGHTS, weights)?, base, family)? {
        let rank = config.rank.of(&module);
        let rooted = if config.is_rooted { (rank as f64).sqrt() } else { 1.0 };
        for weight in Weight::of(&module, family) {
            let [a, b] = pair.matrices(&module, rank, &weight.heads(base, family)?, weight.change)?;
            let alpha = Value::Float(config.alpha.of(&module) * rooted);
            file.set(format!("adapter.lora.alpha.{}", weight.name), alpha)?;
            for (half, part) in [("lora_a", a), ("lora_b", b)] {
                let name = format!("{}.{half}", weight.name);
                file.add(Tensor::new(name, part.shape, part.format, part.pieces))?;
            }
        }
    }
    Ok(file)
}

/// The two halves of one module, as far as they are there.
#[derive(Default)]
struct Pair<'a> {
    halves: [Option<&'a Entry>; 2],
    is_looked_up: bool,
}

/// All pairs by module. Copies of the base's own weights are held against it.
fn pairs<'a>(entries: &'a [Entry], base: &Contents, family: &str) -> Result<BTreeMap<String, Pair<'a>>> {
    let mut pairs: BTreeMap<String, Pair<'a>> = BTreeMap::new();
    for entry in entries {
        let name = entry.name.strip_prefix(PREFIX).unwrap_or(&entry.name);
        let stem = name.strip_suffix(".weight").unwrap_or(name);
        let plain = stem.strip_suffix(".default").unwrap_or(stem);
        let half = HALVES.iter().find_map(|(end, half)| Some((plain.strip_suffix(end)?, *half)));
        let Some((module, half)) = half else {
            check_copy(entry, stem.strip_suffix(COPY).unwrap_or(stem), base, family)?;
            continue;
        };
        let pair = pairs.entry(module.to_owned()).or_default();
        pair.is_looked_up = plain.contains(LOOKED_UP);
        if let Some(other) = pair.halves[half].replace(entry) {
            return Err(Error::malformed(
                part(entry),
                format!("the same as {}", other.name),
                "each half once",
            ));
        }
    }
    Ok(pairs)
}

impl Pair<'_> {
    /// `A` and `B` with the rows that the base has: `(rank, cols)` and `(rows, rank)`, or `(rows, rank)` and `(cols, rank)`
    /// where rows are looked up.
    fn matrices(
        &self,
        module: &str,
        rank: usize,
        heads: &Map<String, Json>,
        change: Change,
    ) -> Result<[Part; 2]> {
        let [Some(a), Some(b)] = self.halves else {
            let there = self.halves.iter().flatten().next().map_or(module, |entry| &entry.name);
            return Err(Error::malformed(tensor(there), "half of a pair", "the other half too"));
        };
        for (entry, rank_at) in [(a, 0), (b, 1)] {
            let found = if entry.shape.len() == 2 { entry.shape[rank_at] } else { 0 };
            if found != rank {
                let expected = format!("a matrix of rank {rank}, as {CONFIG} says");
                return Err(Error::malformed(part(entry), format!("shape {:?}", entry.shape), expected));
            }
        }
        if !change.suits_adapters() {
            let known = ["matrices whose rows stand in the base's file as they are, or only change places"];
            return Err(Error::unsupported(part(b), "an adapter of that weight", known));
        }
        let heads = Fields::of_file("base", heads);
        let half = |entry: &Entry, change: Change| values::read(entry, None, FP8_BLOCK, change, &heads);
        let mut parts = [half(a, Change::AsIs)?, half(b, change)?];
        if self.is_looked_up {
            transpose(&mut parts[0]);
        }
        Ok(parts)
    }
}

/// Rows become columns.
fn transpose(part: &mut Part) {
    let (cols, size) = (part.shape[0], part.format.bytes);
    part.shape.reverse();
    for piece in &mut part.pieces {
        let from = piece.clone();
        *piece = Piece::Made(Arc::new(move || {
            let from = from.bytes();
            let mut to = Vec::with_capacity(from.len());
            for col in 0..cols {
                from.chunks_exact(cols * size)
                    .for_each(|row| to.extend_from_slice(&row[col * size..][..size]));
            }
            to
        }));
    }
}

/// A weight of the base that a module is, or becomes part of.
struct Weight {
    name: String,
    layer: usize,
    change: Change,
}

impl Weight {
    /// None when the module is no part of the text model. One that no table has gets a name that no base has.
    fn of(module: &str, family: &str) -> Vec<Self> {
        let full = format!("{module}.weight");
        let models = MODEL_TYPES.iter().filter(|model| model.family == family);
        let places = models.map(|model| place(model, &full));
        match places.reduce(|best, next| if matches!(best, Place::Unknown) { next } else { best }) {
            Some(Place::Skipped) => Vec::new(),
            Some(Place::Into { layer, expert, to }) => {
                let layer_name = layer.map_or_else(String::new, |i| format!("blk.{i}."));
                let expert = expert.map_or_else(String::new, |i| format!(".{i}"));
                let weight = |(name, change)| {
                    let name = format!("{layer_name}{name}{expert}");
                    Self { name, layer: layer.unwrap_or(0), change }
                };
                to.into_iter().map(weight).collect()
            }
            _ => vec![Self { name: full, layer: 0, change: Change::AsIs }],
        }
    }

    /// What changes of rows read of a configuration: heads of the layer and the part of them that rotates, as the base says.
    fn heads(&self, base: &Contents, family: &str) -> Result<Map<String, Json>> {
        let count = |name: &str| -> Result<Option<u64>> {
            let key = format!("{family}.{name}");
            match base.value(&key) {
                Some(Value::Array { .. }) => {
                    let all = base.ints(&key)?.unwrap_or_default();
                    Ok(all.get(self.layer).and_then(|&n| u64::try_from(n).ok()))
                }
                _ => base.uint(&key),
            }
        };
        let n_heads = count("attention.head_count")?.filter(|&n| n > 0).unwrap_or(1);
        let n_kv_heads = count("attention.head_count_kv")?.filter(|&n| n > 0).unwrap_or(n_heads);
        let mut heads = Map::new();
        heads.insert("num_attention_heads".into(), n_heads.into());
        heads.insert("num_key_value_heads".into(), n_kv_heads.into());
        let head_dim = count("attention.key_length")?;
        let head_dim = head_dim.or(count("embedding_length")?.map(|dim| dim / n_heads)).filter(|&n| n > 0);
        if let (Some(rotated), Some(head_dim)) = (count("rope.dimension_count")?, head_dim)
            && rotated < head_dim
        {
            // A little more, as whole rows are counted from it.
            heads.insert("partial_rotary_factor".into(), ((rotated as f64 + 0.25) / head_dim as f64).into());
        }
        Ok(heads)
    }
}

/// Values that differ by no more than the rounding to bf16 on either side are the same.
fn is_same(a: f32, b: f32) -> bool {
    (a - b).abs() <= a.abs().max(b.abs()) / 128.0 + 1e-7
}

/// Takes a copy of the base's embedding or head, which the library saves with adapters of them, and nothing else.
///
/// Where the base is quantised its values can't be the copy's, and only the shape is compared.
fn check_copy(entry: &Entry, module: &str, base: &Contents, family: &str) -> Result<()> {
    let Some(weight) = Weight::of(module, family).into_iter().next() else { return Ok(()) };
    let is_copied = [EMBEDDING, HEAD].contains(&&*weight.name);
    let own = base.tensor(&weight.name).or_else(|| base.tensor(EMBEDDING)).filter(|_| is_copied);
    let Some(own) = own else {
        let known = ["lora_A and lora_B of matrices, lora_embedding_A and lora_embedding_B of the embedding"];
        return Err(Error::unsupported(part(entry), "a tensor that is no half of a pair", known));
    };
    let nothing = Map::new();
    let copy = values::read(entry, None, FP8_BLOCK, Change::AsIs, &Fields::of_file("base", &nothing))?;
    if copy.shape != own.shape {
        let expected = format!("{:?}, the base's: was its vocabulary changed?", own.shape);
        return Err(Error::malformed(part(entry), format!("shape {:?}", copy.shape), expected));
    }
    if own.format.block > 1 {
        return Ok(());
    }
    let (theirs, ours, n) = (copy.pieces[0].bytes(), own.bytes(), own.shape[0]);
    let mut rows = [vec![0.0; n], vec![0.0; n]];
    let both = theirs.chunks_exact(n * copy.format.bytes).zip(ours.chunks_exact(n * own.format.bytes));
    for (i, (theirs, ours)) in both.enumerate() {
        (copy.format.dequantize)(theirs, &mut rows[0]);
        (own.format.dequantize)(ours, &mut rows[1]);
        if !rows[0].iter().zip(&rows[1]).all(|(&a, &b)| is_same(a, b)) {
            let expected = "a copy of the base's weights: is it an adapter of another model?";
            return Err(Error::malformed(part(entry), format!("other values in row {i}"), expected));
        }
    }
    Ok(())
}

fn part(entry: &Entry) -> String {
    tensor(&entry.name)
}

fn tensor(name: &str) -> String {
    format!("{WEIGHTS} tensor {name}")
}
