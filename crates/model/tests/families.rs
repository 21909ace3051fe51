//! Logits of tiny models of every family against an independent float64 reference, for every tier, chunk and number of
//! threads; and the law that none of these changes a bit.
//!
//! The models are those in `tests/families`, made by its scripts with other libraries' arithmetic, and those beside the
//! repository (`../shared/golden/families`) where they are. What was measured is written into `docs/models.md` by
//! `UPDATE_DOCS=1 cargo test -p ingle-model --test families`, folders included; its table must list every family of the shelf.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Reference, TOLERANCE, Tiny, golden_folders, golden_models, import, tolerance};
use ingle_kernel::simd::Kernels;
use ingle_model::arch::FAMILIES;
use ingle_model::file::folder::model_type::MODEL_TYPES;

#[test]
fn logits_agree_with_float64_for_every_tier_chunk_and_thread_count() {
    let mut measured: BTreeMap<&str, Measured> = BTreeMap::new();
    for path in golden_models() {
        let reference = Reference::read(&path);
        let (tokens, ctx) = (&reference.tokens[..], reference.ctx);
        for tier in Kernels::names() {
            let model = Tiny::open(&path, Some(tier));
            let name = &model.name;
            let whole = model.logits(tokens, ctx, tokens.len(), 1);
            let worst = reference.worst(&whole);
            eprintln!("{name}, {tier}: largest difference {worst:.2e} of the spread");
            assert!(worst <= TOLERANCE, "{name}, {tier}: {worst:.2e} of the spread");
            measured.entry(model.model.config.family.name).or_default().add(&path, worst);
            for (n_threads, chunk) in [(1, 1), (1, 7), (2, 1), (2, 7), (2, 512)] {
                let same = model.logits(tokens, ctx, chunk, n_threads) == whole;
                assert!(same, "{name}, {tier}: {n_threads} threads and chunk {chunk} change the logits");
            }
            for n in [1, 3] {
                let last = &whole[whole.len() - n * model.vocab()..];
                let same = model.last_logits(tokens, ctx, n) == last;
                assert!(same, "{name}, {tier}: leaving out what {n} tokens don't need changes their logits");
            }
        }
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        measure_folders(&mut measured);
        write_docs(&measured);
    }
}

/// What a family was held against.
#[derive(Default)]
struct Measured {
    against: Vec<&'static str>,
    worst: f64,
    /// Of models out of folders.
    folders: f64,
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

/// The errors of models out of folders, in float formats: others quantise activations.
fn measure_folders(measured: &mut BTreeMap<&str, Measured>) {
    for (path, files) in golden_folders() {
        let (file, reference) = (import(&path), Reference::read(&files));
        for tier in Kernels::names().filter(|tier| tolerance(&file, tier) == TOLERANCE) {
            let model = Tiny::new(&path.display().to_string(), &file, Some(tier));
            let tokens = &reference.tokens;
            let worst = reference.worst(&model.logits(tokens, reference.ctx, tokens.len(), 1));
            let of_family = measured.entry(model.model.config.family.name).or_default();
            of_family.folders = of_family.folders.max(worst);
        }
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md")
}

/// The row of a family up to what was measured.
fn row_start(family: &ingle_model::arch::Family) -> String {
    format!("| `{}` | {} | {} | {} |", family.name, family.covers, family.source, model_types(family.name))
}

/// What folders of a family say as their `model_type`.
fn model_types(family: &str) -> String {
    let of_family = MODEL_TYPES.iter().filter(|model| model.family == family);
    let mut names: Vec<String> =
        of_family.flat_map(|model| model.names).map(|name| format!("`{name}`")).collect();
    names.dedup();
    if names.is_empty() { "-".to_owned() } else { names.join(", ") }
}

fn write_docs(measured: &BTreeMap<&str, Measured>) {
    let found = std::fs::read_to_string(docs()).expect("docs/models.md is in the repository");
    let mut table = String::from(
        "| family | published models | arithmetic by | folders' `model_type` | checked in float64 against | largest error seen | from a folder |\n|---|---|---|---|---|---|---|\n",
    );
    for family in FAMILIES {
        let m = measured.get(family.name);
        let against = m.map_or_else(|| "-".to_owned(), |m| m.against.join("; "));
        let error = |of: fn(&Measured) -> f64| {
            m.map(of).filter(|&e| e > 0.0).map_or_else(|| "-".to_owned(), |e| format!("{e:.1e}"))
        };
        let (worst, folders) = (error(|m| m.worst), error(|m| m.folders));
        table += &format!("{} {against} | {worst} | {folders} |\n", row_start(family));
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
        let mut columns = row.trim_end_matches(" |").rsplit(" | ");
        let mut error = || columns.next().expect("a column").parse::<f64>();
        let (folders, whole) = (error(), error());
        assert!(whole.is_ok_and(|e| e <= TOLERANCE), "{row}");
        assert_eq!(folders.is_ok_and(|e| e <= TOLERANCE), model_types(family.name) != "-", "{row}");
    }
    let (table, _) = found.split_once("<!-- end -->").expect("the end is marked");
    let rows = table.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, FAMILIES.len(), "docs/models.md lists what is not on the shelf");
}
