//! Logits of tiny models of every family against an independent float64 reference, for every tier, chunk and number of
//! threads; and the law that none of these changes a bit.
//!
//! The models are those in `tests/families`, made by its scripts with other libraries' arithmetic, and those beside the
//! repository (`../shared/golden/families`) where they are. What was measured is written into `docs/models.md` by
//! `UPDATE_DOCS=1 cargo test -p ingle-model --test families`; its table must list every family of the shelf.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Tiny, golden_models};
use ingle_kernel::simd::Kernels;
use ingle_model::arch::FAMILIES;

/// Largest difference allowed, in standard deviations of the reference logits.
const TOLERANCE: f64 = 5e-5;
/// Positions of the sequence's cache: LongRoPE chooses its factors by them.
const CTX: usize = 256;

#[test]
fn logits_agree_with_float64_for_every_tier_chunk_and_thread_count() {
    let mut measured: BTreeMap<&str, Measured> = BTreeMap::new();
    for path in golden_models() {
        let tokens = std::fs::read_to_string(path.with_file_name("tokens.txt")).unwrap();
        let tokens: Vec<u32> = tokens.split_whitespace().map(|t| t.parse().unwrap()).collect();
        let reference: Vec<f64> = std::fs::read(path.with_extension("f32"))
            .unwrap()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&b| f64::from(f32::from_le_bytes(b)))
            .collect();
        let n = reference.len() as f64;
        let mean = reference.iter().sum::<f64>() / n;
        let spread = (reference.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        for tier in Kernels::names() {
            let model = Tiny::open(&path, Some(tier));
            let name = &model.name;
            let whole = model.logits(&tokens, CTX, tokens.len(), 1);
            assert_eq!(whole.len(), reference.len(), "{name}");
            let worst =
                whole.iter().zip(&reference).map(|(&a, &b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
            eprintln!("{name}, {tier}: largest difference {:.2e} of the spread", worst / spread);
            assert!(worst <= TOLERANCE * spread, "{name}, {tier}: {:.2e} of the spread", worst / spread);
            measured.entry(model.model.config.family.name).or_default().add(&path, worst / spread);
            for (n_threads, chunk) in [(1, 1), (1, 7), (2, 1), (2, 7), (2, 512)] {
                let same = model.logits(&tokens, CTX, chunk, n_threads) == whole;
                assert!(same, "{name}, {tier}: {n_threads} threads and chunk {chunk} change the logits");
            }
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        write_docs(&measured);
    }
}

/// What a family was held against.
#[derive(Default)]
struct Measured {
    against: Vec<&'static str>,
    worst: f64,
}

impl Measured {
    fn add(&mut self, model: &Path, error: f64) {
        let here = model.with_extension("py").is_file();
        let reference = if here { "the transformers library" } else { "a decoder in numpy, and llama.cpp" };
        if !self.against.contains(&reference) {
            self.against.push(reference);
        }
        self.worst = self.worst.max(error);
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md")
}

/// The row of a family up to what was measured.
fn row_start(family: &ingle_model::arch::Family) -> String {
    format!("| `{}` | {} | {} |", family.name, family.covers, family.source)
}

fn write_docs(measured: &BTreeMap<&str, Measured>) {
    let found = std::fs::read_to_string(docs()).expect("docs/models.md is in the repository");
    let mut table = String::from(
        "| family | published models | arithmetic by | checked in float64 against | largest error seen |\n|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let (against, worst) = match measured.get(family.name) {
            Some(m) => (m.against.join("; "), format!("{:.1e}", m.worst)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        table += &format!("{} {against} | {worst} |\n", row_start(family));
    }
    let (start, end) = ("<!-- families -->\n", "<!-- end -->");
    let from = found.find(start).expect("the mark is there") + start.len();
    let to = from + found[from..].find(end).expect("the end is marked");
    std::fs::write(docs(), format!("{}{table}{}", &found[..from], &found[to..]))
        .expect("docs/models.md can be written");
}

#[test]
fn the_table_of_models_lists_the_shelf_and_what_was_measured() {
    let found = std::fs::read_to_string(docs()).expect("docs/models.md is in the repository");
    for family in FAMILIES {
        let start = row_start(family);
        let row = found.lines().find(|line| line.starts_with(&start));
        let row =
            row.unwrap_or_else(|| panic!("docs/models.md has no row {start}; see the head of this test"));
        let error = row.trim_end_matches(" |").rsplit(' ').next().expect("a column");
        let error: f64 = error.parse().unwrap_or_else(|_| panic!("{} was not measured", family.name));
        assert!(error <= TOLERANCE, "{row}");
    }
    let rows = found.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, FAMILIES.len(), "docs/models.md lists what is not on the shelf");
}
