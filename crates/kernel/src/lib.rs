//! Numbers: block formats, SIMD tiers, matrix products, attention, thread pool.
