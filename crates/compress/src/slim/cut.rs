//! A model without some of its layers, channels and heads: the same keys, the same names, fewer numbers.
//!
//! Tensors of the layers that stay get new numbers; those that lose rows or columns are made from the source's when they are read, so nothing
//! is held. Of the family's keys those that count what went are set, those with a value for each layer lose those of the layers that
//! went. The configuration of the result is then read and must say of each layer what it said before. So a family that goes by a
//! layer's number or by how many there are, such as one with a window in every second layer, is refused rather than changed.

use std::sync::Arc;

use ingle_kernel::bytes::Bytes;
use ingle_model::Error;
use ingle_model::config::Config;
use ingle_model::ffn::FfnPlan;
use ingle_model::file::contents::Piece;
use ingle_model::file::{Contents, Tensor, Value};
use ingle_model::mixer::attention;

use super::width::Widths;
use crate::role::layer_of;

/// Keys of a family that may have a value for each layer.
const BY_LAYER: &[&str] = &[
    "activation_sparsity_scale",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.recurrent_layers",
    "attention.sliding_window_pattern",
    "feed_forward_length",
];
/// The same, without the family's name.
const XIELU: &str = "xielu.";
/// Arrays of a family that have as many values as they have, whatever the number of layers.
const NOT_BY_LAYER: &[&str] = &["rope.dimension_sections"];
/// What they say would not hold any more.
const LEFT_OUT: &[&str] = &["general.parameter_count", "general.size_label"];
/// Which layers of the source are left, for whoever heals the model.
const KEPT_LAYERS: &str = "ingle.slim.layers";

/// What stays.
#[derive(Debug, Clone)]
pub struct Cut {
    /// Layers, in rising order.
    pub layers: Vec<usize>,
    /// Channels of the feed-forward block of each of them, in rising order; `None` for all.
    pub channels: Option<Vec<Vec<usize>>>,
    /// Key and value heads of each of them, in rising order; `None` for all.
    pub kv_heads: Option<Vec<Vec<usize>>>,
}

/// Whether layers of a model can go where `with_layers` says so, and all but the first so many channels and heads: nothing is made.
///
/// # Errors
/// With what stands against it.
pub fn try_out(file: &Contents, config: &Config, with_layers: bool, widths: &Widths) -> Result<(), Error> {
    let n_layers = config.layers.len();
    let try_without = |layer: Option<usize>| {
        let mut cut = Cut::nothing(n_layers);
        cut.layers.retain(|&i| Some(i) != layer);
        widths.first(cut.layers.len(), &mut cut);
        cut.apply(file, config).map(|_| ())
    };
    if with_layers { (0..n_layers).try_for_each(|i| try_without(Some(i))) } else { try_without(None) }
}

impl Cut {
    /// All of `n_layers` layers stay.
    pub fn nothing(n_layers: usize) -> Self {
        Self { layers: (0..n_layers).collect(), channels: None, kv_heads: None }
    }

    /// What is left of `file`, and its configuration.
    ///
    /// # Errors
    /// When the family's arithmetic would not stay what it is, or columns would go of a matrix in blocks.
    pub fn apply(&self, file: &Contents, config: &Config) -> Result<(Contents, Config), Error> {
        if config.n_draft_layers > 0 {
            let found = format!("{} layers that draft", config.n_draft_layers);
            return Err(Error::unsupported("slim", found, ["models without such layers"]));
        }
        let expected = self.config(config);
        let mut cut = Contents::new(file.container.clone());
        self.keys(file, config, &expected, &mut cut)?;
        for tensor in file.tensors() {
            match layer_of(&tensor.name) {
                None => cut.add(tensor.clone())?,
                Some(i) => {
                    if let Ok(at) = self.layers.binary_search(&i) {
                        cut.add(self.tensor(tensor, at, config)?)?;
                    }
                }
            }
        }
        let found = Config::read(&cut)?;
        // All that a configuration says, to the last number, is in how it is printed.
        if format!("{found:?}") != format!("{expected:?}") {
            let what = format!(
                "family {}, where layers go by their number or by how many there are",
                found.family.name
            );
            return Err(Error::unsupported("slim", what, ["families that say of each layer what it is"]));
        }
        Ok((cut, found))
    }

    /// What the configuration must become.
    fn config(&self, config: &Config) -> Config {
        let mut layers: Vec<_> = self.layers.iter().map(|&i| config.layers[i].clone()).collect();
        for (at, layer) in layers.iter_mut().enumerate() {
            if let (Some(channels), FfnPlan::Dense(plan)) = (&self.channels, &mut layer.ffn) {
                plan.dim = channels[at].len();
            }
            if let (Some(heads), Some(plan)) = (&self.kv_heads, layer.mixer.attention_mut()) {
                plan.shape.n_heads = plan.shape.n_heads / plan.shape.n_kv_heads * heads[at].len();
                plan.shape.n_kv_heads = heads[at].len();
            }
        }
        Config { layers, ..config.clone() }
    }

    fn keys(
        &self,
        file: &Contents,
        config: &Config,
        expected: &Config,
        cut: &mut Contents,
    ) -> Result<(), Error> {
        let family = config.family.name;
        let heads = expected.heads().filter(|_| self.kv_heads.is_some());
        let ffn_dim =
            expected.layers.first().map(|layer| layer.ffn.dim()).filter(|_| self.channels.is_some());
        let fewer_layers = self.layers.len() < config.layers.len();
        let mut counts: Vec<(&str, usize)> = vec![("block_count", self.layers.len())];
        counts.extend(ffn_dim.map(|n| ("feed_forward_length", n)));
        counts.extend(heads.map(|shape| ("attention.head_count", shape.n_heads)));
        counts.extend(heads.map(|shape| ("attention.head_count_kv", shape.n_kv_heads)));
        for (key, value) in file.keys().filter(|(key, _)| !LEFT_OUT.contains(key) && *key != KEPT_LAYERS) {
            let name = key.strip_prefix(family).and_then(|rest| rest.strip_prefix('.'));
            let of = file.value_type(key).unwrap_or_else(|| value.usual_type());
            let value = match counts.iter().find(|(counted, _)| Some(*counted) == name) {
                Some(&(_, n)) => count(value, n, self.layers.len()),
                None if fewer_layers => self.of_layers(key, name, value, config.layers.len())?,
                None => value.clone(),
            };
            cut.set_typed(key, value, of)?;
        }
        // A head's width is no longer the model's by the number of heads.
        if let Some(shape) = heads {
            for name in ["attention.key_length", "attention.value_length"] {
                let key = format!("{family}.{name}");
                if cut.value(&key).is_none() {
                    cut.set(key, Value::Uint(shape.head_dim as u64))?;
                }
            }
        }
        let kept: Vec<i32> = self.layers.iter().map(|&i| i as i32).collect();
        cut.set(KEPT_LAYERS, Value::ints(&kept))
    }

    /// The values of the layers that stay, where `value` has one for each.
    fn of_layers(
        &self,
        key: &str,
        name: Option<&str>,
        value: &Value,
        n_layers: usize,
    ) -> Result<Value, Error> {
        let Value::Array { of, len, bytes } = value else { return Ok(value.clone()) };
        let is_by_layer = name.is_some_and(|name| BY_LAYER.contains(&name)) || key.starts_with(XIELU);
        let is_of_family = name.is_some_and(|name| !NOT_BY_LAYER.contains(&name));
        if !(is_by_layer || (is_of_family && *len == n_layers)) {
            return Ok(value.clone());
        }
        let size = of.fixed_bytes().filter(|_| is_by_layer && *len >= n_layers);
        let size = size.ok_or_else(|| {
            let expected = ["arrays that are known to have a value for each layer"];
            Error::unsupported(format!("slim: metadata {key}"), format!("an array of {len}"), expected)
        })?;
        let kept = self.layers.iter().flat_map(|i| &bytes[i * size..(i + 1) * size]).copied();
        Ok(Value::Array { of: *of, len: self.layers.len(), bytes: Bytes::new(kept.collect::<Vec<u8>>()) })
    }

    /// `tensor`, of the layer that is number `at` of those that stay.
    fn tensor(&self, tensor: &Tensor, at: usize, config: &Config) -> Result<Tensor, Error> {
        let rest = tensor.name.splitn(3, '.').nth(2).unwrap_or_default();
        let mut cut = tensor.clone();
        cut.name = format!("blk.{at}.{rest}");
        let plan = &config.layers[self.layers[at]];
        let (stem, _) = rest.rsplit_once('.').unwrap_or((rest, ""));
        if let (Some(channels), FfnPlan::Dense(ffn)) = (&self.channels, &plan.ffn) {
            match stem {
                "ffn_gate" | "ffn_up" => cut = rows(&cut, ffn.dim, &channels[at])?,
                "ffn_down" if rest.ends_with("weight") => cut = columns(&cut, ffn.dim, &channels[at])?,
                _ => {}
            }
        }
        if let (Some(heads), Some(attention)) = (&self.kv_heads, plan.attention()) {
            cut = of_heads(&cut, stem, rest, attention, &heads[at])?;
        }
        Ok(cut)
    }
}

/// What is left of a tensor of attention.
fn of_heads(
    tensor: &Tensor,
    stem: &str,
    rest: &str,
    plan: &attention::Plan,
    kept: &[usize],
) -> Result<Tensor, Error> {
    let shape = plan.shape;
    let per_group = shape.n_heads / shape.n_kv_heads;
    let (kv_dim, q_dim) = (plan.kv_dim(), plan.q_dim());
    let q_rows = if plan.gated { 2 * q_dim } else { q_dim };
    let q = spread(kept, q_rows / shape.n_kv_heads);
    let kv = spread(kept, shape.head_dim);
    match stem {
        "attn_q" => rows(tensor, q_rows, &q),
        "attn_k" | "attn_v" => rows(tensor, kv_dim, &kv),
        "attn_qkv" => {
            let behind = |start: usize| kv.iter().map(move |row| start + row);
            let all: Vec<usize> =
                q.iter().copied().chain(behind(q_rows)).chain(behind(q_rows + kv_dim)).collect();
            rows(tensor, q_rows + 2 * kv_dim, &all)
        }
        "attn_output" if rest.ends_with("weight") => {
            columns(tensor, q_dim, &spread(kept, per_group * shape.head_dim))
        }
        "attn_sinks" => rows(tensor, shape.n_heads, &spread(kept, per_group)),
        "attn_q_norm" => head_norm(tensor, shape.head_dim, shape.n_heads, &spread(kept, per_group)),
        "attn_k_norm" => head_norm(tensor, shape.head_dim, shape.n_kv_heads, kept),
        _ => Ok(tensor.clone()),
    }
}

/// A norm of heads, by weights that all share, or of each by its own.
fn head_norm(tensor: &Tensor, head_dim: usize, n_heads: usize, kept: &[usize]) -> Result<Tensor, Error> {
    if tensor.shape.iter().filter(|&&n| n != 1).count() > 1 {
        return rows(tensor, n_heads, kept);
    }
    if tensor.n_values() == head_dim {
        return Ok(tensor.clone());
    }
    let found = "a norm over all heads together, whose values would change";
    Err(Error::unsupported(format!("slim: tensor {}", tensor.name), found, ["norms of each head"]))
}

/// The places of `width` values for each of `groups`.
fn spread(groups: &[usize], width: usize) -> Vec<usize> {
    groups.iter().flat_map(|group| group * width..(group + 1) * width).collect()
}

/// `value`, a count or one for each layer, as `n` for each of `n_layers`.
fn count(value: &Value, n: usize, n_layers: usize) -> Value {
    match value {
        Value::Int(_) => Value::Int(n as i64),
        Value::Array { of, .. } if of.fixed_bytes().is_some_and(|size| size > 1) => {
            let size = of.fixed_bytes().unwrap_or_default();
            let one = &(n as u64).to_le_bytes()[..size];
            Value::Array { of: *of, len: n_layers, bytes: Bytes::new(one.repeat(n_layers)) }
        }
        _ => Value::Uint(n as u64),
    }
}

/// `tensor` with the rows `kept` of each `n`, of which it may have several one behind the other (a gate and what it gates), or, where it
/// has one dimension, with these values.
fn rows(tensor: &Tensor, n: usize, kept: &[usize]) -> Result<Tensor, Error> {
    let is_vector = tensor.shape.iter().skip(1).all(|&size| size == 1);
    let (cols, n_rows) = if is_vector { (1, tensor.shape[0]) } else { (tensor.shape[0], tensor.shape[1]) };
    if !n_rows.is_multiple_of(n) || tensor.n_values() != cols * n_rows || cols % tensor.format.block > 0 {
        let found = format!("shape {:?} in {}", tensor.shape, tensor.format.name);
        return Err(Error::malformed(
            format!("slim: tensor {}", tensor.name),
            found,
            format!("{n} whole rows"),
        ));
    }
    let n_parts = n_rows / n;
    let mut shape = tensor.shape.clone();
    shape[usize::from(!is_vector)] = n_parts * kept.len();
    let row_bytes = tensor.format.row_bytes(cols);
    let all: Vec<usize> = (0..n_parts).flat_map(|part| kept.iter().map(move |row| part * n + row)).collect();
    Ok(made(tensor, shape, move |bytes| {
        all.iter().flat_map(|row| &bytes[row * row_bytes..(row + 1) * row_bytes]).copied().collect()
    }))
}

/// The matrix `tensor` of `n` columns with the columns `kept`.
fn columns(tensor: &Tensor, n: usize, kept: &[usize]) -> Result<Tensor, Error> {
    if tensor.format.block > 1 || tensor.shape[0] != n {
        let found = format!("{} columns in {}", tensor.shape[0], tensor.format.name);
        let part = format!("slim: tensor {}", tensor.name);
        return Err(Error::unsupported(part, found, [format!("{n} columns of f32, f16 or bf16").as_str()]));
    }
    let mut shape = tensor.shape.clone();
    shape[0] = kept.len();
    let (size, kept) = (tensor.format.row_bytes(1), kept.to_vec());
    Ok(made(tensor, shape, move |bytes| {
        let rows = bytes.chunks_exact(n * size);
        rows.flat_map(|row| kept.iter().flat_map(|col| &row[col * size..(col + 1) * size])).copied().collect()
    }))
}

/// A tensor of `shape` whose bytes `make` makes of those of `tensor`.
fn made(
    tensor: &Tensor,
    shape: Vec<usize>,
    make: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> Tensor {
    let source = tensor.clone();
    let piece = Piece::Made(Arc::new(move || make(&source.bytes())));
    Tensor::new(tensor.name.clone(), shape, tensor.format, vec![piece])
}
