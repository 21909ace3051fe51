//! Mixtures around q2_K.

use super::Fact::{EightExperts, FirstPart, NotFalcon, SharedValues};
use super::{Mixture, rule};
use crate::role::Role::{AttnOutput, AttnV, FfnDown};

/// With q3_K and q4_K where it hurts most.
pub static Q2_K: Mixture = Mixture {
    name: "Q2_K",
    aliases: &[],
    file_type: 10,
    format: "q2_K",
    output: "q6_K",
    rules: &[
        rule(AttnV, &[SharedValues], "q4_K"),
        rule(AttnV, &[], "q3_K"),
        rule(FfnDown, &[], "q3_K"),
        rule(AttnOutput, &[NotFalcon, EightExperts], "q5_K"),
        rule(AttnOutput, &[NotFalcon], "q3_K"),
    ],
    about: "about 3 bits: for large models that would not fit otherwise",
};

/// Nearly all q2_K.
pub static Q2_K_S: Mixture = Mixture {
    name: "Q2_K_S",
    aliases: &[],
    file_type: 21,
    format: "q2_K",
    output: "q6_K",
    rules: &[rule(AttnV, &[SharedValues], "q4_K"), rule(FfnDown, &[FirstPart(8)], "q4_K")],
    about: "2.6 bits and more: give it importances (--imatrix)",
};
