//! Mixtures around the two formats with 16 uneven levels.

use super::Fact::{EightExperts, FirstPart, NoImatrix, NotFalcon, SharedValues};
use super::{Mixture, Rule, rule};
use crate::role::Role::{AttnOutput, AttnV, FfnDown};

/// Blocks of 32.
pub static IQ4_NL: Mixture = Mixture {
    name: "IQ4_NL",
    aliases: &[],
    file_type: 25,
    format: "iq4_nl",
    output: "q6_K",
    rules: RULES,
    about: "4.5 bits with uneven levels",
};

/// Superblocks of 256.
pub static IQ4_XS: Mixture = Mixture {
    name: "IQ4_XS",
    aliases: &[],
    file_type: 30,
    format: "iq4_xs",
    output: "q6_K",
    rules: RULES,
    about: "4.3 bits with uneven levels: the smallest of the good ones",
};

static RULES: &[Rule] = &[
    rule(AttnV, &[SharedValues], "q5_K"),
    rule(FfnDown, &[NoImatrix, FirstPart(8)], "q5_K"),
    rule(AttnOutput, &[NotFalcon, EightExperts], "q5_K"),
];
