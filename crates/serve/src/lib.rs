//! The server: one model behind HTTP, in words that programs already speak.
//!
//! Reading order: `server` routes, starts and stops; `listen` and `wire` keep connections within limits; `guard` decides who may ask; `fields` takes a request's body apart and
//! refuses what it does not know; `ask` brings a job to the engine and its events back; `openai` and `llama` are the routes.
//! This crate knows wire forms and clocks; it computes nothing.
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod ask;
mod fields;
mod form;
mod guard;
mod listen;
mod llama;
mod openai;
mod page;
mod payload;
mod refusal;
mod sampling;
mod server;
mod wire;

pub use listen::Limits;
pub use server::{Options, Serving, serve};
