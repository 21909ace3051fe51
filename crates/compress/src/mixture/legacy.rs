//! The formats of 32 weights and one scale, made for speed and simplicity.

use super::Fact::{FirstPart, Imatrix};
use super::{Mixture, Rule, rule};
use crate::role::Role::FfnDown;

/// 8 bits.
pub static Q8_0: Mixture = Mixture {
    name: "Q8_0",
    aliases: &[],
    file_type: 7,
    format: "q8_0",
    output: "q8_0",
    rules: &[],
    about: "8.5 bits: hardly to be told from 16",
};

/// 5 bits and an offset.
pub static Q5_1: Mixture = Mixture {
    name: "Q5_1",
    aliases: &[],
    file_type: 9,
    format: "q5_1",
    output: "q6_K",
    rules: &[],
    about: "6 bits; Q5_K_M is better",
};

/// 5 bits.
pub static Q5_0: Mixture = Mixture {
    name: "Q5_0",
    aliases: &[],
    file_type: 8,
    format: "q5_0",
    output: "q6_K",
    rules: &[first_down("q5_1")],
    about: "5.5 bits; Q5_K_S is better",
};

/// 4 bits and an offset.
pub static Q4_1: Mixture = Mixture {
    name: "Q4_1",
    aliases: &[],
    file_type: 3,
    format: "q4_1",
    output: "q6_K",
    rules: &[],
    about: "5 bits; Q4_K_M is better",
};

/// 4 bits.
pub static Q4_0: Mixture = Mixture {
    name: "Q4_0",
    aliases: &[],
    file_type: 2,
    format: "q4_0",
    output: "q6_K",
    rules: &[first_down("q4_1")],
    about: "4.5 bits: the simplest, for devices whose kernels are made for it",
};

/// With importances a block without offset can go wrong in the first down projections.
const fn first_down(format: &'static str) -> Rule {
    rule(FfnDown, &[Imatrix, FirstPart(8)], format)
}
