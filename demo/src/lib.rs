//! The built-in demo model, the generator of its text and the judge of its answers.
//!
//! [`GGUF`] is a llama-family model of a few million parameters that was trained on nothing but the text of this crate's
//! generator (`train/README.md` has the recipe). It is the product's offline default and the subject of measurements:
//! each [`Kind`] on the shelf [`KINDS`] draws tasks from a seed, [`held_out`] gives tasks that training has never seen, and
//! the kind judges answers. To measure a model, loop over `KINDS`, put [`Item::prompt`] of each held-out item to it at
//! temperature 0, and count what [`Kind::judge`] accepts.
//!
//! The crate runs no model and depends on nothing.
#![forbid(unsafe_code)]

pub mod check;
mod item;
mod kind;
mod rng;
mod tale;
pub mod text;
mod words;

pub use item::{CLASSES, Item, Key, Kind, Message, Prompt, Role, Side, held_out, side};
pub use kind::KINDS;
pub use rng::Rng;

/// The demo model as a GGUF file in q8_0, about 5 MB; `scores.json` beside it says what it can do.
pub static GGUF: &[u8] = include_bytes!("../demo.gguf");
