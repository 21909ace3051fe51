//! Containers: bytes to metadata and named tensors. Nothing here opens a file; nothing here trusts one.
pub mod gguf;
