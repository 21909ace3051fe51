//! The small operations between the matrices, each over one row.
//!
//! They are plain Rust that the compiler vectorises: a tier compiles the same code with its own instructions, and since
//! Rust neither reorders float additions nor contracts them, every tier gives the same bits. Sums over a row run in 16
//! lanes that are folded by halves, as in [`crate::quant`].

/// Adds 16 lanes up: 8 onto 8, 4 onto 4, 2 onto 2, 1 onto 1.
#[inline(always)]
pub(crate) fn fold(lanes: &mut [f32; 16]) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}
