//! The one place to look into a running model: what its matrices are given.
//!
//! Every matrix input goes through [`crate::linear::project`], which shows it to the step's probe before it is rounded. Calibration
//! sums up what it sees there; nothing else can tell, and no number changes because somebody looks. Lookups of embeddings are
//! not inputs and are not shown.

use std::fmt::Debug;

use crate::linear::{Linear, Place};

/// Somebody who looks.
pub trait Probe: Debug + Sync {
    /// `x` `(n_tokens, cols)` is about to be multiplied with the matrices of `to`, which share it.
    fn input(&self, to: Takers<'_>, x: &[f32], cols: usize);
}

/// The matrices that share an input.
#[derive(Debug, Clone, Copy)]
pub struct Takers<'a>(pub(crate) &'a [&'a Linear]);

impl<'a> Takers<'a> {
    /// Their names in the file, in the order of the model; an expert's has its number behind that. A matrix that is a part of a
    /// tensor has the tensor's name.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter_map(|linear| linear.place.as_ref()).map(|Place { weight, .. }| &**weight)
    }
}
