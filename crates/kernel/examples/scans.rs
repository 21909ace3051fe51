//! Speed of the scans on one thread, in microseconds per token of one layer: `cargo run --release -p ingle-kernel --example scans`.
//!
//! One token alone reads and writes states that fell out of the near caches, as in decoding; of many tokens a head takes
//! all in turn, as with a prompt.

use std::time::Instant;

use ingle_kernel::par::Pool;
use ingle_kernel::scan::{
    Delta, DeltaShape, KeyHeads, Selective, SelectiveShape, Ssm, SsmShape, delta, selective, ssm,
};
use ingle_kernel::simd::Kernels;

const TOKENS: [usize; 2] = [1, 128];
/// States taken in turn, as by the layers of a model.
const LAYERS: usize = 24;

fn main() {
    let pool = Pool::new(1);
    let numbers = |n: usize| -> Vec<f32> { (0..n).map(|i| (i as f32).sin() * 0.1).collect() };
    println!("{:8} {:34} {:>9} {:>9}", "tier", "scan", "us @1", "us @128");
    for tier in Kernels::names().filter(|&name| name != "exact") {
        let kernels = Kernels::named(tier).expect("listed");
        let shape = SsmShape { n_heads: 48, head_dim: 64, n_groups: 1, d_state: 128 };
        let (a, d) = (vec![-1.0; shape.n_heads], numbers(shape.n_heads));
        let times = TOKENS.map(|n| {
            let (xbc, dt) = (numbers(n * shape.row()), vec![0.1; n * shape.n_heads]);
            let given = Ssm { xbc: &xbc, dt: &dt, a: &a, d: &d };
            let mut out = vec![0.0; n * shape.inner()];
            time(n, shape.state_len(), |state| ssm(&pool, &kernels, shape, given, state, &mut out))
        });
        println!("{tier:8} {:34} {:9.1} {:9.1}", "Mamba-2, 48 heads of 64 x 128", times[0], times[1]);

        let shape = SelectiveShape { channels: 5120, d_state: 16 };
        let (a, d) = (vec![-1.0; shape.state_len()], numbers(shape.channels));
        let times = TOKENS.map(|n| {
            let (x, b) = (numbers(n * shape.channels), numbers(n * shape.d_state));
            let dt = vec![0.1; x.len()];
            let given = Selective { x: &x, dt: &dt, b: &b, c: &b, a: &a, d: &d };
            let mut out = vec![0.0; x.len()];
            time(n, shape.state_len(), |state| selective(&pool, &kernels, shape, given, state, &mut out))
        });
        println!("{tier:8} {:34} {:9.1} {:9.1}", "Mamba, 5120 channels of 16", times[0], times[1]);

        let key_heads = KeyHeads::Tiled;
        let shape = DeltaShape { n_heads: 32, n_key_heads: 16, key_heads, key_dim: 128, value_dim: 128 };
        let a = vec![-1.0; shape.n_heads];
        let times = TOKENS.map(|n| {
            let (qkv, dt) = (numbers(n * shape.row()), vec![0.1; n * shape.n_heads]);
            let given = Delta { qkv: &qkv, dt: &dt, beta: &dt, a: &a };
            let mut out = vec![0.0; n * shape.inner()];
            time(n, shape.state_len(), |state| delta(&pool, &kernels, shape, given, state, &mut out))
        });
        println!("{tier:8} {:34} {:9.1} {:9.1}", "gated delta, 32 heads of 128 x 128", times[0], times[1]);
    }
}

/// Microseconds per token of the fastest of many rounds over the layers' states.
fn time(n_tokens: usize, state_len: usize, mut scan: impl FnMut(&mut [f32])) -> f64 {
    let mut states = vec![0f32; LAYERS * state_len];
    let (begin, mut seconds) = (Instant::now(), f64::INFINITY);
    while begin.elapsed().as_secs_f64() < 0.5 {
        let start = Instant::now();
        states.chunks_exact_mut(state_len).for_each(&mut scan);
        seconds = seconds.min(start.elapsed().as_secs_f64());
    }
    seconds * 1e6 / (LAYERS * n_tokens) as f64
}
