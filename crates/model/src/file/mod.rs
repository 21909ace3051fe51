//! Containers: bytes to metadata and named tensors, and back. Nothing here opens a file; nothing here trusts one.
//!
//! Every format ends in the same [`Contents`]: GGUF's keys, GGUF's tensor names, the bytes where they lie. [`gguf`] is
//! that already, in one file or, with [`split`], in several. [`llama2c`] files have neither keys nor names. A Hugging
//! Face [`folder`] has both, others: importing one is a mapping of keys and names on a shelf of model types. Its tensors
//! ([`entry`]) are in [`safetensors`] files or in [`pytorch`]'s, which are a [`zip`] archive with a [`pickle`].
pub mod contents;
pub mod entry;
pub mod folder;
pub mod gguf;
pub mod gguf_write;
pub mod llama2c;
pub mod pickle;
pub mod pytorch;
pub mod safetensors;
pub mod safetensors_write;
pub mod split;
pub mod value;
pub mod zip;

pub use contents::{Contents, Tensor};
pub use value::Value;
