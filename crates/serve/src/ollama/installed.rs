//! Models on the device, as Ollama's clients fetch and remove them.
//!
//! The server has no store: it is given one as a [`Library`], or none, and then says which command does what was asked. Left out,
//! and refused: making, copying and pushing models, and blobs.
