//! Evaluation of real models: the built-in one, and stories260K where the reference data lies beside the checkout.
//!
//! Figures are held against sums over whole rows in float64, written down here a second time; the compact base against the
//! exact divergence. `cargo test -p ingle-compress --test evaluate -- --nocapture` prints what the compact form costs.

use std::path::Path;

use ingle_compress::evaluate::compact::{CompactBase, N_BEST, N_DRAWN, Writer};
use ingle_compress::evaluate::protocol::{HALF, Protocol, Text, WHOLE};
use ingle_compress::evaluate::scores::Scores;
use ingle_compress::evaluate::{Predict, divergence, full, read, windows};
use ingle_compress::mixture;
use ingle_compress::plan::{ModelInfo, Options, plan};
use ingle_compress::quantize::{NotFinite, Request, header, infos, quantize};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::simd::Kernels;
use ingle_model::decoder::{LOGITS_ROWS_MAX, Model, Runtime, Scratch, Span};
use ingle_model::file::{Contents, gguf};
use ingle_model::kv::{self, Kv};
use ingle_model::token::{Parse, Tokenizer};

const CTX: usize = 256;

/// A decoder without an engine.
struct Decoder {
    model: Model,
    pool: Pool,
    kernels: Kernels,
}

impl Decoder {
    fn new(file: &Contents) -> Self {
        let kernels = Kernels::detect();
        Self { model: Model::read(file, &kernels).unwrap(), pool: Pool::new(2), kernels }
    }
}

impl Predict for Decoder {
    type Error = String;

    fn predict(
        &mut self,
        tokens: &[u32],
        first: usize,
        row: &mut dyn FnMut(&[f32]) -> Result<(), String>,
    ) -> Result<(), String> {
        let config = &self.model.config;
        let run = Runtime::new(&self.pool, &self.kernels);
        let mut kv = Kv::new(config, kv::format(config, "f16").unwrap(), tokens.len());
        let mut scratch = Scratch::new(config, tokens.len(), 2);
        self.model.forward(&run, &mut [Span::new(&mut kv, tokens)], &mut scratch).unwrap();
        for at in (first..tokens.len()).step_by(LOGITS_ROWS_MAX) {
            let rows = at..tokens.len().min(at + LOGITS_ROWS_MAX);
            let logits = self.model.logits(&run, rows, &mut scratch);
            logits.chunks_exact(config.vocab).try_for_each(&mut *row)?;
        }
        Ok(())
    }
}

fn parse(bytes: Vec<u8>) -> Contents {
    gguf::parse(Bytes::new(bytes)).unwrap()
}

fn quantized(file: &Contents, mixture: &str) -> Contents {
    let mixture = mixture::by_name(mixture).unwrap();
    let plan = plan(&infos(file), &ModelInfo::read(file).unwrap(), mixture, &Options::default()).unwrap();
    let request = Request { plan: &plan, imatrix: None, not_finite: NotFinite::Refuse };
    let mut out = Vec::new();
    let header = header(file, mixture, None).unwrap();
    quantize(file, header, &request, &Pool::new(2), &mut out, |_| true).unwrap();
    parse(out)
}

/// A model in full precision, its text, and how its vocabulary begins one.
struct Subject {
    name: &'static str,
    file: Contents,
    text: String,
    bos: Option<u32>,
    /// What it is quantised to. (stories260K's rows hold no superblocks.)
    mixtures: &'static [&'static str],
}

impl Subject {
    fn new(name: &'static str, model: &Path, text: &Path, mixtures: &'static [&'static str]) -> Self {
        let file = parse(std::fs::read(model).unwrap());
        let tokenizer = Tokenizer::from_gguf(&file).unwrap();
        let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
        Self { name, file, text: std::fs::read_to_string(text).unwrap(), bos, mixtures }
    }

    fn cut(&self, protocol: &'static Protocol, n_windows: usize) -> Text {
        let mut ids = Vec::from_iter(self.bos);
        // Enough of it; encoding takes longer than what is measured.
        let end =
            (0..=(n_windows * CTX * 8).min(self.text.len())).rev().find(|&i| self.text.is_char_boundary(i));
        let tokenizer = Tokenizer::from_gguf(&self.file).unwrap();
        tokenizer.encode(&self.text[..end.unwrap()], Parse::Text, &mut ids).unwrap();
        let text = Text::new(protocol, CTX, ids, n_windows);
        assert_eq!(text.n_windows(), n_windows);
        text
    }
}

/// The built-in model, and stories260K where it is.
fn subjects() -> Vec<Subject> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = root.join("demo/golden/held-out.txt");
    let mixtures = &["Q8_0", "Q4_0", "Q2_K"];
    let mut subjects = vec![Subject::new("demo", &root.join("demo/demo-f16.gguf"), &text, mixtures)];
    let shared = root.join("../shared");
    let stories = shared.join("models/stories260K.gguf");
    if stories.is_file() {
        let text = shared.join("data/text/tinystories.txt");
        subjects.push(Subject::new("stories260K", &stories, &text, &["Q8_0", "Q4_0"]));
    } else {
        eprintln!("stories260K is not beside the checkout and was left out");
    }
    subjects
}

/// All logits of the scored positions, and the true tokens.
fn rows(file: &Contents, text: &Text, bos: Option<u32>) -> Vec<(Vec<f32>, u32)> {
    let mut rows = Vec::new();
    let row = |logits: &[f32], id| {
        rows.push((logits.to_vec(), id));
        Ok(())
    };
    read(text, bos, &mut Decoder::new(file), row, |_| Ok(())).unwrap();
    rows
}

/// Log-probabilities in float64.
fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|&l| (f64::from(l) - f64::from(max)).exp()).sum();
    logits.iter().map(|&l| f64::from(l) - f64::from(max) - sum.ln()).collect()
}

fn exact_kld(reference: &[f64], model: &[f64]) -> f64 {
    reference.iter().zip(model).map(|(p, q)| p.exp() * (p - q)).sum()
}

fn near(got: f64, want: f64, share: f64) {
    assert!((got - want).abs() <= share * want.abs(), "{got}, expected {want}");
}

#[test]
fn perplexity_is_what_the_definition_says_in_both_protocols() {
    for subject in subjects() {
        for protocol in [&HALF, &WHOLE] {
            let text = subject.cut(protocol, 3);
            let mut scores = Scores::new(text.per_window());
            let row = |logits: &[f32], id| {
                scores.push(divergence::nll(logits, id));
                Ok(())
            };
            read(&text, subject.bos, &mut Decoder::new(&subject.file), row, |_| Ok(())).unwrap();
            // By the definition: each window read whole, and each prediction looked up.
            let (mut sum, mut n) = (0.0, 0);
            for window in text.tokens.chunks_exact(CTX) {
                let mut fed = window.to_vec();
                if protocol.name == "half" {
                    fed[0] = subject.bos.unwrap_or(fed[0]);
                }
                let mut all = Vec::new();
                let row = &mut |logits: &[f32]| {
                    all.push(log_softmax(logits));
                    Ok(())
                };
                Decoder::new(&subject.file).predict(&fed, 0, row).unwrap();
                let first = if protocol.name == "half" { CTX / 2 + 1 } else { 1 };
                for at in first..CTX {
                    sum -= all[at - 1][window[at] as usize];
                    n += 1;
                }
            }
            assert_eq!(scores.n_tokens(), n);
            near(scores.perplexity().value, (sum / f64::from(n as u32)).exp(), 1e-9);
        }
    }
}

#[test]
fn divergence_is_what_the_definition_says_and_the_compact_base_nearly() {
    for subject in subjects() {
        let text = subject.cut(&HALF, 12);
        let reference = rows(&subject.file, &text, subject.bos);
        let n_vocab = reference[0].0.len();
        let exact_rows: Vec<Vec<f64>> = reference.iter().map(|(l, _)| log_softmax(l)).collect();

        let mut full_file = full::Writer::begin(&text, n_vocab, Vec::new()).unwrap();
        reference.iter().for_each(|(logits, id)| full_file.push(logits, *id).unwrap());
        let full_file = full_file.finish().unwrap();
        let shapes = [(N_BEST, N_DRAWN), (N_BEST, 0), (32, 0), (32, N_DRAWN)];
        let bases = shapes.map(|(n_best, n_drawn)| {
            let mut writer = Writer::new(&text, n_vocab, subject.name, n_best, n_drawn);
            reference.iter().for_each(|(logits, id)| writer.push(logits, *id));
            let file = writer.finish();
            let row_bytes = file.len() / text.n_scored();
            assert!(n_best < N_BEST || row_bytes <= 600, "{row_bytes}");
            (n_best, n_drawn, row_bytes, CompactBase::parse(Bytes::new(file)).unwrap())
        });

        for mixture in subject.mixtures {
            let model = rows(&quantized(&subject.file, mixture), &text, subject.bos);
            let exact: Vec<f64> = model
                .iter()
                .zip(&exact_rows)
                .map(|((logits, _), reference)| exact_kld(reference, &log_softmax(logits)))
                .collect();
            let off = |got: f64, want: f64| 100.0 * (got / want - 1.0);
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;

            let mut scores = Scores::new(text.per_window());
            let mut reader = full::Reader::begin(std::io::Cursor::new(&full_file)).unwrap().unwrap();
            model.iter().for_each(|(l, id)| scores.push_position(reader.compare(l, *id).unwrap()));
            let whole = scores.divergence().unwrap();
            near(whole.kld.mean.value, mean(&exact), 1e-2);
            let exact_median = windows::quantile(&exact, text.per_window(), 0.5);
            let exact_p99 = windows::quantile(&exact, text.per_window(), 0.99);
            eprintln!(
                "{:12} {mixture:5} exactly mean {:.4e}, median {:.4e}; llama.cpp's form {:+.2} %, {:+.2} %",
                subject.name,
                mean(&exact),
                exact_median.value,
                off(whole.kld.mean.value, mean(&exact)),
                off(whole.kld.median.value, exact_median.value),
            );
            let same =
                model.iter().zip(&reference).filter(|(m, r)| divergence::top(&m.0) == divergence::top(&r.0));
            near(whole.top1.value, same.count() as f64 / model.len() as f64, 1e-12);

            for (n_best, n_drawn, row_bytes, base) in &bases {
                let mut scores = Scores::new(text.per_window());
                let mut reader = base.reader();
                model.iter().for_each(|(l, id)| scores.push_position(reader.compare(l, *id).unwrap()));
                let d = scores.divergence().unwrap();
                eprintln!(
                    "{:12} {mixture:5} {n_best:3} best, {n_drawn} drawn, {row_bytes:3} bytes: mean {:.6e} ({:+.2} %), median {:+.2} %, 99 % {:+.2} %",
                    subject.name,
                    d.kld.mean.value,
                    off(d.kld.mean.value, mean(&exact)),
                    off(d.kld.median.value, exact_median.value),
                    off(d.kld.p99.value, exact_p99.value),
                );
                if *n_best == N_BEST {
                    let share = if *n_drawn > 0 { 0.03 } else { 0.15 };
                    near(d.kld.mean.value, mean(&exact), share);
                }
                assert_eq!((d.top1, d.ppl_base.value), (whole.top1, whole.ppl_base.value));
                near(d.ppl_ratio.value, whole.ppl_ratio.value, 1e-6);
                near(d.rms_delta_p.value, whole.rms_delta_p.value, 1e-6);
            }
        }
    }
}
