//! The shelf of methods: how weights become codes, knowing what they will be multiplied with.
//!
//! An [`Encoder`] takes one matrix, a block format and what is [`Known`] of the matrix's input, and gives the bytes. It never
//! chooses the format: that is the plan's. All give the same bytes for any number of threads. Training (distillation,
//! quantisation-aware training, sharing) needs gradients and is no part of this shelf.

pub mod asymmetric;
pub mod error;
pub mod feedback;

pub mod awq;
pub mod descent;
pub mod gptq;
pub mod prune;
pub mod rounding;
pub mod smooth;

use ingle_kernel::par::Pool;
use ingle_kernel::quant::Format;
use ingle_model::Error;

use crate::calibrate::Stats;
use asymmetric::Correction;
use descent::Products;
use feedback::{Factor, Order};

/// A way to encode a matrix.
#[derive(Debug)]
pub struct Encoder {
    /// Lower-case name in recipes.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Where it is described.
    pub source: &'static str,
    /// What must be known of inputs.
    pub needs: Needs,
    /// Encodes.
    pub encode: fn(&Task<'_>, &Pool) -> Vec<u8>,
}

/// What a method must know of inputs; each includes what stands before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Needs {
    /// Nothing: the model reads no text.
    Nothing,
    /// Moments of each column.
    Moments,
    /// Products of columns.
    Products,
}

/// A matrix to encode.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// `(rows, cols)`
    pub values: &'a [f32],
    /// Columns, whole blocks of `format`.
    pub cols: usize,
    /// The format it gets.
    pub format: &'static Format,
    /// What is known of its input; nothing of tables that are looked up, and of experts that met no token.
    pub known: Option<&'a Known>,
    /// What becomes of weights that are 0.
    pub zeros: Zeros,
}

/// What becomes of weights that are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeros {
    /// They make good the error of others, as all weights do.
    Change,
    /// They were pruned, and stay as near to 0 as their block has a value.
    Stay,
}

/// What is known of an input.
#[derive(Debug)]
pub struct Known {
    /// Mean squares by column: the importances of encoders.
    pub squares: Vec<f32>,
    /// The factor of `H` with its columns in the order that was asked for, where products were kept.
    pub factor: Option<Factor>,
    /// `H` itself, where it could be factored.
    pub products: Option<Products>,
    /// What turns weights into those that give the outputs of the unchanged model, where its inputs were seen beside.
    pub correction: Option<Correction>,
}

impl Known {
    /// From what was seen at a site, columns to be decided in `order`; `None` when that was nothing.
    pub fn new(mut stats: Stats, order: Order, pool: &Pool) -> Option<Self> {
        let (n_tokens, squares, cols) = (stats.n_tokens, stats.mean_squares(), stats.cols());
        let drift = stats.take_drift();
        let mut known = Self { squares, factor: None, products: None, correction: None };
        if let Some(h) = stats.into_hessian() {
            known.factor = Factor::new(&h, cols, order, pool);
            if let Some(factor) = &known.factor {
                let damping = factor.damping();
                known.products = Some(Products::new(&h, cols, damping, pool));
                known.correction = drift.and_then(|drift| Correction::new(&h, drift, cols, damping, pool));
            }
        }
        (n_tokens > 0).then_some(known)
    }
}

/// Every encoder there is.
pub static ENCODERS: &[&Encoder] = &[&rounding::RTN, &rounding::SEARCH, &gptq::GPTQ];

/// The encoder called `name`, without regard to case.
///
/// # Errors
/// With the names there are.
pub fn encoder(name: &str) -> Result<&'static Encoder, Error> {
    let found = ENCODERS.iter().copied().find(|e| e.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| Error::unsupported("method", name, ENCODERS.iter().map(|e| e.name)))
}
