//! Canonical weights: whatever a file looks like, past this door there is one layout and one naming.

use std::collections::BTreeMap;

use ingle_kernel::mat::Mat;
use ingle_kernel::simd::Kernels;

use crate::arch::Norms;
use crate::config::{Config, LayerPlan};
use crate::error::Result;
use crate::ffn::Ffn;
use crate::file::Contents;
use crate::linear::Linear;
use crate::mixer::Mixer;
use crate::norm::Norm;
use crate::source::Source;

/// All weights of a model.
#[derive(Debug)]
pub struct Weights {
    /// Token embedding. `(vocab, dim)`
    pub embed: Mat,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// The norm before the head.
    pub out_norm: Norm,
    /// Output head, the embedding itself when a file ties them. `(vocab, dim)`
    pub head: Linear,
    /// The weights that adapters may add to, by their names in the file: rows and columns.
    pub adaptable: BTreeMap<String, (usize, usize)>,
}

/// One layer: a mixer and a feed-forward block, each with its norms and added to the residual stream.
#[derive(Debug)]
pub struct Layer {
    /// Mixes positions.
    pub mixer: Half<dyn Mixer>,
    /// Mixes channels; some layers have none.
    pub ffn: Option<Half<dyn Ffn>>,
}

/// Half a layer: what stands before the block, the block, and what stands behind it.
#[derive(Debug)]
pub struct Half<B: ?Sized> {
    /// Where the block's input comes from.
    pub input: Input,
    /// The norm of what the block gives, before it is added.
    pub post_norm: Option<Norm>,
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
        let layers = config.layers.iter().enumerate().map(|(i, plan)| {
            source.enter(Some(i));
            Layer::read(&mut source, config, plan)
        });
        let layers = layers.collect::<Result<_>>()?;
        source.enter(None);
        let out_norm = source.norm("output_norm", config.dim)?;
        let head = if source.has("output.weight") {
            source.linear("output", config.vocab, config.dim)?
        } else {
            let bias = source.vector_if("output.bias", config.vocab)?;
            let place = source.place("output.weight", config.vocab, config.dim);
            Linear { mat: embed.clone(), bias, place: Some(place) }
        };
        let adaptable = source.finish()?;
        Ok(Self { embed, layers, out_norm, head, adaptable })
    }
}

impl Layer {
    fn read(source: &mut Source<'_>, config: &Config, plan: &LayerPlan) -> Result<Self> {
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
        let mixer = Half {
            input: input(source, "attn_norm")?,
            post_norm: post_norm(source, "post_attention_norm")?,
            block: plan.mixer.read(source, dim)?,
        };
        let ffn = match plan.ffn.read(source, dim)? {
            None => None,
            Some(block) => Some(Half {
                input: if plan.parallel { Input::Shared } else { input(source, "ffn_norm")? },
                post_norm: post_norm(source, "post_ffw_norm")?,
                block,
            }),
        };
        Ok(Self { mixer, ffn })
    }
}
