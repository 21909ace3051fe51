//! How good a router is: what its calls of the strong model buy, and whether its probabilities can be believed.
//!
//! [`curve`] has the measures of RouteLLM (arXiv 2406.18665): the quality reached by each share of strong calls, CPT(q), APGR, and
//! the rate of questions kept here that only the strong model answers. [`calibration`] has AUROC and the expected calibration
//! error of a confidence. [`bootstrap`] puts an interval on any of them, paired where two routers are compared.
//!
//! Everything is a pure function over slices; the seed of resampling is the caller's.

pub mod bootstrap;
pub mod calibration;
pub mod curve;

pub use bootstrap::{Interval, interval};
pub use calibration::{auroc, expected_calibration_error};
pub use curve::{Curve, Label};
