//! Drafters: what may come next, guessed cheaply.

pub mod lookup;
