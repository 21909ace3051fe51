//! Mixtures around q3_K.

use super::Fact::{EightExperts, Falcon, First, FirstPart, MoreBits, NotEightExperts, NotFalcon};
use super::{Mixture, rule};
use crate::role::Role::{AttnOutput, AttnV, FfnDown};

/// Large.
pub static Q3_K_L: Mixture = Mixture {
    name: "Q3_K_L",
    aliases: &[],
    file_type: 13,
    format: "q3_K",
    output: "q6_K",
    rules: &[
        rule(AttnV, &[], "q5_K"),
        rule(FfnDown, &[Falcon], "q4_K"),
        rule(FfnDown, &[], "q5_K"),
        rule(AttnOutput, &[Falcon], "q4_K"),
        rule(AttnOutput, &[NotEightExperts], "q5_K"),
    ],
    about: "about 4.3 bits",
};

/// Medium.
pub static Q3_K_M: Mixture = Mixture {
    name: "Q3_K_M",
    aliases: &["Q3_K"],
    file_type: 12,
    format: "q3_K",
    output: "q6_K",
    rules: &[
        rule(AttnV, &[First(2)], "q5_K"),
        rule(AttnV, &[], "q4_K"),
        rule(FfnDown, &[FirstPart(16)], "q5_K"),
        rule(FfnDown, &[NotFalcon], "q4_K"),
        rule(FfnDown, &[MoreBits], "q4_K"),
        rule(AttnOutput, &[NotFalcon, EightExperts], "q5_K"),
        rule(AttnOutput, &[NotFalcon], "q4_K"),
    ],
    about: "about 4 bits: where Q4_K_S does not fit",
};

/// Small.
pub static Q3_K_S: Mixture = Mixture {
    name: "Q3_K_S",
    aliases: &[],
    file_type: 11,
    format: "q3_K",
    output: "q6_K",
    rules: &[rule(AttnOutput, &[NotFalcon, EightExperts], "q5_K")],
    about: "about 3.6 bits",
};
