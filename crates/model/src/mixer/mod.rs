//! Mixers: the half of a layer that looks across positions.
pub mod attention;
