//! The tensors of a model, being taken: each by name, with its shape checked, and none left over.
//!
//! Blocks read their own weights through it ([`crate::mixer`], [`crate::ffn`]). Matrices stay where they lie, as views of the
//! file's bytes; fused ones become views of their rows. A tensor that nothing takes is an error: it means that the
//! file's arithmetic is not the one we know.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};

use ingle_kernel::bytes::Bytes;
use ingle_kernel::mat::{Mat, Packs};
use ingle_kernel::simd::{Kernels, WeightOrder};

use crate::config::Config;
use crate::error::{Error, Result};
use crate::file::{Contents, Tensor};
use crate::linear::{Adaptable, Linear, Place};
use crate::norm::{Norm, NormKind};

/// Tensors that some converters leave in a file and whose content the configuration already gives.
const REDUNDANT: &[&str] = &["attn_rot_embd.weight", "attention.rotary_emb.inv_freq"];
/// Small tensors of the whole model that the configuration has read.
const CONFIGURED: &[&str] = &["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

/// Steps of few tokens over which a model's matrices are packed, so that none takes much longer than the others.
const PACKING_STEPS: usize = 8;

/// A file's tensors, being taken: those of a layer at a time, or those of the whole model.
#[derive(Debug)]
pub struct Source<'a> {
    file: &'a Contents,
    config: &'a Config,
    kernels: &'a Kernels,
    /// How many matrices may be packed.
    n_packable: Cell<usize>,
    /// `blk.N.` while a layer is read, nothing otherwise.
    prefix: String,
    used: HashSet<String>,
    adaptable: BTreeMap<String, Adaptable>,
}

impl<'a> Source<'a> {
    /// Begins with every tensor of `file` untaken.
    pub fn new(file: &'a Contents, config: &'a Config, kernels: &'a Kernels) -> Self {
        let used = CONFIGURED.iter().map(|&name| name.to_owned()).collect();
        let (n_packable, prefix) = (Cell::new(0), String::new());
        Self { file, config, kernels, n_packable, prefix, used, adaptable: BTreeMap::new() }
    }

    /// Names are those of layer `i` from here on; `None` for those of the whole model.
    pub fn enter(&mut self, layer: Option<usize>) {
        self.prefix = layer.map_or_else(String::new, |i| format!("blk.{i}."));
    }

    /// Whether there is a tensor called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.file.tensor(&self.full_name(name)).is_some()
    }

    /// The tensor called `name`.
    pub fn tensor(&mut self, name: &str) -> Result<&'a Tensor> {
        let name = self.full_name(name);
        let tensor = self.file.tensor(&name);
        let tensor = tensor.ok_or_else(|| Error::missing(format!("tensor {name}"), "a tensor"))?;
        self.used.insert(name);
        Ok(tensor)
    }

    /// A matrix of `rows` rows of `cols` weights.
    pub fn mat(&mut self, name: &str, rows: usize, cols: usize) -> Result<Mat> {
        let tensor = self.shaped(name, &[cols, rows])?;
        Ok(self.new_mat(tensor, rows, cols, tensor.bytes()))
    }

    /// It may be packed where that takes no more memory, as the file's pages can go; one of them in the second step, the next in
    /// the third, and so on.
    fn new_mat(&self, tensor: &Tensor, rows: usize, cols: usize, bytes: Bytes) -> Mat {
        let is_releasable = bytes.is_releasable();
        let mat = Mat::new(self.kernels, tensor.format, rows, cols, bytes);
        match self.kernels.packs() {
            WeightOrder::PackedWhereKept if is_releasable => mat.packable(Packs::WhereKept),
            WeightOrder::Packed if is_releasable => {
                let i = self.n_packable.get();
                self.n_packable.set(i + 1);
                mat.packable(Packs::After(1 + i % PACKING_STEPS))
            }
            _ => mat,
        }
    }

    /// `n` values, decoded.
    pub fn vector(&mut self, name: &str, n: usize) -> Result<Vec<f32>> {
        let tensor = self.shaped(name, &[n])?;
        Ok(tensor.values())
    }

    /// `n` values where there is such a tensor.
    pub fn vector_if(&mut self, name: &str, n: usize) -> Result<Option<Vec<f32>>> {
        self.has(name).then(|| self.vector(name, n)).transpose()
    }

    /// A small matrix `(rows, cols)`, decoded.
    pub fn matrix_values(&mut self, name: &str, rows: usize, cols: usize) -> Result<Vec<f32>> {
        Ok(self.shaped(name, &[cols, rows])?.values())
    }

    /// `NAME.weight` and, where there is one, `NAME.bias`; adapters may add to it.
    pub fn linear(&mut self, name: &str, rows: usize, cols: usize) -> Result<Linear> {
        let weight = format!("{name}.weight");
        let mat = self.mat(&weight, rows, cols)?;
        let place = self.place(&weight, rows, cols);
        Ok(Linear { mat, bias: self.vector_if(&format!("{name}.bias"), rows)?, place: Some(place) })
    }

    /// Where adapters find the weight called `name`.
    pub fn place(&mut self, name: &str, rows: usize, cols: usize) -> Place {
        let name = self.full_name(name);
        self.adapt(name, Adaptable { rows, cols, is_looked_up: false })
    }

    /// The same for a weight whose rows are looked up.
    pub fn place_looked_up(&mut self, name: &str, rows: usize, cols: usize) -> Place {
        let name = self.full_name(name);
        self.adapt(name, Adaptable { rows, cols, is_looked_up: true })
    }

    fn adapt(&mut self, name: String, weight: Adaptable) -> Place {
        let place = Place { weight: name.as_str().into(), first_row: 0 };
        self.adaptable.insert(name, weight);
        place
    }

    /// One tensor taken apart by rows: `NAME.weight` holds matrices of `rows[0]`, `rows[1]`, ... rows one after the other.
    pub fn fused<const N: usize>(
        &mut self,
        name: &str,
        rows: [usize; N],
        cols: usize,
    ) -> Result<[Linear; N]> {
        let whole = self.linear(name, rows.iter().sum(), cols)?;
        let mut end = 0;
        Ok(rows.map(|n| {
            end += n;
            whole.rows_view(end - n..end)
        }))
    }

    /// `n` matrices stacked in `NAME.weight` `(n, rows, cols)`, with biases `(n, rows)` where there are some. Adapters find
    /// matrix `i` as `NAME.weight.i`.
    pub fn stacked(&mut self, name: &str, n: usize, rows: usize, cols: usize) -> Result<Vec<Linear>> {
        let tensor = self.shaped(&format!("{name}.weight"), &[cols, rows, n])?;
        let slices = tensor.slices(n).into_iter();
        let mats = slices.map(|bytes| self.new_mat(tensor, rows, cols, bytes)).collect::<Vec<_>>();
        let bias = format!("{name}.bias");
        let biases = if self.has(&bias) { Some(self.shaped(&bias, &[rows, n])?.values()) } else { None };
        let bias = |i: usize| biases.as_ref().map(|all| all[i * rows..(i + 1) * rows].to_vec());
        let linear = |(i, mat): (usize, Mat)| {
            let place =
                self.adapt(format!("{}.{i}", tensor.name), Adaptable { rows, cols, is_looked_up: false });
            Linear { mat, bias: bias(i), place: Some(place) }
        };
        Ok(mats.into_iter().enumerate().map(linear).collect())
    }

    /// The norm `NAME.weight` of the model's kind over `n` values, with `NAME.bias` where it may have one.
    pub fn norm(&mut self, name: &str, n: usize) -> Result<Norm> {
        let mut full = format!("{name}.weight");
        // Converters give some norms no ending.
        if !self.has(&full) && self.has(name) {
            full.truncate(name.len());
        }
        let weight = self.vector(&full, n)?;
        let kind = self.config.norm;
        let bias = match kind {
            NormKind::Rms => None,
            NormKind::Layer => self.vector_if(&format!("{name}.bias"), n)?,
        };
        Ok(Norm::new(kind, self.config.norm_eps, weight, bias))
    }

    /// A norm of the model's kind with weights that are no tensor.
    pub fn norm_by(&self, weight: Vec<f32>) -> Norm {
        Norm::new(self.config.norm, self.config.norm_eps, weight, None)
    }

    /// Passes over tensors that the model does not read, where the file has them.
    pub fn leave(&mut self, names: &[&str]) {
        for name in names {
            let name = self.full_name(name);
            self.used.insert(name);
        }
    }

    /// The norm of heads of `head_dim` values, whichever the file has: of each head by the same weights `(head_dim)` or by
    /// its own `(n_heads, head_dim)`, of all of them together `(n_heads * head_dim)`, or none.
    pub fn head_norm(&mut self, name: &str, head_dim: usize, n_heads: usize) -> Result<Option<Norm>> {
        let weight = format!("{name}.weight");
        let Some(tensor) = self.file.tensor(&self.full_name(&weight)) else { return Ok(None) };
        if tensor.shape.iter().filter(|&&n| n != 1).count() > 1 {
            let weight = self.matrix_values(&weight, n_heads, head_dim)?;
            let norm = Norm::new(self.config.norm, self.config.norm_eps, weight, None);
            return Ok(Some(norm.in_turn(head_dim)));
        }
        let all = head_dim * n_heads;
        self.norm(name, if tensor.n_values() == all { all } else { head_dim }).map(Some)
    }

    /// `n` RMS norms over `width` values each, their weights one after the other in `NAME.weight` `(n, width)`.
    pub fn norms(&mut self, name: &str, n: usize, width: usize) -> Result<Vec<Norm>> {
        let weights = self.matrix_values(&format!("{name}.weight"), n, width)?;
        let norm = |weight: &[f32]| Norm::new(NormKind::Rms, self.config.norm_eps, weight.to_vec(), None);
        Ok(weights.chunks_exact(width).map(norm).collect())
    }

    /// Ends the reading, and says which weights adapters may add to.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when a tensor was not taken.
    pub fn finish(self) -> Result<BTreeMap<String, Adaptable>> {
        let drafts =
            (0..self.config.n_draft_layers).map(|i| format!("blk.{}.", self.config.layers.len() + i));
        let drafts: Vec<String> = drafts.collect();
        let known = |name: &str| {
            self.used.contains(name)
                || REDUNDANT.iter().any(|r| name.ends_with(r))
                || drafts.iter().any(|layer| name.starts_with(layer))
        };
        match self.file.tensors().iter().find(|t| !known(&t.name)) {
            None => Ok(self.adaptable),
            Some(t) => Err(Error::unsupported(
                format!("tensor {}", t.name),
                format!("a tensor that family {} does not use", self.config.family.name),
                ["the tensors of the published models of that family"],
            )),
        }
    }

    /// The file's name for what we call `name`: the family may have another.
    fn full_name(&self, name: &str) -> String {
        let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
        let alias = self.config.family.aliases.iter().find(|(ours, _)| *ours == stem);
        let stem = alias.map_or(stem, |(_, theirs)| theirs);
        let dot = if end.is_empty() { "" } else { "." };
        format!("{}{stem}{dot}{end}", self.prefix)
    }

    fn shaped(&mut self, name: &str, shape: &[usize]) -> Result<&'a Tensor> {
        let tensor = self.tensor(name)?;
        // Trailing dimensions of one value say nothing; some writers leave them out.
        let told = |shape: &[usize]| shape.iter().rposition(|&n| n != 1).map_or(0, |i| i + 1);
        if tensor.shape[..told(&tensor.shape)] != shape[..told(shape)] {
            return Err(Error::malformed(
                format!("tensor {}", tensor.name),
                format!("shape {:?}", tensor.shape),
                format!("{shape:?}"),
            ));
        }
        Ok(tensor)
    }
}
