//! What a model is, as data: the numbers its metadata gives, checked once, and a plan of every layer.
//!
//! [`Config::read`] lays out the common case, attention and a gated feed-forward block in every layer, from the keys that
//! all families share; the family then adjusts what it does differently ([`crate::arch`]). Weights, caches and buffers
//! are made from the plans.

use ingle_kernel::attn::Shape;

use crate::arch::{self, Family};
use crate::error::{Error, Result};
use crate::ffn::{FfnPlan, dense, experts};
use crate::file::Contents;
pub use crate::keys::Keys;
use crate::mixer::{MixerPlan, attention};
use crate::norm::NormKind;
use crate::rope::Rope;
use crate::streams;

/// Bounds that no real model reaches and that keep every product of sizes far from overflow.
pub const DIM_MAX: usize = 1 << 20;
const LAYERS_MAX: usize = 1 << 12;
const HEADS_MAX: usize = 1 << 12;
const VOCAB_MAX: usize = 1 << 24;
const CTX_MAX: usize = 1 << 31;

/// The numbers of a model.
#[derive(Debug, Clone)]
pub struct Config {
    /// The family it belongs to.
    pub family: &'static Family,
    /// Width of the residual stream.
    pub dim: usize,
    /// Token ids there are.
    pub vocab: usize,
    /// Context length the model was made for.
    pub ctx_train: usize,
    /// The norm before (or after) blocks and before the head.
    pub norm: NormKind,
    /// Added to the mean square or variance in norms.
    pub norm_eps: f32,
    /// The rotations that layers choose from.
    pub ropes: Vec<Rope>,
    /// What each layer is, first to last.
    pub layers: Vec<LayerPlan>,
    /// Values of each layer's own embedding of a token, 0 for none.
    pub per_layer_dim: usize,
    /// The residual streams, where there are several.
    pub streams: Option<streams::Plan>,
    /// Rank of the short cut beside each layer's mixer ([`crate::ffn::laurel`]), 0 for none.
    pub laurel_rank: usize,
    /// Layers the file has after these that only draft tokens ahead; they are left unread.
    pub n_draft_layers: usize,
    /// Factor on token embeddings.
    pub embed_scale: f32,
    /// Factor on what each block adds to the residual stream.
    pub residual_scale: f32,
    /// Factor on the logits.
    pub logit_scale: f32,
    /// Smooth bound on the logits.
    pub logit_softcap: Option<f32>,
}

/// What a layer is.
#[derive(Debug, Clone)]
pub struct LayerPlan {
    /// The half that looks across positions.
    pub mixer: MixerPlan,
    /// The half that looks across channels.
    pub ffn: FfnPlan,
    /// Whether both halves read the same normed input, as in GPT-J, instead of one after the other.
    pub parallel: bool,
}

impl LayerPlan {
    /// The attention of the layer's mixer.
    pub fn attention(&self) -> Option<&attention::Plan> {
        self.mixer.attention()
    }
}

impl Config {
    /// Reads the configuration of `file`, a model that writes text.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for an unknown family or scaling, [`Error::Malformed`] for missing or impossible numbers.
    pub fn read(file: &Contents) -> Result<Self> {
        Self::read_of(file, arch::FAMILIES)
    }

    /// Reads the configuration of `file`, whose family stands on `shelf`; see [`Self::read`].
    pub fn read_of(file: &Contents, shelf: &[&'static Family]) -> Result<Self> {
        let name = file.str("general.architecture")?;
        let name = name.ok_or_else(|| Error::missing("metadata general.architecture", "a model family"))?;
        let family = arch::by_name(shelf, name)?;
        let keys = Keys { file, family: name };
        let dim = keys.uint("embedding_length", 1..=DIM_MAX)?;
        let ctx_train = keys.uint("context_length", 1..=CTX_MAX)?;
        let layers = layers(&keys, dim)?;
        let head_dim = layers.iter().filter_map(LayerPlan::attention).map(|a| a.shape.head_dim).max();
        if head_dim == Some(1) {
            return Err(Error::malformed(keys.part("attention.key_length"), 1, "at least a pair to rotate"));
        }
        let rope = head_dim.map(|n| Rope::read(&keys, family, n, ctx_train)).transpose()?;
        let mut config = Self {
            family,
            dim,
            vocab: vocab(file, dim)?,
            ctx_train,
            norm: NormKind::Rms,
            norm_eps: keys.float_or("attention.layer_norm_rms_epsilon", 1e-5, 0.0)? as f32,
            ropes: rope.into_iter().collect(),
            layers,
            per_layer_dim: 0,
            streams: None,
            laurel_rank: 0,
            n_draft_layers: 0,
            embed_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: None,
        };
        (family.adjust)(&keys, &mut config)?;
        config.check(&keys)?;
        Ok(config)
    }

    /// Values of all layers' own embeddings of a token.
    pub fn per_layer_width(&self) -> usize {
        self.layers.len() * self.per_layer_dim
    }

    /// Values of all residual streams of a token, 0 where there is one alone.
    pub fn streams_width(&self) -> usize {
        self.streams.map_or(0, |plan| plan.n * self.dim)
    }

    /// The heads of the first layer that attends.
    pub fn heads(&self) -> Option<Shape> {
        self.layers.iter().find_map(LayerPlan::attention).map(|plan| plan.shape)
    }

    /// Changes the plan of every layer that attends: `change(layer, plan)`.
    pub fn each_attention(&mut self, mut change: impl FnMut(usize, &mut attention::Plan)) {
        for (i, layer) in self.layers.iter_mut().enumerate() {
            if let Some(plan) = layer.mixer.attention_mut() {
                change(i, plan);
            }
        }
    }

    /// Changes the plan of every dense feed-forward block.
    pub fn each_dense(&mut self, mut change: impl FnMut(&mut dense::Plan)) {
        for layer in &mut self.layers {
            if let FfnPlan::Dense(plan) = &mut layer.ffn {
                change(plan);
            }
        }
    }

    /// Puts the last layers aside that only draft, as many as the file says.
    pub fn drop_drafts(&mut self, keys: &Keys<'_>) -> Result<()> {
        self.n_draft_layers = keys.uint_or("nextn_predict_layers", 0, 0..=self.layers.len() - 1)?;
        self.layers.truncate(self.layers.len() - self.n_draft_layers);
        Ok(())
    }

    /// Takes experts for the feed-forward blocks of all layers but the first `n_dense`.
    pub fn use_experts(&mut self, n_dense: usize, plan: experts::Plan) {
        self.layers[n_dense..].iter_mut().for_each(|layer| layer.ffn = FfnPlan::Experts(plan));
    }

    /// Positions are told by what recurs, not by a rotation.
    pub fn use_no_rope(&mut self) {
        self.ropes.clear();
        self.each_attention(|_, plan| plan.rope = None);
    }

    /// Takes layer norms instead of RMS norms, with their own key for epsilon.
    pub fn use_layer_norm(&mut self, keys: &Keys<'_>) -> Result<()> {
        self.norm = NormKind::Layer;
        self.norm_eps = keys.float_or("attention.layer_norm_epsilon", 1e-5, 0.0)? as f32;
        Ok(())
    }

    /// What the plans must hold for the kernels to run them, whatever a family made of the metadata.
    fn check(&self, keys: &Keys<'_>) -> Result<()> {
        for plan in self.layers.iter().filter_map(LayerPlan::attention) {
            let Shape { n_heads, n_kv_heads, head_dim, .. } = plan.shape;
            if n_heads == 0 {
                return Err(Error::malformed(keys.part("attention.head_count"), 0, "at least 1"));
            }
            if n_kv_heads == 0 || n_heads % n_kv_heads != 0 {
                return Err(Error::malformed(
                    keys.part("attention.head_count_kv"),
                    n_kv_heads,
                    format!("a divisor of {n_heads} heads"),
                ));
            }
            if head_dim == 0 || head_dim > DIM_MAX / n_heads {
                return Err(Error::malformed(
                    keys.part("attention.key_length"),
                    head_dim,
                    format!("at least 1, and heads of {DIM_MAX} values in all at most"),
                ));
            }
            let rotated = plan.rope.map_or(0, |rope| 2 * self.ropes[rope].n_pairs());
            if rotated > head_dim {
                return Err(Error::malformed(
                    keys.part("rope.dimension_count"),
                    rotated,
                    format!("at most the head's {head_dim} values"),
                ));
            }
        }
        Ok(())
    }
}

/// Attention and a gated feed-forward block per layer, by the keys that all families share. Layers without heads or
/// without a feed-forward width are left for the family to say what they are.
fn layers(keys: &Keys<'_>, dim: usize) -> Result<Vec<LayerPlan>> {
    let n_layers = keys.uint("block_count", 1..=LAYERS_MAX)?;
    let required = |name: &str| Error::missing(keys.part(name), "an integer");
    let heads = keys.uints("attention.head_count", n_layers, 0..=HEADS_MAX)?;
    let heads = heads.ok_or_else(|| required("attention.head_count"))?;
    let kv_heads = keys.uints("attention.head_count_kv", n_layers, 0..=HEADS_MAX)?;
    let ffn_dims = keys.uints("feed_forward_length", n_layers, 0..=DIM_MAX)?;
    let ffn_dims = match ffn_dims {
        Some(dims) => dims,
        // Models that have experts only say how wide those are.
        None if keys.has("expert_feed_forward_length") => vec![0; n_layers],
        None => return Err(required("feed_forward_length")),
    };
    let layer = |i: usize| {
        let n_heads = heads[i];
        let head_dim = keys.uint_or("attention.key_length", dim / n_heads.max(1), 1..=DIM_MAX)?;
        let value_dim = keys.uint_or("attention.value_length", head_dim, 1..=DIM_MAX)?;
        if value_dim != head_dim {
            return Err(Error::malformed(
                keys.part("attention.value_length"),
                value_dim,
                format!("the key length {head_dim}"),
            ));
        }
        let n_kv_heads = kv_heads.as_ref().map_or(n_heads, |n| n[i]);
        let scale = keys.positive("attention.scale")?.unwrap_or(1.0 / (head_dim as f32).sqrt());
        let shape = Shape { n_heads, n_kv_heads, head_dim, scale, window: None, softcap: None };
        Ok(LayerPlan {
            mixer: MixerPlan::Attention(attention::Plan::new(shape)),
            ffn: match ffn_dims[i] {
                0 => FfnPlan::None,
                dim => FfnPlan::Dense(dense::Plan::new(dim)),
            },
            parallel: false,
        })
    };
    (0..n_layers).map(layer).collect()
}

fn vocab(file: &Contents, dim: usize) -> Result<usize> {
    let embed = file.tensor("token_embd.weight");
    let embed = embed.ok_or_else(|| Error::missing("tensor token_embd.weight", "the token embedding"))?;
    let vocab = embed.shape.get(1).copied().unwrap_or(0);
    if !(1..=VOCAB_MAX).contains(&vocab) {
        return Err(Error::malformed(
            "tensor token_embd.weight",
            format!("shape {:?}", embed.shape),
            format!("[{dim}, vocab]"),
        ));
    }
    Ok(vocab)
}
