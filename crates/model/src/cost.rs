//! What a step costs whoever computes it: the bytes it cannot but read, the multiplications it cannot but do.
//!
//! Counted from the file's tensors and the plan, so that a measured speed can be held against what the machine could do. A
//! step reads every weight it needs once, however many tokens it has, and once what each layer remembers of the
//! positions it looks back to. Bytes are those of the file, whatever form a kernel keeps weights in. Multiplications are
//! those with weights: attention's own, which grow with the context, are left out, and so is what is written.

use std::ops::Range;

use ingle_kernel::acts::Act;
use ingle_kernel::quant::Format;
use ingle_kernel::simd::Kernels;

use crate::config::{Config, LayerPlan};
use crate::file::{Contents, Tensor};

/// Multiplications with weights, by what is multiplied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Products {
    /// Of bytes.
    pub int8: u64,
    /// Of floats.
    pub f32: u64,
}

impl Products {
    /// So many times.
    fn times(self, n: u64) -> Self {
        Self { int8: self.int8 * n, f32: self.f32 * n }
    }

    fn plus(self, other: Self) -> Self {
        Self { int8: self.int8 + other.int8, f32: self.f32 + other.f32 }
    }
}

/// What the weights of a model cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WeightCost {
    /// Bytes that a step reads, whatever its tokens.
    pub shared_bytes: u64,
    /// Bytes of the rows that each token looks up.
    pub row_bytes: u64,
    /// Bytes of the experts that a token takes, in all layers.
    pub expert_bytes: u64,
    /// Products of a token in the layers.
    pub layers: Products,
    /// Products of a token whose logits are wanted.
    pub head: Products,
}

/// What becomes of a tensor in a step.
enum Use {
    /// Nobody reads it.
    None,
    /// A row per token.
    Row,
    /// So many of so many experts per token.
    Experts(usize, usize),
    /// All of it.
    Whole,
}

impl WeightCost {
    /// Counts the tensors of `file`, which `config` was read from, for the kernels of one tier.
    pub fn of(file: &Contents, config: &Config, kernels: &Kernels) -> Self {
        let mut cost = Self::default();
        for tensor in file.tensors() {
            let (bytes, rows) =
                (tensor.n_bytes() as u64, tensor.shape.iter().skip(1).product::<usize>() as u64);
            let products = products(tensor, kernels);
            match tensor_use(tensor, file, config) {
                Use::None => {}
                Use::Row => cost.row_bytes += bytes / rows.max(1),
                Use::Experts(n_used, n) => {
                    let part = |all: u64| all / n.max(1) as u64 * n_used as u64;
                    cost.expert_bytes += part(bytes);
                    let Products { int8, f32 } = products;
                    cost.layers = cost.layers.plus(Products { int8: part(int8), f32: part(f32) });
                }
                Use::Whole => {
                    cost.shared_bytes += bytes;
                    let is_head = matches!(tensor.name.as_str(), EMBEDDING | HEAD);
                    let sum = if is_head { &mut cost.head } else { &mut cost.layers };
                    *sum = sum.plus(products);
                }
            }
        }
        cost
    }

    /// Bytes of weights that a step of `n_tokens` reads; `None` where that depends on which experts they choose.
    pub fn step_bytes(&self, n_tokens: usize) -> Option<u64> {
        let experts = match n_tokens {
            1 => self.expert_bytes,
            _ if self.expert_bytes > 0 => return None,
            _ => 0,
        };
        Some(self.shared_bytes + self.row_bytes * n_tokens as u64 + experts)
    }

    /// Products of `n_tokens`, with the logits of `n_logits` of them.
    pub fn products(&self, n_tokens: usize, n_logits: usize) -> Products {
        self.layers.times(n_tokens as u64).plus(self.head.times(n_logits as u64))
    }
}

const EMBEDDING: &str = "token_embd.weight";
const HEAD: &str = "output.weight";

fn tensor_use(tensor: &Tensor, file: &Contents, config: &Config) -> Use {
    let name = tensor.name.as_str();
    match name {
        // Without a head of its own the embedding is the head.
        EMBEDDING if file.tensor(HEAD).is_some() => return Use::Row,
        "per_layer_token_embd.weight" => return Use::Row,
        _ => {}
    }
    let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) else {
        return Use::Whole;
    };
    // Layers behind the last only draft, and are left unread.
    let Some(plan) = layer.parse().ok().and_then(|layer: usize| config.layers.get(layer)) else {
        return Use::None;
    };
    let borrows = plan.attention().is_some_and(|attention| attention.kv_from.is_some());
    if borrows && ["attn_k.", "attn_v.", "attn_k_norm."].iter().any(|own| part.starts_with(own)) {
        return Use::None;
    }
    let stacked = part.split('.').next().is_some_and(|stem| stem.ends_with("_exps"));
    match plan.ffn.experts() {
        Some(plan) if stacked => Use::Experts(plan.n_used, plan.n_experts),
        _ => Use::Whole,
    }
}

/// Products of one token with all of `tensor`; vectors are added or scaled with, and count for nothing.
fn products(tensor: &Tensor, kernels: &Kernels) -> Products {
    let Some(&cols) = tensor.shape.first().filter(|_| tensor.shape.iter().skip(1).any(|&n| n > 1)) else {
        return Products::default();
    };
    let n = tensor.n_values() as u64;
    match kernels.row_kernel(tensor.format, cols).form.act {
        Act::F32 => Products { int8: 0, f32: n },
        Act::Q8x32 | Act::Q8x256 | Act::Q8x32Of256 => Products { int8: n, f32: 0 },
    }
}

/// Bytes that a step over the tokens at `positions` reads of what the layers remember, keys and values in `format`: those of
/// all positions that its tokens look back to, their own included, and the states of layers that recur.
pub fn state_bytes(config: &Config, format: &Format, positions: Range<usize>) -> u64 {
    let layer = |plan: &LayerPlan| {
        let kv = plan.attention().map_or(0, |attention| {
            let window = attention.shape.window.unwrap_or(usize::MAX);
            let oldest = (positions.start + 1).saturating_sub(window);
            let values = 2 * attention.kv_dim() as u64 * positions.end.saturating_sub(oldest) as u64;
            values / format.block as u64 * format.bytes as u64
        });
        kv + 4 * plan.mixer.state().recurrent as u64
    };
    config.layers.iter().map(layer).sum()
}
