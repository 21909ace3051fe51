//! Mixtures around q4_K.

use super::Fact::{EightExperts, Falcon, First, FirstPart, MoreBits, NotFalcon};
use super::{Mixture, rule};
use crate::role::Role::{AttnOutput, AttnV, FfnDown};

/// Medium.
pub static Q4_K_M: Mixture = Mixture {
    name: "Q4_K_M",
    aliases: &["Q4_K"],
    file_type: 15,
    format: "q4_K",
    output: "q6_K",
    rules: &[
        rule(AttnV, &[MoreBits], "q6_K"),
        rule(FfnDown, &[Falcon, FirstPart(16)], "q6_K"),
        rule(FfnDown, &[Falcon, MoreBits], "q5_K"),
        rule(FfnDown, &[NotFalcon, MoreBits], "q6_K"),
        rule(AttnOutput, &[NotFalcon, EightExperts], "q5_K"),
    ],
    about: "about 4.9 bits: the usual choice",
};

/// Small.
pub static Q4_K_S: Mixture = Mixture {
    name: "Q4_K_S",
    aliases: &[],
    file_type: 14,
    format: "q4_K",
    output: "q6_K",
    rules: &[
        rule(AttnV, &[First(4)], "q5_K"),
        rule(FfnDown, &[NotFalcon, FirstPart(8)], "q5_K"),
        rule(AttnOutput, &[NotFalcon, EightExperts], "q5_K"),
    ],
    about: "about 4.7 bits",
};
