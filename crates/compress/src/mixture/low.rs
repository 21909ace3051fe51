//! One, one and a half and two bits: for models trained for them.

use super::{Mixture, Rule, rule};
use crate::role::Role::TokenEmbedding;

/// Four levels.
pub static Q2_0: Mixture = Mixture {
    name: "Q2_0",
    aliases: &[],
    file_type: 41,
    format: "q2_0",
    output: "q6_K",
    rules: EMBEDDINGS,
    about: "2.25 bits: for models trained for it",
};

/// Three levels.
pub static TQ2_0: Mixture = Mixture {
    name: "TQ2_0",
    aliases: &[],
    file_type: 37,
    format: "tq2_0",
    output: "q6_K",
    rules: EMBEDDINGS,
    about: "2.1 bits, three levels: for models trained for them",
};

/// Three levels, packed.
pub static TQ1_0: Mixture = Mixture {
    name: "TQ1_0",
    aliases: &[],
    file_type: 36,
    format: "tq1_0",
    output: "q6_K",
    rules: EMBEDDINGS,
    about: "1.7 bits, three levels: for models trained for them",
};

/// Two levels.
pub static Q1_0: Mixture = Mixture {
    name: "Q1_0",
    aliases: &[],
    file_type: 40,
    format: "q1_0",
    output: "q6_K",
    rules: &[],
    about: "1.1 bits, two levels: for models trained for them",
};

static EMBEDDINGS: &[Rule] = &[rule(TokenEmbedding, &[], "q4_K")];
