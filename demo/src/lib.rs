//! The built-in demo model, the generator of its text and the judge of its answers.
#![forbid(unsafe_code)]
