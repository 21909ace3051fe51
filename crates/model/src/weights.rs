//! Canonical weights: whatever a file looks like, past this door there is one layout and one naming.

use std::collections::BTreeMap;
use std::f32::consts::FRAC_1_SQRT_2;

use ingle_kernel::mat::Mat;
use ingle_kernel::simd::Kernels;

use crate::arch::Norms;
use crate::config::{Config, LayerPlan};
use crate::error::Result;
use crate::ffn::Ffn;
use crate::ffn::laurel::Laurel;
use crate::ffn::per_layer::{self, PerLayer};
use crate::file::Contents;
use crate::linear::{Adaptable, Linear, Place};
use crate::mixer::Mixer;
use crate::norm::Norm;
use crate::source::Source;
use crate::streams::{Mix, Streams};

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// Token embedding. `(vocab, dim)`
    pub embed: Mat,
    /// Where adapters find it.
    pub embed_place: Place,
    /// Where each layer's own embeddings come from.
    pub per_layer: Option<per_layer::Table>,
    /// The ends of the residual streams, where there are several.
    pub streams: Option<Streams>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// The norm before the head.
    pub out_norm: Norm,
    /// Output head, the embedding itself when a file ties them. `(vocab, dim)`
    pub head: Linear,
    /// The weights that adapters may add to, by their names in the file; an expert's has its number behind that.
    pub adaptable: BTreeMap<String, Adaptable>,
}

/// One layer: a mixer and feed-forward blocks, each with its norms and added to the residual stream.
#[derive(Debug)]
pub struct Layer {
    /// Mixes positions; some layers have none.
    pub mixer: Option<Half<dyn Mixer>>,
    /// Mix channels, one after the other; some layers have none.
    pub ffns: Vec<Half<dyn Ffn>>,
    /// What goes on between the residual streams, where there are several.
    pub streams: Option<Mix>,
}

/// Half a layer: what stands before the block, the block, and what stands behind it.
#[derive(Debug)]
pub struct Half<B: ?Sized> {
    /// Where the block's input comes from.
    pub input: Input,
    /// The norm of what the block gives, before it is added.
    pub post_norm: Option<Norm>,
    /// Factor on the residual stream once it is.
    pub scale: Option<f32>,
    /// The block.
    pub block: Box<B>,
}

/// What a block reads.
#[derive(Debug)]
pub enum Input {
    /// The residual stream, normed.
    Normed(Norm),
    /// The residual stream as it is.
    Plain,
    /// What the layer's mixer has read.
    Shared,
}

impl Weights {
    /// Takes the weights of `file` for the kernels of one tier.
    ///
    /// # Errors
    /// [`crate::Error::Malformed`] when a tensor is missing or misshapen, [`crate::Error::Unsupported`] when one has no place.
    pub fn read(file: &Contents, config: &Config, kernels: &Kernels) -> Result<Self> {
        let mut source = Source::new(file, config, kernels);
        let embed = source.mat("token_embd.weight", config.vocab, config.dim)?;
        let embed_place = source.place_looked_up("token_embd.weight", config.vocab, config.dim);
        let per_layer = per_layer::Table::read(&mut source, config)?;
        let streams = Streams::read(&mut source, config)?;
        let layers = config.layers.iter().enumerate().map(|(i, plan)| {
            source.enter(Some(i));
            Layer::read(&mut source, config, plan)
        });
        let layers = layers.collect::<Result<_>>()?;
        source.enter(None);
        let (out_norm, head) = read_ends(&mut source, config, Some(&embed))?;
        let adaptable = source.finish()?;
        Ok(Self { embed, embed_place, per_layer, streams, layers, out_norm, head, adaptable })
    }
}

/// The last norm and the output matrix, which is the embedding where a file ties them: `embed`, or read once more.
pub(crate) fn read_ends(
    source: &mut Source<'_>,
    config: &Config,
    embed: Option<&Mat>,
) -> Result<(Norm, Linear)> {
    let (vocab, dim) = (config.vocab, config.dim);
    let norm = source.norm("output_norm", dim)?;
    if source.has("output.weight") {
        return Ok((norm, source.linear("output", vocab, dim)?));
    }
    let bias = source.vector_if("output.bias", vocab)?;
    let place = source.place("output.weight", vocab, dim);
    let mat = embed.cloned().map_or_else(|| source.mat("token_embd.weight", vocab, dim), Ok)?;
    Ok((norm, Linear { mat, bias, place: Some(place) }))
}

impl Layer {
    pub(crate) fn read(source: &mut Source<'_>, config: &Config, plan: &LayerPlan) -> Result<Self> {
        for name in config.family.needs {
            source.tensor(name)?;
        }
        let (dim, norms) = (config.dim, config.family.norms);
        let post_norm = |source: &mut Source<'_>, name: &str| match norms {
            Norms::Before => Ok(None),
            Norms::After | Norms::Both => source.norm(name, dim).map(Some),
        };
        let input = |source: &mut Source<'_>, name: &str| match norms {
            Norms::After => Ok(Input::Plain),
            Norms::Before | Norms::Both => source.norm(name, dim).map(Input::Normed),
        };
        let mixer = match plan.mixer.read(source, dim)? {
            None => None,
            Some(block) => Some(Half {
                input: input(source, "attn_norm")?,
                post_norm: post_norm(source, "post_attention_norm")?,
                scale: None,
                block,
            }),
        };
        // The one norm of a layer without a mixer has the name of the first.
        let ffn_norm = if mixer.is_some() { "ffn_norm" } else { "attn_norm" };
        let mut ffns: Vec<Half<dyn Ffn>> = Vec::new();
        if config.laurel_rank > 0 {
            let (scale, block) = (Some(FRAC_1_SQRT_2), Box::new(Laurel::read(source, config)?));
            ffns.push(Half { input: Input::Shared, post_norm: None, scale, block });
        }
        if let Some(block) = plan.ffn.read(source, dim)? {
            let input = if plan.parallel { Input::Shared } else { input(source, ffn_norm)? };
            let post_norm = post_norm(source, "post_ffw_norm")?;
            ffns.push(Half { input, post_norm, scale: None, block });
        }
        let streams = config.streams.map(|plan| Mix::read(plan, source, config)).transpose()?;
        // Where there are several streams, the others take what the layer's own embedding gives.
        if config.per_layer_dim > 0 && streams.is_none() {
            let post_norm = Some(source.norm("post_norm", dim)?);
            let block = Box::new(PerLayer::read(source, config)?);
            ffns.push(Half { input: Input::Plain, post_norm, scale: None, block });
        }
        if let (None, Some(last)) = (&streams, ffns.last_mut()) {
            last.scale = source.vector_if("layer_output_scale.weight", 1)?.map(|scale| scale[0]);
        }
        Ok(Self { mixer, ffns, streams })
    }
}
