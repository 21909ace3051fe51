//! The server: models behind HTTP, in words that programs already speak.
//!
//! Reading order: `server` starts and stops, `routes` says where everything is; `listen` and `wire` keep connections within limits; `guard` decides who may
//! ask; `fields` takes a request's body apart and refuses what it does not know. `dialogue` makes a question of a conversation for a
//! model that is `served`, `ask` brings it to the engine and back what is said, `reply` gathers that, and `answering` is the road
//! from request to response for every API; the APIs are its dialects: `openai`, `anthropic`, `ollama`, and `infill` with the prompts
//! of `fim`; `accounts` are told what each took, some are answered `elsewhere`, and `feedback` hears what people make of them. A `residence` keeps models within a budget
//! of memory. A `reader` makes vectors and scores, and `embeddings` is the road there. `llama` has the routes that answer by themselves.
//! This crate knows wire forms and clocks; it computes nothing.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod accounts;
mod answering;
mod anthropic;
mod app;
mod ask;
mod dialogue;
mod documents;
mod elsewhere;
mod embeddings;
mod feedback;
mod fields;
mod fim;
mod form;
mod guard;
mod ids;
mod infill;
mod listen;
mod llama;
mod ollama;
mod openai;
mod page;
mod payload;
mod reader;
mod refusal;
mod reply;
mod residence;
mod routes;
mod sampling;
mod served;
mod server;
mod wire;

pub use accounts::{Accounts, Then, Work};
pub use elsewhere::Elsewhere;
pub use feedback::Feedback;
pub use guard::ApiKey;
pub use listen::Limits;
pub use ollama::installed::{Installed, Library, Progress};
pub use ollama::keep_alive::parse as keep_alive;
pub use residence::{Known, PATIENCE, Stock, Terms};
pub use served::{Model, Serving};
pub use server::{Options, serve};
