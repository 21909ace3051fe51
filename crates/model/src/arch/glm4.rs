//! GLM-4 of April 2025: norms on both sides of every block, the first half of each head rotated, biases on q, k and v, gate
//! and up in one matrix.
//!
//! Rotary pairs are neighbours, except in the text half of the models with images: its files name the parts of a
//! head by dimension of the image, and have their rows permuted to halves. For text, all dimensions are the position.

use super::Family;
use super::Norms;
use crate::rope::Order;

pub static FAMILY: Family = Family {
    name: "glm4",
    covers: "GLM-4 9B and 32B 0414, GLM-Z1 9B and 32B, the text of GLM-4.1V 9B",
    source: "arXiv 2406.12793; the transformers library, models/glm4",
    rope_order: Order::Interleaved,
    norms: Norms::Both,
    adjust: |keys, config| {
        if keys.uints("rope.dimension_sections", 2, 0..=1 << 20)?.is_some_and(|n| n.iter().all(|&n| n > 0)) {
            config.ropes.iter_mut().for_each(|rope| rope.order = Order::Halves);
        }
        Ok(())
    },
    ..Family::BASE
};
