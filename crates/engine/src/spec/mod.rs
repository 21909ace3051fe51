//! Drafters: what may come next, guessed cheaply.

pub mod lookup;
pub mod ngrams;
pub mod store;
