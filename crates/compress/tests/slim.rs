//! Slimmer models held against the whole one: what stays computes what it did, and what goes is missed least.
//!
//! `cargo test -p ingle-compress --test slim -- --nocapture` prints what was found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ingle_compress::error::Error;
use ingle_compress::slim::cut::Cut;
use ingle_compress::slim::width::{self, Widths};
use ingle_compress::slim::{Progress, Slim, Slimmed, slim};
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::quant::{self, F32};
use ingle_kernel::simd::Kernels;
use ingle_model::config::Config;
use ingle_model::decoder::{LOGITS_ROWS_MAX, Model, Runtime, Scratch, Span};
use ingle_model::file::contents::Piece;
use ingle_model::file::{Contents, Tensor, gguf};
use ingle_model::kv::{self, Kv};
use ingle_model::token::{Parse, Tokenizer};
use ingle_model::walk::Walk;
use ingle_model::weights::Layer;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn open(path: &Path) -> Contents {
    gguf::parse(Bytes::new(std::fs::read(path).unwrap())).unwrap()
}

fn demo() -> Contents {
    open(&root().join("demo/demo-f16.gguf"))
}

/// `n` sequences of a held-out text, from the `first`-th on.
fn text(file: &Contents, first: usize, n: usize) -> Vec<Vec<u32>> {
    const LEN: usize = 128;
    let text = std::fs::read_to_string(root().join("demo/golden/held-out.txt")).unwrap();
    let mut ids = Vec::new();
    let end = (0..=(first + n) * LEN * 8).rev().find(|&i| text.is_char_boundary(i)).unwrap();
    Tokenizer::from_gguf(file).unwrap().encode(&text[..end.min(text.len())], Parse::Text, &mut ids).unwrap();
    let sequences: Vec<Vec<u32>> = ids.chunks_exact(LEN).skip(first).take(n).map(<[u32]>::to_vec).collect();
    assert_eq!(sequences.len(), n);
    sequences
}

/// Tokens for a model without a vocabulary.
fn any_tokens(config: &Config) -> Vec<Vec<u32>> {
    let of = |start: u32, n: u32| (start..start + n).map(|i| i * 7 % config.vocab as u32).collect();
    vec![of(0, 40), of(3, 17)]
}

/// Logits of all tokens, by the decoder.
fn logits(file: &Contents, sequences: &[Vec<u32>]) -> Vec<f32> {
    let (kernels, pool) = (Kernels::detect(), Pool::new(2));
    let model = Model::read(file, &kernels).unwrap();
    let run = Runtime::new(&pool, &kernels);
    let longest = sequences.iter().map(Vec::len).max().unwrap();
    let mut scratch = Scratch::new(&model.config, longest, 2);
    let mut all = Vec::new();
    for tokens in sequences {
        let mut kv = Kv::new(&model.config, kv::format(&model.config, "f32").unwrap(), longest);
        model.forward(&run, &mut [Span::new(&mut kv, tokens)], &mut scratch).unwrap();
        for at in (0..tokens.len()).step_by(LOGITS_ROWS_MAX) {
            let rows = at..tokens.len().min(at + LOGITS_ROWS_MAX);
            all.extend_from_slice(model.logits(&run, rows, &mut scratch));
        }
    }
    all
}

/// Logits of all tokens by the layers `kept` of `file` alone.
fn logits_through(file: &Contents, kept: &[usize], sequences: &[Vec<u32>]) -> Vec<f32> {
    let (kernels, pool) = (Kernels::detect(), Pool::new(1));
    let (config, run) = (Config::read(file).unwrap(), Runtime::new(&pool, &kernels));
    let mut walk = Walk::begin(file, &config, sequences, &run).unwrap();
    for &i in kept {
        let layer = Layer::of(file, &config, i, &kernels).unwrap();
        assert!(walk.through(&layer, i, true, &run, |_| true));
    }
    let mut all = Vec::new();
    walk.logits(file, &run, |_, rows| {
        all.extend_from_slice(rows);
        true
    })
    .unwrap();
    all
}

/// Mean divergence of `model` from `reference`, both `(n_tokens, vocab)`, over the whole vocabulary.
fn kld(reference: &[f32], model: &[f32], vocab: usize) -> f64 {
    let logs = |row: &[f32]| -> Vec<f64> {
        let max = row.iter().copied().fold(f32::MIN, f32::max);
        let sum = row.iter().map(|&l| f64::from(l - max).exp()).sum::<f64>().ln();
        row.iter().map(|&l| f64::from(l - max) - sum).collect()
    };
    let of_token = |(p, q): (&[f32], &[f32])| -> f64 {
        logs(p).iter().zip(logs(q)).map(|(p, q)| p.exp() * (p - q)).sum()
    };
    let n_tokens = reference.len() / vocab;
    reference.chunks_exact(vocab).zip(model.chunks_exact(vocab)).map(of_token).sum::<f64>() / n_tokens as f64
}

fn slim_with(
    file: &Contents,
    parts: Slim,
    sequences: &[Vec<u32>],
    n_threads: usize,
) -> Result<Slimmed, Error> {
    let (pool, kernels) = (Pool::new(n_threads), Kernels::detect());
    let config = Config::read(file)?;
    slim(file, &config, parts, sequences, &Runtime::new(&pool, &kernels), &mut |_| true)
}

const HALF_OF_LAYERS: Slim = Slim { layers: 0.5, ffn: 0.0, heads: 0.0 };

fn kept_layers(slimmed: &Slimmed) -> Vec<usize> {
    let kept = slimmed.contents.ints("ingle.slim.layers").unwrap().unwrap();
    kept.into_iter().map(|i| i as usize).collect()
}

/// The tiny models of every family that there are.
fn families() -> Vec<PathBuf> {
    let dirs = [root().join("crates/model/tests/families"), root().join("../shared/golden/families")];
    let files = dirs.iter().filter(|dir| dir.is_dir()).flat_map(|dir| std::fs::read_dir(dir).unwrap());
    let mut paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "gguf"));
    paths.sort();
    paths
}

/// Why a family can be refused: nothing else may stand against it.
const REASONS: &[&str] = &[
    "going layer by layer",
    "where layers go by their number or by how many there are",
    "layers of another kind",
    "layers that draft",
    "over all heads together",
    "expected one that can go",
];

#[test]
fn layers_go_and_the_others_compute_what_they_did() {
    let (mut slimmed_names, mut refused) = (Vec::new(), BTreeMap::new());
    for path in families() {
        let (name, file) = (path.file_stem().unwrap().to_string_lossy().into_owned(), open(&path));
        let sequences = any_tokens(&Config::read(&file).unwrap());
        match slim_with(&file, HALF_OF_LAYERS, &sequences, 2) {
            Ok(slimmed) => {
                let kept = kept_layers(&slimmed);
                assert_eq!(kept.len(), slimmed.config.layers.len(), "{name}");
                assert!(kept.len() < slimmed.report.n_layers, "{name}");
                let found = logits(&slimmed.contents, &sequences);
                assert!(found == logits_through(&file, &kept, &sequences), "{name}: {kept:?}");
                slimmed_names.push(name);
            }
            Err(why) => {
                let why = why.to_string();
                assert!(REASONS.iter().any(|reason| why.contains(reason)), "{name}: {why}");
                refused.insert(name, why);
            }
        }
    }
    eprintln!("fewer layers: {}", slimmed_names.join(", "));
    refused.iter().for_each(|(name, why)| eprintln!("not {name}: {why}"));
    for name in ["apertus", "gemma", "ernie4_5", "lfm2"] {
        assert!(slimmed_names.iter().any(|slimmed| slimmed == name), "{name}");
    }
}

/// `tensor` with the columns outside `kept` 0.
fn with_zeros(tensor: &Tensor, kept: &[usize]) -> Tensor {
    let mut values = tensor.values();
    for row in values.chunks_exact_mut(tensor.shape[0]) {
        for (_, value) in row.iter_mut().enumerate().filter(|(col, _)| kept.binary_search(col).is_err()) {
            *value = 0.0;
        }
    }
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    Tensor::new(tensor.name.clone(), tensor.shape.clone(), &F32, vec![Piece::InPlace(Bytes::new(bytes))])
}

/// `file` with all that `cut` takes away 0 where it enters a sum.
fn zeroed(file: &Contents, config: &Config, cut: &Cut) -> Contents {
    let mut whole = Contents::new("test");
    for (key, value) in file.keys() {
        whole.set_typed(key, value.clone(), file.value_type(key).unwrap()).unwrap();
    }
    for tensor in file.tensors() {
        let layer =
            tensor.name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let (channels, heads) = (cut.channels.as_ref().zip(layer), cut.kv_heads.as_ref().zip(layer));
        whole
            .add(match (channels, heads) {
                (Some((channels, i)), _) if tensor.name.ends_with("ffn_down.weight") => {
                    with_zeros(tensor, &channels[i])
                }
                (_, Some((heads, i))) if tensor.name.ends_with("attn_output.weight") => {
                    let group_dim = tensor.shape[0] / config.heads().unwrap().n_kv_heads;
                    let kept: Vec<usize> =
                        heads[i].iter().flat_map(|head| head * group_dim..(head + 1) * group_dim).collect();
                    with_zeros(tensor, &kept)
                }
                _ => tensor.clone(),
            })
            .unwrap();
    }
    whole
}

/// Sums are the same but for zeros and their order.
fn assert_close(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let mean = expected.iter().map(|&v| f64::from(v)).sum::<f64>() / expected.len() as f64;
    let spread =
        (expected.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / expected.len() as f64).sqrt();
    let worst =
        found.iter().zip(expected).map(|(&a, &b)| f64::from((a - b).abs())).fold(0.0, f64::max) / spread;
    eprintln!("{name}: largest difference {worst:.1e} of the spread");
    assert!(worst < 5e-5, "{name}: {worst:.1e}");
}

#[test]
fn channels_and_heads_go_as_if_they_gave_nothing() {
    let mut taken = BTreeMap::new();
    for path in families() {
        let (name, file) = (path.file_stem().unwrap().to_string_lossy().into_owned(), open(&path));
        let config = Config::read(&file).unwrap();
        let sequences = any_tokens(&config);
        for (what, parts) in [
            ("ffn", Slim { layers: 0.0, ffn: 0.6, heads: 0.0 }),
            ("heads", Slim { layers: 0.0, ffn: 0.0, heads: 0.5 }),
        ] {
            let name = format!("{name} {what}");
            let refused = match slim_with(&file, parts, &sequences, 2) {
                Ok(slimmed) => {
                    // The same choice once more, to know what was chosen.
                    let widths = Widths::plan(&config, parts).unwrap();
                    let mut cut = Cut::nothing(config.layers.len());
                    let (pool, kernels) = (Pool::new(1), Kernels::detect());
                    let run = Runtime::new(&pool, &kernels);
                    width::choose(&file, &config, &widths, &mut cut, &sequences, &run, &mut |_| true)
                        .unwrap();
                    let expected = logits(&zeroed(&file, &config, &cut), &sequences);
                    assert_close(&name, &logits(&slimmed.contents, &sequences), &expected);
                    None
                }
                Err(why) => {
                    let why = why.to_string();
                    let small = why.contains("to go at least") || why.contains("expected one to go");
                    assert!(small || REASONS.iter().any(|reason| why.contains(reason)), "{name}: {why}");
                    Some(why)
                }
            };
            taken.insert(name, refused);
        }
    }
    for (name, why) in &taken {
        eprintln!("{name}: {}", why.as_deref().unwrap_or("taken"));
    }
    for name in ["command-r heads", "cohere2 heads"] {
        assert!(taken[name].is_none(), "{name}");
    }
}

/// Greedy by measured divergence beats layers taken at random on text that it was not measured on, and finds what a test finds that
/// decodes every choice.
#[test]
fn the_layers_that_go_are_missed_least() {
    let file = demo();
    let config = Config::read(&file).unwrap();
    let (n_layers, vocab) = (config.layers.len(), config.vocab);
    let (read, kept_back) = (text(&file, 0, 4), text(&file, 8, 3));
    let slimmed =
        slim_with(&file, Slim { layers: 2.0 / n_layers as f64, ffn: 0.0, heads: 0.0 }, &read, 2).unwrap();
    let depth = slimmed.report.depth.as_ref().unwrap();
    let divergence = |sequences: &[Vec<u32>], gone: &[usize]| {
        let cut = Cut { layers: (0..n_layers).filter(|i| !gone.contains(i)).collect(), ..Cut::nothing(0) };
        let (cut, _) = cut.apply(&file, &config).unwrap();
        kld(&logits(&file, sequences), &logits(&cut, sequences), vocab)
    };
    // What counts as one among those far behind hides little.
    for &(i, found) in &depth.rounds[0].tried {
        let exact = divergence(&read, &[i]);
        assert!(found <= exact * 1.0001 && found > exact * 0.95, "layer {i}: {found}, in full {exact}");
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len() as f64;
    let singles: Vec<f64> = (0..n_layers).map(|i| divergence(&kept_back, &[i])).collect();
    let pairs = (0..n_layers).flat_map(|a| (a + 1..n_layers).map(move |b| [a, b]));
    let pairs: Vec<f64> = pairs.map(|pair| divergence(&kept_back, &pair)).collect();
    let gone: Vec<usize> = depth.rounds.iter().map(|round| round.layer).collect();
    let [one, two] = [divergence(&kept_back, &gone[..1]), divergence(&kept_back, &gone)];
    eprintln!("layers {gone:?}; influence {:.3?}", depth.influence);
    eprintln!(
        "without one {one:.3}, mean of all {:.3}; without two {two:.3}, mean of all {:.3}",
        mean(&singles),
        mean(&pairs)
    );
    assert!(one < mean(&singles) && two < mean(&pairs));
}

#[test]
fn threads_change_nothing() {
    let file = demo();
    let sequences = text(&file, 0, 2);
    let parts = Slim { layers: 0.2, ffn: 0.2, heads: 0.5 };
    let [one, three] = [1, 3].map(|n| slim_with(&file, parts, &sequences, n).unwrap());
    assert_eq!(one.report, three.report);
    assert_eq!(one.report.width.unwrap().ffn, Some([512, 416]));
    assert_eq!(one.report.width.unwrap().kv_heads, Some([2, 1]));
    for (a, b) in one.contents.tensors().iter().zip(three.contents.tensors()) {
        assert!(a.name == b.name && a.shape == b.shape && *a.bytes() == *b.bytes(), "{}", a.name);
    }
    // A file of another number of heads says how wide they are.
    Model::read(&one.contents, &Kernels::detect()).unwrap();
}

#[test]
fn what_cant_be_is_refused_in_a_sentence() {
    let file = demo();
    let sequences = text(&file, 0, 1);
    let refused = |file: &Contents, [layers, ffn, heads]: [f64; 3], sequences: &[Vec<u32>]| {
        slim_with(file, Slim { layers, ffn, heads }, sequences, 1).unwrap_err().to_string()
    };
    for (parts, said) in [
        ([0.0; 3], "one of them above 0"),
        ([1.0, 0.0, 0.0], "from 0 to below 1"),
        ([0.0, 0.01, 0.0], "5 of 512 channels"),
        ([0.0, 0.0, 0.3], "of 2 key and value heads"),
    ] {
        let why = refused(&file, parts, &sequences);
        assert!(why.contains(said), "{why}");
    }
    assert!(refused(&file, [0.5, 0.0, 0.0], &[]).contains("no tokens"));
    // Of a matrix in blocks no columns can go, but layers can.
    let q8_0 = quant::by_name("q8_0").unwrap();
    let blocks = open(&root().join("demo/demo.gguf"));
    assert!(blocks.tensors().iter().any(|t| t.format == q8_0 || t.format.block > 1));
    let why = refused(&blocks, [0.0, 0.2, 0.0], &sequences);
    assert!(why.contains("ffn_down.weight") && why.contains("f32, f16 or bf16"), "{why}");
    slim_with(&blocks, HALF_OF_LAYERS, &sequences, 1).unwrap();
}

#[test]
fn the_work_stops_when_it_is_told_to() {
    let file = demo();
    let (pool, kernels, config) = (Pool::new(1), Kernels::detect(), Config::read(&file).unwrap());
    let run = Runtime::new(&pool, &kernels);
    let sequences = text(&file, 0, 1);
    let parts = Slim { layers: 0.2, ffn: 0.2, heads: 0.0 };
    for at in [0, 5, 30] {
        let mut left = at;
        let stopped = slim(&file, &config, parts, &sequences, &run, &mut |_: Progress| {
            left -= 1;
            left >= 0
        });
        assert!(matches!(stopped, Err(Error::Interrupted)), "{at}");
    }
}
