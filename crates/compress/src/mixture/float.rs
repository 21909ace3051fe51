//! F32, F16 and BF16: numbers as they are; no tensor is an exception.

use super::Mixture;

/// Everything in f32.
pub static F32: Mixture = Mixture {
    name: "F32",
    aliases: &[],
    file_type: 0,
    format: "f32",
    output: "f32",
    rules: &[],
    about: "32 bits: twice the size of the weights as published, for tests",
};

/// Everything in f16.
pub static F16: Mixture = Mixture {
    name: "F16",
    aliases: &[],
    file_type: 1,
    format: "f16",
    output: "f16",
    rules: &[],
    about: "16 bits: the weights as published, if they were f16",
};

/// Everything in bf16.
pub static BF16: Mixture = Mixture {
    name: "BF16",
    aliases: &[],
    file_type: 32,
    format: "bf16",
    output: "bf16",
    rules: &[],
    about: "16 bits: the weights as published, if they were bf16",
};
