//! Mixtures around the two formats of 4-bit floats.

use super::Fact::OneMatrix;
use super::{Mixture, Rule};

/// Blocks of 16 with an 8-bit float for a scale.
pub static NVFP4: Mixture = Mixture {
    name: "NVFP4",
    aliases: &[],
    file_type: 39,
    format: "nvfp4",
    output: "q6_K",
    rules: &[],
    about: "4.5 bits in 4-bit floats: for models trained for it",
};

/// Experts in blocks of 32 with a power of two for a scale, all else in q8_0.
pub static MXFP4_MOE: Mixture = Mixture {
    name: "MXFP4_MOE",
    aliases: &["MXFP4"],
    file_type: 38,
    format: "mxfp4",
    output: "q8_0",
    rules: &[Rule { role: None, when: &[OneMatrix], format: "q8_0" }],
    about: "4.25 bits in 4-bit floats for experts, q8_0 for the rest: for models trained for it",
};
