//! LoRA adapters (arXiv 2106.09685) at inference: side products of the matrices, nothing is merged.
//!
//! Where an adapter has a pair of matrices for a weight, `y = W x` becomes `y = W x + scale * B (A x)`, with
//! `scale = alpha / rank` times what the user asks for. Several adapters add up, each with its own scale, and may come and go
//! from step to step: the base stays as it is mapped. An adapter that names its base's hash ([`base_hash`]) is used with
//! that base only; one that names none must fit in every shape.
//!
//! Where rows are looked up instead of multiplied, as in the embedding, `A` has a row for each of them and what is added is
//! `scale * B A[i]`. Experts have a pair each: in GGUF `NAME.lora_a` and `NAME.lora_b` hold those of all of them, as the weight
//! does; `NAME.i.lora_a` is that of expert `i` alone. [`crate::file::folder::peft`] reads other files into GGUF's form, with an
//! alpha of its own for each pair ([`ALPHA`]).
//!
//! Left out: adapters of norms and convolutions, which are refused by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ingle_kernel::mat::Mat;
use ingle_kernel::simd::Kernels;
use sha2::{Digest, Sha256};

use crate::decoder::Model;
use crate::error::{Error, Result};
use crate::file::{Contents, Tensor};
use crate::linear::Adaptable;

/// The key under which an adapter names the hash of its base, in hexadecimal.
pub const BASE_HASH: &str = "adapter.base.sha256";

/// The key of the alpha of all pairs; behind a dot and the name of a weight, that of this pair.
pub const ALPHA: &str = "adapter.lora.alpha";

/// One adapter, for the kernels of one tier.
#[derive(Debug)]
pub struct Adapter {
    /// By the name of the weight in the base's file, behind which an expert's number stands.
    pairs: HashMap<String, Pair>,
}

/// What an adapter adds to one weight.
#[derive(Debug)]
pub struct Pair {
    /// `(rank, cols)`; of rows that are looked up `(rows, rank)`.
    pub a: Mat,
    /// `(rows, rank)`; of rows that are looked up `(cols, rank)`.
    pub b: Mat,
    /// `alpha / rank`
    pub scale: f32,
}

/// An adapter in use, with the user's factor on it.
pub type Active = (Arc<Adapter>, f32);

impl Adapter {
    /// Reads the adapter in `file` for `model`, which was read from `base` for `kernels`.
    ///
    /// # Errors
    /// [`Error::Malformed`] when it is no adapter, is for another base, or has a tensor that does not fit;
    /// [`Error::Unsupported`] when it adapts what can't be adapted here.
    pub fn read(file: &Contents, base: &Contents, model: &Model, kernels: &Kernels) -> Result<Self> {
        check_kind(file)?;
        check_base(file, base)?;
        let alpha = file.float(ALPHA)?;
        let alpha = alpha.ok_or_else(|| Error::missing(format!("metadata {ALPHA}"), "a number"))?;
        let mut pairs = HashMap::new();
        for a in file.tensors() {
            let Some(name) = a.name.strip_suffix(".lora_a") else {
                let is_b = a.name.strip_suffix(".lora_b").is_some_and(|name| has(file, name, "lora_a"));
                if is_b {
                    continue;
                }
                return Err(Error::malformed(
                    format!("tensor {}", a.name),
                    "no pair",
                    "NAME.lora_a and NAME.lora_b",
                ));
            };
            let b = file.tensor(&format!("{name}.lora_b"));
            let b =
                b.ok_or_else(|| Error::missing(format!("tensor {name}.lora_b"), "the other half of a pair"))?;
            let weights = adapted(&model.weights.adaptable, name);
            let Some((_, weight)) = weights.first() else { return Err(cannot_adapt(base, name)) };
            let halves = Halves::of(a, b, *weight, weights.len())?;
            let own = format!("{ALPHA}.{name}");
            let (key, alpha) = file.float(&own)?.map_or((ALPHA, alpha), |alpha| (&own, alpha));
            let scale = (alpha / halves.rank as f64) as f32;
            if !scale.is_finite() {
                return Err(Error::malformed(format!("metadata {key}"), alpha, "a number that f32 can hold"));
            }
            for ((name, _), (a, b)) in weights.into_iter().zip(halves.mats(kernels)?) {
                pairs.insert(name, Pair { a, b, scale });
            }
        }
        if pairs.is_empty() {
            return Err(Error::malformed("tensors", "none", "NAME.lora_a and NAME.lora_b"));
        }
        Ok(Self { pairs })
    }

    /// Weights it adapts.
    pub fn n_pairs(&self) -> usize {
        self.pairs.len()
    }

    /// What it adds to the weight called `name`.
    pub fn pair(&self, name: &str) -> Option<&Pair> {
        self.pairs.get(name)
    }
}

/// SHA-256 over all tensors in order of their names: name, format, shape and bytes, each preceded by its length. The same
/// weights have the same hash in whatever container they come. Reads every weight once.
pub fn base_hash(file: &Contents) -> [u8; 32] {
    let mut tensors: Vec<&Tensor> = file.tensors().iter().collect();
    tensors.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    for t in tensors {
        part(t.name.as_bytes());
        part(t.format.name.as_bytes());
        part(&t.shape.iter().flat_map(|&n| (n as u64).to_le_bytes()).collect::<Vec<u8>>());
        part(&t.bytes());
    }
    hash.finalize().into()
}

fn check_kind(file: &Contents) -> Result<()> {
    for (key, expected) in [("general.type", "adapter"), ("adapter.type", "lora")] {
        let found = file.str(key)?.unwrap_or("nothing");
        if found != expected {
            return Err(Error::malformed(format!("metadata {key}"), found, expected));
        }
    }
    Ok(())
}

fn check_base(file: &Contents, base: &Contents) -> Result<()> {
    let (family, expected) = (file.str("general.architecture")?, base.str("general.architecture")?);
    if family != expected {
        return Err(Error::malformed(
            "metadata general.architecture",
            family.unwrap_or("nothing"),
            format!("{}, the base's", expected.unwrap_or("nothing")),
        ));
    }
    let Some(wanted) = file.str(BASE_HASH)? else { return Ok(()) };
    let hash: String = base_hash(base).iter().map(|byte| format!("{byte:02x}")).collect();
    if !wanted.eq_ignore_ascii_case(&hash) {
        return Err(Error::malformed(
            format!("metadata {BASE_HASH}"),
            format!("an adapter of the base {wanted}"),
            format!("one of this base, {hash}"),
        ));
    }
    Ok(())
}

fn has(file: &Contents, name: &str, half: &str) -> bool {
    file.tensor(&format!("{name}.{half}")).is_some()
}

fn cannot_adapt(base: &Contents, name: &str) -> Error {
    if base.tensor(name).is_some() {
        let supported =
            ["matrices of attention, other mixers and feed-forward blocks, the embedding and the head"];
        return Error::unsupported(format!("tensor {name}.lora_a"), "an adapter of that weight", supported);
    }
    Error::malformed(
        format!("tensor {name}.lora_a"),
        "an adapter of a weight the base lacks",
        "one of its weights",
    )
}

/// The weights that `name` stands for: one, or one for each expert.
fn adapted(adaptable: &BTreeMap<String, Adaptable>, name: &str) -> Vec<(String, Adaptable)> {
    let get = |name: String| adaptable.get(&name).map(|&weight| (name, weight));
    match get(name.to_owned()) {
        Some(one) => vec![one],
        None => (0..).map_while(|i| get(format!("{name}.{i}"))).collect(),
    }
}

/// The tensors of one or several pairs of the same shape.
struct Halves<'a> {
    a: &'a Tensor,
    b: &'a Tensor,
    /// Rows and columns of each.
    sizes: [(usize, usize); 2],
    rank: usize,
    n: usize,
}

impl<'a> Halves<'a> {
    fn of(a: &'a Tensor, b: &'a Tensor, weight: Adaptable, n: usize) -> Result<Self> {
        let Adaptable { rows, cols, is_looked_up } = weight;
        let rank_at = if is_looked_up { 0 } else { 1 };
        let rank = a.shape.get(rank_at).copied().unwrap_or(1);
        let sizes = if is_looked_up { [(rows, rank), (cols, rank)] } else { [(rank, cols), (rows, rank)] };
        for (tensor, (rows, cols)) in [a, b].into_iter().zip(sizes) {
            check_shape(tensor, &[cols, rows, n][..if n == 1 { 2 } else { 3 }])?;
        }
        Ok(Self { a, b, sizes, rank, n })
    }

    /// The matrices of each pair.
    fn mats(&self, kernels: &Kernels) -> Result<impl Iterator<Item = (Mat, Mat)>> {
        let [a, b] =
            [mats(kernels, self.a, self.sizes[0], self.n)?, mats(kernels, self.b, self.sizes[1], self.n)?];
        Ok(a.into_iter().zip(b))
    }
}

fn check_shape(tensor: &Tensor, shape: &[usize]) -> Result<()> {
    // Trailing dimensions of one value say nothing; some writers leave them out.
    let told = |shape: &[usize]| shape.iter().rposition(|&n| n != 1).map_or(0, |i| i + 1);
    if tensor.shape[..told(&tensor.shape)] != shape[..told(shape)] || tensor.n_values() == 0 {
        return Err(Error::malformed(
            format!("tensor {}", tensor.name),
            format!("shape {:?}", tensor.shape),
            format!("{shape:?}"),
        ));
    }
    Ok(())
}

/// The `n` matrices of a tensor. Rank is small and rarely a multiple of a block: such matrices come in a float format. Every
/// value is looked at: one that is not finite would spoil whatever it is added to.
fn mats(kernels: &Kernels, tensor: &Tensor, (rows, cols): (usize, usize), n: usize) -> Result<Vec<Mat>> {
    let part = || format!("tensor {}", tensor.name);
    let format = tensor.format;
    if !cols.is_multiple_of(format.block) {
        let found = format!("rows of {cols} in format {}", format.name);
        return Err(Error::malformed(part(), found, "whole blocks"));
    }
    let mut row = vec![0.0; cols];
    let slices = tensor.slices(n);
    for (i, bytes) in slices.iter().flat_map(|all| all.chunks_exact(format.row_bytes(cols))).enumerate() {
        (format.dequantize)(bytes, &mut row);
        if let Some(value) = row.iter().find(|value| !value.is_finite()) {
            return Err(Error::malformed(part(), format!("{value} in row {i}"), "finite numbers"));
        }
    }
    Ok(slices.into_iter().map(|bytes| Mat::new(kernels, format, rows, cols, bytes)).collect())
}
