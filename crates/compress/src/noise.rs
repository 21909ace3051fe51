//! Numbers without a pattern, for tests.

/// The next one, from -1 to 1: a linear congruential generator's upper bits.
pub fn noise(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f32 / (1 << 23) as f32 - 1.0
}
