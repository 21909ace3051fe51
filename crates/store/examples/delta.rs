//! What patches cost: `cargo run --release -p ingle-store --example delta [MIB]`. Weights drawn from a normal distribution, as bf16 and as 8 bits in
//! blocks of 32 with a scale, and the same after a change of rank 16 and of some share of their norm; one thread.

use std::fs;
use std::path::Path;
use std::time::Instant;

use ingle_store::delta::{apply, make, same_places};

const COLUMNS: usize = 4096;
const RANK: usize = 16;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(32), |n| n.parse())?;
    let folder = std::env::temp_dir().join(format!("ingle-delta-example-{}", std::process::id()));
    fs::create_dir(&folder)?;
    let measured = measure(&folder, mib);
    fs::remove_dir_all(&folder)?;
    measured
}

fn measure(folder: &Path, mib: usize) -> Result<(), Box<dyn std::error::Error>> {
    let mut random = Random(7);
    let rows = (mib << 20) / 2 / COLUMNS;
    let weights: Vec<f32> = (0..rows * COLUMNS).map(|_| random.normal() * 0.02).collect();
    let left: Vec<f32> = (0..rows * RANK).map(|_| random.normal()).collect();
    let right: Vec<f32> = (0..RANK * COLUMNS).map(|_| random.normal()).collect();
    for (name, encode) in [("bf16", bf16 as fn(&[f32]) -> Vec<u8>), ("8 bits", eight_bits)] {
        let old = folder.join("old");
        fs::write(&old, encode(&weights))?;
        for share in [0.0f32, 0.001, 0.01, 0.05] {
            let scale = share * 0.02 / (RANK as f32).sqrt();
            let change = |row: usize, column: usize| -> f32 {
                (0..RANK).map(|k| left[row * RANK + k] * right[k * COLUMNS + column]).sum()
            };
            let changed: Vec<f32> =
                (0..weights.len()).map(|i| weights[i] + scale * change(i / COLUMNS, i % COLUMNS)).collect();
            let bytes = encode(&changed);
            let new = folder.join("new");
            fs::write(&new, &bytes)?;
            let n = bytes.len() as u64;
            for level in [3, 12, 19] {
                let mut patch = Vec::new();
                let start = Instant::now();
                let summary = make(&old, &new, &same_places(n, n), level, &mut patch, &mut |_| true)?;
                let made = start.elapsed().as_secs_f64();
                let head = ingle_store::delta::patch::Head::read(&mut &patch[..])?;
                let start = Instant::now();
                apply(&old, &patch[..], (&head.new, head.new_bytes), &folder.join("made"), &mut |_| true)?;
                let applied = start.elapsed().as_secs_f64();
                println!(
                    "{name}, changed by {:.1} % of their norm, level {level}: {:.1} % of the file, made with {:.0} MB/s, applied with {:.0} MB/s",
                    share * 100.0,
                    summary.patch_bytes as f64 * 100.0 / n as f64,
                    n as f64 / made / 1e6,
                    n as f64 / applied / 1e6
                );
            }
        }
    }
    Ok(())
}

fn bf16(weights: &[f32]) -> Vec<u8> {
    let rounded = |w: &f32| {
        let bits = w.to_bits();
        ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
    };
    weights.iter().flat_map(|w| rounded(w).to_le_bytes()).collect()
}

fn eight_bits(weights: &[f32]) -> Vec<u8> {
    let block = |block: &[f32]| {
        let scale = block.iter().fold(0f32, |max, w| max.max(w.abs())) / 127.0;
        let mut bytes = bf16(&[scale]);
        bytes.extend(block.iter().map(|w| (w / scale).round() as i8 as u8));
        bytes
    };
    weights.chunks(32).flat_map(block).collect()
}

struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 + 0.5) / (1 << 24) as f32
    }

    /// By Box and Muller.
    fn normal(&mut self) -> f32 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f32::consts::TAU * self.uniform()).cos()
    }
}
