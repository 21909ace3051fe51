//! What a test found: llama-bench's fields under its names, then ours. `docs/bench.md` says what each means.

use ingle_compress::evaluate::estimate::Moments;
use ingle_engine::session::Session;
use ingle_kernel::quant;
use ingle_model::cost::{Products, WeightCost, state_bytes};
use serde::Serialize;

use super::limits::Limits;
use super::table::{Column, figure, maybe, percent};
use super::test::{Test, Work};

/// One test's result. What could not be measured is absent.
#[derive(Debug, Serialize)]
pub struct Row {
    pub engine: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_info: Option<String>,
    pub model_filename: String,
    pub model_type: String,
    pub model_size: u64,
    pub model_n_params: u64,
    pub n_batch: usize,
    pub n_ubatch: usize,
    pub n_threads: usize,
    pub type_k: String,
    pub type_v: String,
    pub n_prompt: usize,
    pub n_gen: usize,
    pub n_depth: usize,
    pub avg_ns: u64,
    pub stddev_ns: u64,
    pub avg_ts: f64,
    pub stddev_ts: f64,
    pub samples_ns: Vec<u64>,
    pub samples_ts: Vec<f64>,
    /// The name of the test.
    pub test: String,
    pub tier: &'static str,
    pub file_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss: Option<u64>,
    /// Tokens of the step, of tests of one step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n_step: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_ms: Option<f64>,
    /// Time of the step by that of a step of one token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_token: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gb_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_limit_gb_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_limit_after_gb_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_read: Option<f64>,
    pub gop_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub int8_limit_gop_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub f32_limit_gop_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_of_peak: Option<f64>,
}

/// What was measured of one test.
pub struct Measured {
    pub samples_ns: Vec<f64>,
    pub limits: Limits,
    /// Bytes per second, once it was over.
    pub read_after: Option<f64>,
    pub peak_rss: Option<u64>,
}

impl Row {
    /// The row of `test` in `session`, whose cache is in the format called `kv`.
    pub fn new(test: &Test, session: &Session, kv: &str, measured: Measured) -> Self {
        let Measured { samples_ns, limits, read_after, peak_rss } = measured;
        let loaded = session.loaded();
        let run = loaded.runtime(&[]);
        let (contents, config) = (loaded.file.contents(), &loaded.model.config);
        let tensors = contents.tensors();

        let n_tokens = test.n_tokens() as f64;
        let (mut ns, mut ts) = (Moments::default(), Moments::default());
        samples_ns.iter().for_each(|&x| ns.push(x));
        let samples_ts: Vec<f64> = samples_ns.iter().map(|ns| n_tokens / ns * 1e9).collect();
        samples_ts.iter().for_each(|&x| ts.push(x));
        let seconds = ns.mean().value / 1e9;

        let cost = WeightCost::of(contents, config, run.kernels);
        let format = quant::by_name(kv).expect("a format of caches");
        let steps = test.steps(session.chunk());
        let step_bytes = |at: &std::ops::Range<usize>| {
            Some(cost.step_bytes(at.len())? + state_bytes(config, format, at.clone()))
        };
        let bytes: Option<u64> = steps.iter().map(|(at, _)| step_bytes(at)).sum();
        let bytes_per_s = bytes.map(|bytes| bytes as f64 / seconds);
        let products: Vec<Products> = steps.iter().map(|(at, n)| cost.products(at.len(), *n)).collect();
        let ops = |of: fn(&Products) -> u64| 2.0 * products.iter().map(of).sum::<u64>() as f64;
        let (int8, f32) = (ops(|p| p.int8), ops(|p| p.f32));

        let giga = |x: Option<f64>| x.map(|x| x / 1e9);
        Self {
            engine: concat!("ingle ", env!("CARGO_PKG_VERSION")),
            cpu_info: cpu_info(),
            model_filename: loaded.file.name().to_owned(),
            model_type: model_type(session),
            model_size: tensors.iter().map(|t| t.n_bytes() as u64).sum(),
            model_n_params: tensors.iter().map(|t| t.n_values() as u64).sum(),
            n_batch: session.chunk(),
            n_ubatch: session.chunk(),
            n_threads: loaded.n_threads(),
            type_k: kv.to_owned(),
            type_v: kv.to_owned(),
            n_prompt: test.n_prompt(),
            n_gen: test.n_gen(),
            n_depth: test.depth,
            avg_ns: ns.mean().value as u64,
            stddev_ns: ns.std_dev() as u64,
            avg_ts: ts.mean().value,
            stddev_ts: ts.std_dev(),
            samples_ns: samples_ns.iter().map(|&ns| ns as u64).collect(),
            samples_ts,
            test: test.name(),
            tier: loaded.tier(),
            file_size: loaded.file.n_bytes(),
            peak_rss,
            n_step: if let Work::Step(n) = test.work { Some(n) } else { None },
            step_ms: match test.work {
                Work::Step(_) => Some(seconds * 1e3),
                Work::Generate(n) => Some(seconds * 1e3 / n as f64),
                Work::Prompt(_) | Work::Both(..) => None,
            },
            step_ratio: None,
            bytes_per_token: bytes.map(|bytes| bytes as f64 / n_tokens),
            gb_per_s: giga(bytes_per_s),
            read_limit_gb_per_s: giga(limits.read),
            read_limit_after_gb_per_s: giga(read_after),
            share_of_read: bytes_per_s.zip(limits.read).map(|(rate, limit)| rate / limit),
            gop_per_s: (int8 + f32) / seconds / 1e9,
            int8_limit_gop_per_s: giga(limits.int8),
            f32_limit_gop_per_s: giga(limits.f32),
            share_of_peak: least_seconds((int8, limits.int8), (f32, limits.f32)).map(|least| least / seconds),
        }
    }

    /// Whether the read bandwidth was another when the test ended.
    pub fn is_doubtful(&self) -> bool {
        let both = self.read_limit_gb_per_s.zip(self.read_limit_after_gb_per_s);
        both.is_some_and(|(before, after)| (after / before - 1.0).abs() > DRIFT)
    }

    /// Whether `other` is the same test but for the tokens of its step.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.n_threads, self.n_depth, &self.type_k) == (other.n_threads, other.n_depth, &other.type_k)
    }
}

/// Seconds that so many operations take at the limits; `None` where there is no limit for some.
fn least_seconds(int8: (f64, Option<f64>), f32: (f64, Option<f64>)) -> Option<f64> {
    let seconds = |(ops, limit): (f64, Option<f64>)| if ops > 0.0 { Some(ops / limit?) } else { Some(0.0) };
    Some(seconds(int8)? + seconds(f32)?)
}

/// Family, size and the format of most bytes: `qwen3 596M q4_0`.
fn model_type(session: &Session) -> String {
    let loaded = session.loaded();
    let tensors = loaded.file.contents().tensors();
    let bytes_of =
        |name: &str| -> usize { tensors.iter().filter(|t| t.format.name == name).map(|t| t.n_bytes()).sum() };
    let most = quant::names().max_by_key(|name| bytes_of(name)).unwrap_or_default();
    let n: usize = tensors.iter().map(|t| t.n_values()).sum();
    let size = match n as f64 {
        n if n >= 999.5e6 => format!("{:.2}B", n / 1e9),
        n if n >= 999.5e3 => format!("{:.0}M", n / 1e6),
        n => format!("{:.0}K", n / 1e3),
    };
    format!("{} {size} {most}", loaded.model.config.family.name)
}

/// What the system calls the CPU.
fn cpu_info() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// A change of the read bandwidth, while a test ran, that makes its share doubtful.
const DRIFT: f64 = 0.1;

/// The columns for people.
pub static COLUMNS: &[Column<Row>] = &[
    Column { head: "test", cell: |r| r.test.clone() },
    Column { head: "thr", cell: |r| r.n_threads.to_string() },
    Column { head: "kv", cell: |r| r.type_k.clone() },
    Column { head: "tok/s", cell: |r| figure(r.avg_ts) },
    Column { head: "±", cell: |r| if r.samples_ts.len() > 1 { figure(r.stddev_ts) } else { String::new() } },
    Column { head: "ms", cell: |r| maybe(r.step_ms) },
    Column { head: "x 1", cell: |r| maybe(r.step_ratio) },
    Column { head: "MB/tok", cell: |r| maybe(r.bytes_per_token.map(|bytes| bytes / 1e6)) },
    Column {
        head: "read",
        cell: |r| if r.is_doubtful() { "~" } else { "" }.to_owned() + &percent(r.share_of_read),
    },
    Column { head: "peak", cell: |r| percent(r.share_of_peak) },
    Column { head: "RSS", cell: |r| r.peak_rss.map(|bytes| format!("{}M", bytes >> 20)).unwrap_or_default() },
];
