//! Meaning: bytes to weights, text to tokens, tokens to logits.
//!
//! Reading order: [`mod@file`] turns bytes into metadata and named tensors; [`prompt`] renders conversations and [`token`]
//! takes text apart. [`arch`] and [`config`] say what the metadata mean, by way of [`keys`], and [`weights`] takes the
//! tensors from a [`source`]. [`decoder`] runs them with the help of [`mixer`], [`ffn`], [`norm`], [`rope`], [`kv`] and
//! [`scratch`], or layer by layer in a [`walk`]; every matrix is met in [`linear`], where an [`adapter`] joins in and a [`probe`] looks. [`encoder`] runs models that read a text
//! as a whole, and [`pooling`] makes one vector of many. [`cost`] counts what a step reads and multiplies. This crate opens
//! no file, reads no clock and starts no thread.
#![forbid(unsafe_code)]

pub mod error;
pub mod file;
pub mod prompt;
pub mod token;

pub mod arch;
pub mod config;
pub mod keys;
pub mod source;
pub mod weights;

pub mod adapter;
pub mod cost;
pub mod decoder;
pub mod encoder;
pub mod ffn;
pub mod kv;
pub mod linear;
pub mod mixer;
pub mod norm;
pub mod pooling;
pub mod probe;
pub mod rope;
pub mod scratch;
pub mod streams;
pub mod walk;

pub use error::{Error, Result};
