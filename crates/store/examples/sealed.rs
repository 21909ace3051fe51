//! How fast files are sealed, opened and verified: `cargo run --release -p ingle-store --example sealed [MIB]`. On one thread.

use std::hint::black_box;
use std::io::{Read, Write};
use std::time::Instant;

use ingle_store::hash::{Digest, hash_file};
use ingle_store::sealed::key_file::{Effort, RANDOM_BYTES, Wrapped};
use ingle_store::sealed::{FRAME_BYTES, Key, Reader, Writer};
use zeroize::Zeroizing;

/// Runs of each; the fastest counts.
const N: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(256), |n| n.parse())?;
    let plain: Vec<u8> =
        (0..(mib << 20) as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let key = Key::new(Zeroizing::new([7; 32]));
    let mut sealed = Vec::with_capacity(plain.len() + plain.len() / 1000 + FRAME_BYTES);
    let told = |what: &str, seconds: f64| println!("{what}: {:.0} MB/s", plain.len() as f64 / seconds / 1e6);
    told(
        "seal",
        fastest(|| {
            sealed.clear();
            let mut writer = Writer::new(&mut sealed, &key, "measured", [3; 19])?;
            plain.chunks(1 << 16).try_for_each(|piece| writer.write_all(piece))?;
            writer.finish().map(drop)
        })?,
    );
    let mut out = vec![0; 1 << 16];
    told(
        "open",
        fastest(|| {
            let mut reader = Reader::new(&sealed[..], sealed.len() as u64, &key, "measured")?;
            while reader.read(&mut out)? > 0 {
                black_box(&out);
            }
            Ok(())
        })?,
    );
    // What ingle verify does, over a file that was just written and so lies in the page cache.
    let path = std::env::temp_dir().join(format!("ingle-sealed-example-{}", std::process::id()));
    std::fs::write(&path, &plain)?;
    let hashed = fastest(|| {
        let hash = hash_file(&path, &Digest::Sha256([0; 32]), &|| false, &mut |_| {});
        hash.map(|hash| _ = black_box(hash)).map_err(std::io::Error::other)
    });
    std::fs::remove_file(&path)?;
    told("verify", hashed?);
    let start = Instant::now();
    black_box(Wrapped::new(&key, "correct horse", Effort::USUAL, [5; RANDOM_BYTES])?);
    println!("argon2id, 64 MiB, 3 passes, 4 lanes: {:.2} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Seconds of the fastest of [`N`] runs.
fn fastest(mut run: impl FnMut() -> std::io::Result<()>) -> std::io::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..N {
        let start = Instant::now();
        run()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}
