//! Embeddings per layer, as Gemma 3n and 4 have them: beside the residual stream, every token brings a small vector for each
//! layer, looked up by its id and mixed with a projection of its embedding; behind its feed-forward block, the layer
//! lets the stream choose from its vector.
//!
//! The vectors of all layers are made once per step ([`Table::look_up`]) and lie in `s.per_layer`.

use std::f32::consts::FRAC_1_SQRT_2;

use ingle_kernel::mat::Mat;
use ingle_kernel::ops::Activation;

use super::Ffn;
use crate::config::Config;
use crate::decoder::{Runtime, Span, Step};
use crate::error::Result;
use crate::linear::{Linear, project};
use crate::norm::Norm;
use crate::scratch::Scratch;
use crate::source::Source;

/// Where the vectors of all layers come from.
#[derive(Debug)]
pub struct Table {
    /// A row for each id; ids behind the last, those of images and sounds, take the first. `(n, n_layers * per_layer_dim)`
    embed: Mat,
    /// `(n_layers * per_layer_dim, dim)`
    from_stream: Linear,
    /// Of each layer's vector.
    norm: Norm,
}

impl Table {
    /// Takes the weights, where the model has such vectors.
    pub fn read(source: &mut Source<'_>, config: &Config) -> Result<Option<Self>> {
        let (n, width) = (config.per_layer_dim, config.per_layer_width());
        if n == 0 {
            return Ok(None);
        }
        let embed = "per_layer_token_embd.weight";
        let n_rows = source.tensor(embed)?.shape.get(1).map_or(1, |&rows| rows.clamp(1, config.vocab));
        Ok(Some(Self {
            embed: source.mat(embed, n_rows, width)?,
            from_stream: source.linear("per_layer_model_proj", width, config.dim)?,
            norm: source.norm("per_layer_proj_norm", n)?,
        }))
    }

    /// `s.per_layer = (norm(from_stream(x) / sqrt(dim)) + sqrt(per_layer_dim) * embed) / sqrt(2)` for every token of the
    /// step and layer; `s.x` holds the tokens' embeddings.
    pub fn look_up(&self, run: &Runtime<'_>, config: &Config, spans: &[Span<'_>], s: &mut Scratch) {
        let (n_tokens, width) = (s.n_tokens, config.per_layer_width());
        let (x, out) = (&s.x[..n_tokens * config.dim], &mut s.per_layer[..n_tokens * width]);
        let embedded = &mut s.arena[..n_tokens * width];
        let ids = spans.iter().flat_map(|span| span.tokens);
        for (row, &id) in embedded.chunks_exact_mut(width).zip(ids) {
            let known = Some(id as usize).filter(|&id| id < self.embed.rows());
            self.embed.dequantize_row(known.unwrap_or(0), row);
        }
        project(run, &mut s.inputs, x, [(&self.from_stream, &mut *out)]);
        let from_stream = 1.0 / (config.dim as f32).sqrt();
        let from_table = (config.per_layer_dim as f32).sqrt();
        let embedded = &*embedded;
        run.pool.for_rows(out, width, |t, row| {
            row.iter_mut().for_each(|v| *v *= from_stream);
            self.norm.apply_in_place(run, row);
            for (v, e) in row.iter_mut().zip(&embedded[t * width..]) {
                *v = (*v + e * from_table) * FRAC_1_SQRT_2;
            }
        });
    }
}

/// What a layer does with its vector: `out(gelu(gate(x)) * vector)`.
#[derive(Debug)]
pub struct PerLayer {
    /// `(per_layer_dim, dim)`
    gate: Linear,
    /// `(dim, per_layer_dim)`
    out: Linear,
}

impl PerLayer {
    /// Takes the weights of the layer that `source` is in.
    pub fn read(source: &mut Source<'_>, config: &Config) -> Result<Self> {
        let (n, dim) = (config.per_layer_dim, config.dim);
        Ok(Self { gate: source.linear("inp_gate", n, dim)?, out: source.linear("proj", dim, n)? })
    }
}

impl Ffn for PerLayer {
    fn forward(&self, step: &Step<'_, '_>, s: &mut Scratch) {
        let (run, n_tokens, config) = (step.run, step.n_tokens, step.config);
        let (n, width, dim) = (config.per_layer_dim, config.per_layer_width(), config.dim);
        let inner = &mut s.arena[..n_tokens * n];
        project(run, &mut s.inputs, &s.normed[..n_tokens * dim], [(&self.gate, &mut *inner)]);
        let vectors = &s.per_layer;
        run.pool.for_rows(inner, n, |t, gate| {
            let at = t * width + step.layer * n;
            (run.kernels.ops().glu)(Activation::GeluTanh, gate, &vectors[at..at + n]);
        });
        project(run, &mut s.inputs, inner, [(&self.out, &mut s.delta[..n_tokens * dim])]);
    }
}
