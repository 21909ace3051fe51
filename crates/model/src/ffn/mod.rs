//! Feed-forward blocks: the half of a layer that looks across channels.
pub mod dense;
