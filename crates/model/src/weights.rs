//! Canonical weights: whatever a file looks like, past this door there is one layout and one naming.
//!
//! Matrices stay where they lie, as views of the file's bytes; only norms and biases, some KB, are decoded. Every shape is
//! checked against the configuration, and a tensor that nothing uses is an error: it means that the file's arithmetic
//! is not the one we know.

use std::collections::HashSet;

use ingle_kernel::mat::Mat;
use ingle_kernel::simd::Kernels;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::ffn::dense::Dense;
use crate::file::gguf::{Gguf, Tensor};
use crate::linear::Linear;
use crate::mixer::attention::Attention;

/// Tensors that some converters leave in a file and whose content the configuration already gives.
const REDUNDANT: &[&str] = &["attn_rot_embd.weight", "attention.rotary_emb.inv_freq"];

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// Token embedding. `(vocab, dim)`
    pub embed: Mat,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Weight of the norm before the head. `(dim)`
    pub out_norm: Vec<f32>,
    /// Output head, the embedding itself when a file ties them. `(vocab, dim)`
    pub head: Linear,
}

/// One layer: norm, mixer, norm, ffn, each half added to the residual stream.
#[derive(Debug)]
pub struct Layer {
    /// `(dim)`
    pub mixer_norm: Vec<f32>,
    /// Mixes positions.
    pub mixer: Attention,
    /// `(dim)`
    pub ffn_norm: Vec<f32>,
    /// Mixes channels.
    pub ffn: Dense,
}

impl Weights {
    /// Takes the weights of `file` for the kernels of one tier.
    ///
    /// # Errors
    /// [`Error::Malformed`] when a tensor is missing or misshapen, [`Error::Unsupported`] when one has no place.
    pub fn read(file: &Gguf, config: &Config, kernels: &Kernels) -> Result<Self> {
        let mut source = Source { file, kernels, used: HashSet::new() };
        source.used.insert("rope_freqs.weight".into());
        let embed = source.mat("token_embd.weight", config.vocab, config.dim)?;
        let layers =
            (0..config.n_layers).map(|i| Layer::read(&mut source, config, i)).collect::<Result<_>>()?;
        let out_norm = source.vector("output_norm.weight", config.dim)?;
        let head = if file.tensor("output.weight").is_some() {
            source.linear("output", config.vocab, config.dim)?
        } else {
            Linear { mat: embed.clone(), bias: None }
        };
        source.refuse_leftovers(config)?;
        Ok(Self { embed, layers, out_norm, head })
    }
}

impl Layer {
    fn read(source: &mut Source<'_>, config: &Config, i: usize) -> Result<Self> {
        let name = |part: &str| format!("blk.{i}.{part}");
        for part in config.family.needs {
            source.tensor(&name(part))?;
        }
        let (dim, q_dim, kv_dim) = (config.dim, config.q_dim(), config.kv_dim());
        Ok(Self {
            mixer_norm: source.vector(&name("attn_norm.weight"), dim)?,
            mixer: Attention {
                q: source.linear(&name("attn_q"), q_dim, dim)?,
                k: source.linear(&name("attn_k"), kv_dim, dim)?,
                v: source.linear(&name("attn_v"), kv_dim, dim)?,
                o: source.linear(&name("attn_output"), dim, q_dim)?,
                q_norm: source.vector_if(&name("attn_q_norm.weight"), config.attn.head_dim)?,
                k_norm: source.vector_if(&name("attn_k_norm.weight"), config.attn.head_dim)?,
            },
            ffn_norm: source.vector(&name("ffn_norm.weight"), dim)?,
            ffn: Dense {
                gate: source.linear(&name("ffn_gate"), config.ffn_dim, dim)?,
                up: source.linear(&name("ffn_up"), config.ffn_dim, dim)?,
                down: source.linear(&name("ffn_down"), dim, config.ffn_dim)?,
            },
        })
    }
}

/// A file whose tensors are being taken.
struct Source<'a> {
    file: &'a Gguf,
    kernels: &'a Kernels,
    used: HashSet<String>,
}

impl<'a> Source<'a> {
    fn tensor(&mut self, name: &str) -> Result<&'a Tensor> {
        let tensor = self.file.tensor(name);
        let tensor =
            tensor.ok_or_else(|| Error::malformed(format!("tensor {name}"), "nothing", "a tensor"))?;
        self.used.insert(name.to_owned());
        Ok(tensor)
    }

    fn shaped(&mut self, name: &str, shape: &[usize]) -> Result<&'a Tensor> {
        let tensor = self.tensor(name)?;
        // Trailing dimensions of one value say nothing.
        let n = tensor.shape.iter().rposition(|&n| n != 1).map_or(1, |i| i + 1).max(shape.len());
        if tensor.shape.get(..n.min(tensor.shape.len())) != Some(shape) {
            return Err(Error::malformed(
                format!("tensor {name}"),
                format!("shape {:?}", tensor.shape),
                format!("{shape:?}"),
            ));
        }
        Ok(tensor)
    }

    fn mat(&mut self, name: &str, rows: usize, cols: usize) -> Result<Mat> {
        let tensor = self.shaped(name, &[cols, rows])?;
        Ok(Mat::new(self.kernels, tensor.format, rows, cols, tensor.bytes.clone()))
    }

    fn vector(&mut self, name: &str, n: usize) -> Result<Vec<f32>> {
        let tensor = self.shaped(name, &[n])?;
        let mut values = vec![0.0; n];
        (tensor.format.dequantize)(&tensor.bytes, &mut values);
        Ok(values)
    }

    fn vector_if(&mut self, name: &str, n: usize) -> Result<Option<Vec<f32>>> {
        self.file.tensor(name).is_some().then(|| self.vector(name, n)).transpose()
    }

    /// `NAME.weight` and, where there is one, `NAME.bias`.
    fn linear(&mut self, name: &str, rows: usize, cols: usize) -> Result<Linear> {
        let mat = self.mat(&format!("{name}.weight"), rows, cols)?;
        Ok(Linear { mat, bias: self.vector_if(&format!("{name}.bias"), rows)? })
    }

    fn refuse_leftovers(&self, config: &Config) -> Result<()> {
        let known = |name: &str| self.used.contains(name) || REDUNDANT.iter().any(|r| name.ends_with(r));
        match self.file.tensors().iter().find(|t| !known(&t.name)) {
            None => Ok(()),
            Some(t) => Err(Error::unsupported(
                format!("tensor {}", t.name),
                format!("a tensor that family {} does not use", config.family.name),
                ["the tensors of the published models of that family"],
            )),
        }
    }
}
