//! The shelf of methods: how weights become smaller, knowing what they will be multiplied with.
//!
//! A method is a pure function over one matrix, `(rows, cols)` row-major, and what is known of its input: `H = 2 X X' / T` over
//! `T` tokens, `(cols, cols)`, or some moments of each column. Results are the same for any number of threads. What needs
//! gradients (distillation, quantisation-aware training, sharing, LoRA) is no part of this shelf.

pub mod error;
pub mod feedback;

pub mod awq;
pub mod gptq;
pub mod prune;
pub mod smooth;
