//! Containers: bytes to metadata and named tensors, and back. Nothing here opens a file; nothing here trusts one.
pub mod gguf;
pub mod gguf_write;
