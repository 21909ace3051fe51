//! Mixtures around q5_K and q6_K.

use super::Fact::MoreBits;
use super::{Mixture, rule};
use crate::role::Role::{AttnV, FfnDown};

/// q6_K throughout.
pub static Q6_K: Mixture = Mixture {
    name: "Q6_K",
    aliases: &[],
    file_type: 18,
    format: "q6_K",
    output: "q6_K",
    rules: &[],
    about: "6.6 bits: very near to 16",
};

/// Medium.
pub static Q5_K_M: Mixture = Mixture {
    name: "Q5_K_M",
    aliases: &["Q5_K"],
    file_type: 17,
    format: "q5_K",
    output: "q6_K",
    rules: &[rule(AttnV, &[MoreBits], "q6_K"), rule(FfnDown, &[MoreBits], "q6_K")],
    about: "about 5.7 bits",
};

/// Small.
pub static Q5_K_S: Mixture = Mixture {
    name: "Q5_K_S",
    aliases: &[],
    file_type: 16,
    format: "q5_K",
    output: "q6_K",
    rules: &[],
    about: "5.5 bits",
};
