//! How long a choice takes for a vocabulary of 151,936: `cargo run --release -p ingle-engine --example sampling`
//!
//! Each line is one stage alone with the draw, the last what is reported beside the choice, on a flat row (normal, spread 3: thousands of tokens matter) and a peaked one
//! (the same with one token far above), the best of 50 in microseconds. The text said before is 4096 tokens.

use std::time::Instant;

use ingle_engine::sample::{Logprobs, Params, Rng, Room, Sampler, settings};

/// A name and what to set.
const TABLE: &[(&str, &[(&str, &str)])] = &[
    ("greedy", &[("temperature", "0")]),
    ("draw only", &[]),
    ("logit-bias", &[("logit-bias", "3=-2")]),
    ("penalties", &[("repeat-penalty", "1.1")]),
    ("dry", &[("dry-multiplier", "0.8")]),
    ("top-n-sigma", &[("top-n-sigma", "1")]),
    ("top-k", &[("top-k", "40")]),
    ("typical", &[("typical-p", "0.9")]),
    ("top-p", &[("top-p", "0.95")]),
    ("min-p", &[("min-p", "0.05")]),
    ("xtc", &[("xtc-probability", "1")]),
    ("temperature", &[("temperature", "0.8")]),
    ("temperature, dynamic", &[("temperature", "0.8"), ("dynatemp-range", "0.3")]),
    ("mirostat 1", &[("mirostat", "1")]),
    ("mirostat 2", &[("mirostat", "2")]),
    ("default settings", &[("temperature", "0.8"), ("top-k", "40"), ("top-p", "0.95"), ("min-p", "0.05")]),
];

fn main() {
    let n_vocab = 151_936;
    let flat = normal(n_vocab);
    let mut peaked = flat.clone();
    peaked[1234] = 30.0;
    println!("{:22} {:>8} {:>8}", "us per token", "flat", "peaked");
    for (name, set) in TABLE {
        let mut params = Params { temperature: 1.0, ..Params::GREEDY };
        for (name, value) in *set {
            let setting = settings().find(|s| s.name == *name).expect("it is on the shelf");
            setting.set(&mut params, &[value]).expect("it is in its range");
        }
        println!("{name:22} {:8.0} {:8.0}", best_us(&params, &flat), best_us(&params, &peaked));
    }
    println!("{:22} {:8.0} {:8.0}", "logprobs, 2 best", logprobs_us(&flat), logprobs_us(&peaked));
}

/// Roughly normal, spread 3.
fn normal(n: usize) -> Vec<f32> {
    let mut rng = Rng::new(9);
    let mut unit = || rng.below(1 << 20) as f32 / (1 << 20) as f32 - 0.5;
    (0..n).map(|_| (0..12).map(|_| unit()).sum::<f32>() * 3.0).collect()
}

/// What reporting costs beside the choice.
fn logprobs_us(row: &[f32]) -> f64 {
    let mut logprobs = Logprobs::new(2, row.len());
    let mut best = f64::INFINITY;
    for _ in 0..50 {
        let start = Instant::now();
        logprobs.read(row).expect("the row is finite");
        best = best.min(start.elapsed().as_secs_f64() * 1e6);
    }
    best
}

fn best_us(params: &Params, row: &[f32]) -> f64 {
    let mut sampler = Sampler::new(params.clone(), &Room::plain(row.len())).expect("they are in their range");
    (0..4096).for_each(|i| sampler.accept(i * 31 % 997, b"x"));
    let mut copy = row.to_vec();
    let mut best = f64::INFINITY;
    for _ in 0..50 {
        copy.copy_from_slice(row);
        let start = Instant::now();
        let id = sampler.sample(&mut copy).expect("the row is healthy");
        best = best.min(start.elapsed().as_secs_f64() * 1e6);
        sampler.accept(id, b"x");
    }
    best
}
