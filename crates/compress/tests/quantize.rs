//! Whole files through the quantiser: what another reader makes of them, what threads change (nothing), what is refused.

use std::path::{Path, PathBuf};

use ingle_compress::error::Error;
use ingle_compress::imatrix::Imatrix;
use ingle_compress::mixture::{self, MIXTURES};
use ingle_compress::plan::{ModelInfo, Options, Override, plan};
use ingle_compress::quantize::{NotFinite, PATTERN, Request, estimate, header, hollow, infos, quantize};
use ingle_compress::report::Report;
use ingle_kernel::bytes::Bytes;
use ingle_kernel::par::Pool;
use ingle_kernel::quant;
use ingle_model::file::gguf_write::{Header, Writer};
use ingle_model::file::{Contents, gguf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A file of f32 tensors.
fn file(tensors: &[(&str, &[usize], Vec<f32>)]) -> Contents {
    let mut header = Header::default();
    header.set("general.architecture", "llama").unwrap();
    header.set("split.no", 0u16).unwrap();
    header.set("llama.block_count", 1u32).unwrap();
    for (name, shape, _) in tensors {
        header.add(name, shape, quant::by_name("f32").unwrap()).unwrap();
    }
    let mut writer = Writer::begin(Vec::new(), &header).unwrap();
    for (_, _, values) in tensors {
        writer.write(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    }
    gguf::parse(Bytes::new(writer.finish().unwrap())).unwrap()
}

/// Values like weights, the same on every machine.
fn values(n: usize) -> Vec<f32> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next() + next() * next()).collect()
}

struct How<'a> {
    mixture: &'a str,
    n_threads: usize,
    imatrix: Option<&'a Imatrix>,
    not_finite: NotFinite,
}

fn how(mixture: &str) -> How<'_> {
    How { mixture, n_threads: 2, imatrix: None, not_finite: NotFinite::Refuse }
}

/// A file that `write` writes has the tensors of `whole`; what is encoded there is a pattern of values that no CPU takes longer for.
fn is_the_shape_of(source: &Contents, whole: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    write(&mut bytes);
    let [whole, empty] = [whole.to_vec(), bytes].map(|bytes| gguf::parse(Bytes::new(bytes)).unwrap());
    assert_eq!(whole.tensors().len(), empty.tensors().len());
    for ((a, b), source) in whole.tensors().iter().zip(empty.tensors()).zip(source.tensors()) {
        assert_eq!((&a.name, &a.shape, a.format.name), (&b.name, &b.shape, b.format.name));
        if a.format.name == source.format.name {
            assert!(a.bytes()[..] == b.bytes()[..], "{}", a.name);
        } else {
            assert!(b.bytes().iter().all(|byte| *byte == PATTERN), "{}", a.name);
            let is_usual = |v: &f32| v.is_finite() && (*v == 0.0 || v.is_normal());
            assert!(b.values().iter().all(is_usual), "{}", a.name);
        }
    }
}

fn run(file: &Contents, how: &How<'_>) -> Result<(Vec<u8>, Report), Error> {
    let mixture = mixture::by_name(how.mixture).unwrap();
    let options = Options { has_imatrix: how.imatrix.is_some(), ..Options::default() };
    let plan = plan(&infos(file), &ModelInfo::read(file).unwrap(), mixture, &options).unwrap();
    let header = header(file, mixture, how.imatrix.map(|im| ("im.dat", im))).unwrap();
    let request = Request { plan: &plan, imatrix: how.imatrix, not_finite: how.not_finite };
    let mut out = Vec::new();
    let report = quantize(file, header.clone(), &request, &Pool::new(how.n_threads), &mut out, |_| true)?;
    assert_eq!(out.len() as u64, report.n_file_bytes);
    let estimate = estimate(file, header, &plan).unwrap();
    assert_eq!((estimate.n_file_bytes, estimate.bytes_after), (report.n_file_bytes, report.bytes_after));
    is_the_shape_of(file, &out, |empty| {
        hollow(file, ingle_compress::quantize::header(file, mixture, None).unwrap(), &plan, empty).unwrap();
    });
    Ok((out, report))
}

#[test]
fn a_file_decodes_to_what_another_reader_decodes_and_is_written_as_another_writer_writes_it() {
    let mixed = gguf::parse(Bytes::new(std::fs::read(golden("mixed.gguf")).unwrap())).unwrap();
    assert!(mixed.tensors().len() >= 18);
    let (ours, _) = run(&mixed, &how("F32")).unwrap();
    assert!(ours == std::fs::read(golden("mixed-f32.gguf")).unwrap());
}

#[test]
fn every_mixture_gives_a_file_that_does_not_depend_on_the_threads() {
    // More rows than one run of rows holds, and a stack of matrices.
    let file = file(&[
        ("token_embd.weight", &[256, 600], values(256 * 600)),
        ("output_norm.weight", &[256], values(256)),
        ("blk.0.attn_q.weight", &[256, 64], values(256 * 64)),
        ("blk.0.attn_v.weight", &[96, 8], values(96 * 8)),
        ("blk.0.ffn_down_exps.weight", &[256, 16, 3], values(256 * 16 * 3)),
    ]);
    for m in MIXTURES {
        let (one, report) = run(&file, &How { n_threads: 1, ..how(m.name) }).unwrap();
        let (three, again) = run(&file, &How { n_threads: 3, ..how(m.name) }).unwrap();
        assert!(one == three && report == again, "{}", m.name);
        let made = gguf::parse(Bytes::new(one)).unwrap();
        assert_eq!(made.uint("general.file_type").unwrap(), Some(m.file_type.into()));
        assert_eq!(made.uint("general.quantization_version").unwrap(), Some(2));
        assert!(made.value("split.no").is_none());
        assert_eq!(made.tensor("output_norm.weight").unwrap().format.name, "f32");
        // The measured error is the error.
        let tensor = made.tensor("blk.0.attn_q.weight").unwrap();
        let mut decoded = vec![0.0; 256 * 64];
        (tensor.format.dequantize)(&tensor.bytes(), &mut decoded);
        let (mut error, mut energy) = (0f64, 0f64);
        for (a, b) in values(256 * 64).iter().zip(&decoded) {
            error += f64::from(a - b) * f64::from(a - b);
            energy += f64::from(*a) * f64::from(*a);
        }
        let measured = report.groups.iter().find(|g| g.kind == "attn_q").unwrap().loss;
        let expected = (error / energy).sqrt();
        let close = |m: f64| (m - expected).abs() <= 1e-9 + expected * 1e-5;
        assert!(
            measured.map_or(m.name == "F32", |l| close(l.relative_rmse())),
            "{}: {measured:?} {expected}",
            m.name
        );
    }
}

#[test]
fn importances_lower_the_error_where_they_are_high() {
    let w = values(256 * 32);
    let file = file(&[
        ("blk.0.attn_q.weight", &[256, 32], w.clone()),
        ("blk.0.attn_k.weight", &[256, 32], w.clone()),
    ]);
    // The old format, for attn_q alone; even columns matter.
    let importance: Vec<f32> = (0..256).map(|i| if i % 2 == 0 { 1.0 } else { 0.001 }).collect();
    let mut dat = 1i32.to_le_bytes().to_vec();
    dat.extend(19i32.to_le_bytes());
    dat.extend(b"blk.0.attn_q.weight");
    dat.extend(1i32.to_le_bytes());
    dat.extend(256i32.to_le_bytes());
    dat.extend(importance.iter().flat_map(|v| v.to_le_bytes()));
    let imatrix = Imatrix::parse(&Bytes::new(dat)).unwrap();
    let (bytes, report) = run(&file, &How { imatrix: Some(&imatrix), ..how("Q3_K_S") }).unwrap();
    assert_eq!(report.without_importance, ["blk.0.attn_k.weight"]);
    let made = gguf::parse(Bytes::new(bytes)).unwrap();
    assert_eq!(made.str("quantize.imatrix.file").unwrap(), Some("im.dat"));
    let weighted = |name: &str| {
        let tensor = made.tensor(name).unwrap();
        let mut decoded = vec![0.0; w.len()];
        (tensor.format.dequantize)(&tensor.bytes(), &mut decoded);
        w.iter()
            .zip(&decoded)
            .enumerate()
            .map(|(i, (a, b))| importance[i % 256] * (a - b) * (a - b))
            .sum::<f32>()
    };
    let (with, without) = (weighted("blk.0.attn_q.weight"), weighted("blk.0.attn_k.weight"));
    assert!(with < 0.9 * without, "{with} {without}");
}

#[test]
fn weights_that_are_no_numbers_are_refused_by_name_unless_allowed() {
    for (value, said) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf"), (1e30, "a number that q8_0 can hold")] {
        let mut w = values(256 * 4);
        w[256 * 2 + 5] = value;
        let file = file(&[("blk.0.attn_q.weight", &[256, 4], w)]);
        let error = run(&file, &how("Q8_0")).unwrap_err().to_string();
        assert!(
            error.contains("tensor blk.0.attn_q.weight") && error.contains("row 2") && error.contains(said),
            "{error}"
        );
        let (_, report) = run(&file, &How { not_finite: NotFinite::Allow, ..how("Q8_0") }).unwrap();
        let loss = report.loss();
        assert!(loss.n_not_finite > 0 && loss.relative_rmse() < 0.1, "{loss:?}");
    }
}

#[test]
fn what_keeps_its_format_is_copied_to_the_byte() {
    let file = file(&[
        ("blk.0.attn_q.weight", &[256, 4], values(1024)),
        ("blk.0.attn_norm.weight", &[256], vec![f32::NAN; 256]),
    ]);
    let (bytes, _) = run(&file, &how("Q4_0")).unwrap();
    let made = gguf::parse(Bytes::new(bytes)).unwrap();
    assert_eq!(
        &*made.tensor("blk.0.attn_norm.weight").unwrap().bytes(),
        &*file.tensor("blk.0.attn_norm.weight").unwrap().bytes()
    );
    let (again, report) = run(&made, &how("Q4_0")).unwrap();
    let again = gguf::parse(Bytes::new(again)).unwrap();
    assert_eq!(
        &*again.tensor("blk.0.attn_q.weight").unwrap().bytes(),
        &*made.tensor("blk.0.attn_q.weight").unwrap().bytes()
    );
    assert!(report.groups.iter().all(|g| g.loss.is_none()));
}

#[test]
fn embeddings_per_layer_are_written_for_every_id_of_the_vocabulary() {
    const COLS: usize = 64;
    let of = |table: Vec<f32>| {
        let n_rows = table.len() / COLS;
        file(&[
            ("token_embd.weight", &[COLS, 40], values(40 * COLS)),
            ("per_layer_token_embd.weight", &[COLS, n_rows], table),
            ("blk.0.ffn_up.weight", &[COLS, 33], values(33 * COLS)),
        ])
    };
    let short = values(33 * COLS);
    let whole = [&short[..], &short[..COLS].repeat(7)].concat();
    for mixture in ["F32", "BF16", "Q8_0", "Q4_0"] {
        let (bytes, report) = run(&of(short.clone()), &how(mixture)).unwrap();
        assert!(bytes == run(&of(whole.clone()), &how(mixture)).unwrap().0, "{mixture}");
        assert_eq!(report.n_values as usize, (40 + 40 + 33) * COLS, "{mixture}");
    }
}

#[test]
fn it_stops_when_told_to_and_when_the_stream_is_full() {
    let file = file(&[
        ("blk.0.attn_q.weight", &[256, 4], values(1024)),
        ("blk.0.attn_k.weight", &[256, 4], values(1024)),
    ]);
    let mixture = mixture::by_name("Q4_0").unwrap();
    let options = Options { overrides: vec![Override::parse("attn=q8_0").unwrap()], ..Options::default() };
    let plan = plan(&infos(&file), &ModelInfo::read(&file).unwrap(), mixture, &options).unwrap();
    let request = Request { plan: &plan, imatrix: None, not_finite: NotFinite::Refuse };
    let header = || header(&file, mixture, None).unwrap();
    let pool = Pool::new(1);
    let stopped = quantize(&file, header(), &request, &pool, Vec::new(), |i| i == 0);
    assert!(matches!(stopped, Err(Error::Interrupted)));
    let mut small = [0u8; 600];
    let full = quantize(&file, header(), &request, &pool, &mut small[..], |_| true);
    assert!(matches!(full, Err(Error::Stream(_))));
}
