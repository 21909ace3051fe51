//! The measurement of models under one budget: 10,000 requests of 1 to 4 tokens, in a random order, of six models from 1 MB to
//! some hundred, with a budget of the largest and a tenth more. Run alone and in release:
//! `cargo test --release -p ingle-serve --test http -- --ignored --nocapture trace`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ingle_engine::memory::{forget_peak_resident, peak_resident_bytes, resident_bytes};
use ingle_engine::mmap::give_back_large;
use ingle_engine::sysfs::Tree;
use ingle_serve::{PATIENCE, Terms};
use serde_json::json;

use crate::served::Server;
use crate::shapes::{Files, Folder};

const REQUESTS: usize = 10_000;
/// Clients that ask at the same time.
const CLIENTS: usize = 2;
/// What the server counts beside what the process has.
const BESIDE: u64 = 8 << 20;

/// xorshift64*
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % n
    }
}

/// The hits of a plain least-recently-used cache of whole models.
fn hits_of_lru(sizes: &[u64], room: u64, order: &[usize]) -> usize {
    let (mut there, mut n_hits): (Vec<usize>, usize) = (Vec::new(), 0);
    for &wanted in order {
        n_hits += usize::from(there.contains(&wanted));
        there.retain(|&model| model != wanted);
        there.push(wanted);
        while there.iter().map(|&model| sizes[model]).sum::<u64>() > room {
            there.remove(0);
        }
    }
    n_hits
}

#[test]
#[ignore = "a measurement of minutes, in release and alone"]
fn a_random_trace_stays_within_the_budget() {
    give_back_large();
    let folder = Folder::new("trace");
    let demo = folder.0.join("demo.gguf");
    std::fs::write(&demo, ingle_demo::GGUF).unwrap();
    let stories = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models/stories260K.gguf");
    let mut models = vec![
        ("demo", demo),
        ("tenth", folder.model("tenth", 4, 4096)),
        ("third", folder.model("third", 8, 8192)),
        ("half", folder.model("half", 12, 8192)),
        ("whole", folder.model("whole", 24, 8192)),
    ];
    match stories.exists() {
        true => models.push(("stories", stories)),
        false => {
            println!("stories260K is not in ../shared: a synthetic model stands in");
            models.push(("stories", folder.model("stories", 2, 512)));
        }
    }
    let stock = Arc::new(Files::new(&models, &[], None));
    let sizes: Vec<u64> = models.iter().map(|(name, _)| stock.total(name)).collect();
    let room = sizes.iter().max().unwrap() * 11 / 10;
    // What testing takes is no model's.
    let fixed = resident_bytes().unwrap() + BESIDE;
    let budget = fixed + room;
    let tree = Tree::Frame(std::collections::BTreeMap::new());
    let terms = Terms {
        budget: Some(budget),
        fixed: Some(fixed),
        shared: 0,
        keep_alive: None,
        patience: PATIENCE,
        tree,
        stock: stock.clone(),
    };
    let server = Server::keeping(terms);
    assert!(forget_peak_resident());

    let mut rng = Rng(0x5eed);
    // As 1/rank, in an order that has nothing to do with sizes.
    let ranks = [3, 0, 5, 1, 4, 2];
    let order: Vec<usize> = (0..REQUESTS)
        .map(|_| {
            // 60/1 + 60/2 + ... + 60/6
            let mut at = rng.below(147);
            let rank = (0..6).find(|rank| {
                let weight = 60 / (rank + 1);
                let is_it = at < weight;
                at = at.saturating_sub(weight);
                is_it
            });
            ranks[rank.unwrap_or(5) as usize]
        })
        .collect();
    let tokens: Vec<u64> = (0..REQUESTS).map(|_| 1 + rng.below(4)).collect();
    let (next, n_failed, slowest) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicU64::new(0));
    let (over, highest) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Relaxed);
                        let Some(&model) = order.get(i) else { return };
                        let asked = json!({
                            "model": models[model].0, "prompt": format!("Request {i} was"), "raw": true, "stream": false,
                            "options": { "num_predict": tokens[i], "temperature": 0 },
                        });
                        let since = Instant::now();
                        let (status, answer) = server.post("/api/generate", &asked);
                        slowest.fetch_max(since.elapsed().as_millis() as u64, Relaxed);
                        if status != 200 {
                            n_failed.fetch_add(1, Relaxed);
                            println!("{i}: {status} {answer}");
                        }
                    }
                })
            })
            .collect();
        let watch = scope.spawn(|| {
            while !over.load(Relaxed) {
                highest.fetch_max(resident_bytes().unwrap(), Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        clients.into_iter().for_each(|client| client.join().unwrap());
        over.store(true, Relaxed);
        watch.join().unwrap();
    });
    let elapsed = start.elapsed();
    let peak = peak_resident_bytes().unwrap();
    let (_, _, metrics) = server.ask("GET", "/metrics", "", b"");
    let number = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse::<f64>().ok())
    };
    let (hits, lru) = (number("ingle_model_hits_total").unwrap() as usize, hits_of_lru(&sizes, room, &order));
    let swap = |tier: &str, part: &str| {
        number(&format!("ingle_model_swap_seconds{{from={tier:?},quantile={part:?}}}")).map(|s| 1000.0 * s)
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("models of {:.0?} MiB", sizes.iter().map(|&size| mib(size)).collect::<Vec<_>>());
    println!(
        "budget {:.1} MiB, of it {:.1} of the program; peak {:.1}, watched {:.1}: {:+.2} % of the budget",
        mib(budget),
        mib(fixed),
        mib(peak),
        mib(highest.load(Relaxed)),
        100.0 * (peak as f64 / budget as f64 - 1.0)
    );
    println!(
        "{hits} hits of {REQUESTS}, LRU {lru}; {} failed; {:.1} s, slowest {} ms",
        n_failed.load(Relaxed),
        elapsed.as_secs_f64(),
        slowest.load(Relaxed)
    );
    for tier in ["warm", "cold"] {
        println!(
            "swaps from {tier}: {:?}; median {:.2?} ms, p95 {:.2?}, most {:.2?}",
            number(&format!("ingle_model_swap_seconds_count{{from={tier:?}}}")),
            swap(tier, "0.5"),
            swap(tier, "0.95"),
            swap(tier, "1")
        );
    }
    println!(
        "loads {:?}, unmaps {:?}, drops {:?}",
        number("ingle_model_loads_total"),
        number("ingle_model_unmaps_total"),
        number("ingle_model_drops_total")
    );
    assert_eq!(n_failed.load(Relaxed), 0);
    assert!(peak as f64 <= 1.05 * budget as f64, "{peak} of {budget}");
    assert!(hits >= lru, "{hits} hits, LRU {lru}");
    assert!(swap("warm", "0.95").is_none_or(|ms| ms <= 50.0));
}
