//! `--target`: the recipe whose formats are worth most under targets, found by making and measuring.
//!
//! The search is `ingle_compress::search`'s. Here its mixes are made and judged as every result is ([`super::judged`]), in one journal,
//! so layers that mixes share are encoded once, and they are timed in turn with one of them ([`super::pace`]). Beside OUT lie OUT.json,
//! all that was found, and OUT.html, the same drawn.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use clap::ArgMatches;
use ingle_compress::Error;
use ingle_compress::mixture::MIXTURES;
use ingle_compress::output::{self, Existing};
use ingle_compress::pipeline::Job;
use ingle_compress::recipe::Recipe;
use ingle_compress::search::target::Target;
use ingle_compress::search::{self, Figures, Formats, Found, Model, Part, probe, table};
use ingle_compress::{method, quantize};
use ingle_engine::model_file::{Loaded, ModelFile};
use ingle_engine::session::Session;
use ingle_model::kv;
use ingle_model::scratch::Scratch;

use super::super::quantize::failure;
use super::judged::{RESULT, Shown, Work};
use super::pace::{self, KernelTimes};
use super::report;
use crate::env::{Progress, say};
use crate::exit::Failure;
use crate::load;

/// Positions of a session that only makes single tokens.
const CTX: usize = 128;
/// The file that a mix is timed with before it is made.
const HOLLOW: &str = "hollow.gguf";
/// The file that mixes are timed beside.
const REFERENCE: &str = "reference.gguf";
/// The file of matrices that a kernel is timed with.
const KERNEL: &str = "kernel";
/// Tokens of a step, at most, by which buffers are sized.
const STEP_TOKENS: usize = 512;

/// What is asked, if a search is.
pub fn target(matches: &ArgMatches) -> Result<Option<Target>, Failure> {
    let Some(asked) = matches.get_many::<String>("target") else { return Ok(None) };
    Ok(Some(Target::parse(asked.map(String::as_str)).map_err(Failure::usage)?))
}

/// `recipe` with the formats that are worth most under `target`, and all that was found, which is written beside `output`.
pub fn find(
    work: &mut Work<'_>,
    recipe: &Recipe,
    target: &Target,
    output: &Path,
    existing: Existing,
) -> Result<(Recipe, Found), Failure> {
    let mut model = model(work, recipe)?;
    let reference = hold_to_models(work, recipe, target, &mut model)?;
    let mut failed = None;
    let found = search::search(model, target, &mut |formats, predicted| {
        // A failure of the program's passes through the crate, which knows only its own.
        measured(work, &with_formats(recipe, formats), predicted, &reference).map_err(|e| {
            failed = Some(e);
            Error::Interrupted
        })
    });
    if let Some(failure) = failed {
        return Err(failure);
    }
    let found = found.map_err(|e| failure(&work.loaded.file, e))?;
    let chosen = found.chosen.map(|i| with_formats(recipe, &found.trials[i].formats));
    report::write(
        output,
        work.loaded.file.name(),
        Some((&found, chosen.as_ref())),
        None,
        work.journal,
        existing,
    )?;
    let page = report::beside(output, "html");
    say(format_args!("{} mixes were made and measured: {}", found.trials.len(), page.display()));
    chosen.ok_or_else(|| nothing(&found, &page)).map(|recipe| (recipe, found))
}

/// Says what came nearest.
fn nothing(found: &Found, page: &Path) -> Failure {
    let best = found.trials.iter().map(|t| t.measured).min_by(|a, b| a.kld.total_cmp(&b.kld));
    let nearest = best.map_or_else(String::new, |Figures { kld, bytes, speed }| {
        format!(": the nearest to the source has {bytes} bytes, divergence {kld:.5} and {speed:.2} times its speed")
    });
    Failure::failed(format!("no mix that was made holds the targets{nearest}; see {}", page.display()))
}

/// The recipe that makes the mix of `formats`.
fn with_formats(recipe: &Recipe, formats: &Formats) -> Recipe {
    let pattern =
        |(name, format): (&String, &String)| (format!("^{}$", name.replace('.', "\\.")), format.clone());
    // The file's type is that of the format that most tensors have.
    let n = |format: &str| formats.values().filter(|f| *f == format).count();
    let most = MIXTURES.iter().rev().max_by_key(|m| n(m.format)).map_or("Q4_K_M", |m| m.name);
    Recipe {
        mixture: most.into(),
        tensors: formats.iter().map(pattern).collect(),
        promoted: Default::default(),
        gate: None,
        ..recipe.clone()
    }
}

/// The table with gains, and what does not change.
fn model(work: &Work<'_>, recipe: &Recipe) -> Result<Model, Failure> {
    let (file, run) = (&work.loaded.file, work.loaded.runtime(&[]));
    let contents = work.contents;
    let plan = table::plan_of_probes(contents);
    let job = Job {
        file: contents,
        config: work.config,
        plan: &plan,
        balance: None,
        prune: None,
        encoder: method::encoder(&recipe.method).map_err(Failure::usage)?,
        asymmetric: false,
        sequences: &work.texts.calibration,
        pool: run.pool,
        kernels: run.kernels,
        journal: work.journal,
    };
    let n_values = contents.tensors().iter().map(|t| t.n_values()).sum();
    let path = work.journal.path(KERNEL);
    let mut times = KernelTimes::new(run.pool, run.kernels, n_values, path);
    let mut untimed = None;
    let mut seconds = |format, product| {
        // A failure of the program's passes through the crate, which knows only its own.
        times.seconds(format, product).map_err(|e| untimed = Some(e)).unwrap_or(f64::NAN)
    };
    let mut progress = Progress::new(work.env);
    let mut shown = Shown::new(job.config.layers.len());
    let goes_on = || !work.env.interrupted.load(Relaxed);
    let failed = |error| match error {
        Error::Interrupted => Failure::interrupted(),
        error => failure(file, error),
    };
    let table = table::measure(&job, &mut seconds, &mut |stage| {
        shown.show(&mut progress, stage);
        goes_on()
    });
    if let Some(failure) = untimed {
        return Err(failure);
    }
    let mut entries = table.map_err(failed)?;
    let probed = probe::gains(&job, &mut entries, &mut |share| {
        progress.show(format_args!("{:3.0} %  which tensors matter", 100.0 * share));
        goes_on()
    });
    probed.map_err(failed)?;
    progress.clear();
    let fixed_bytes = fixed_bytes(work, recipe, &entries)?;
    let config = job.config;
    let kv =
        kv::format(config, work.env.settings.text("kv").unwrap_or("f16")).map_err(|e| file.model_error(e))?;
    let ctx = load::session_options(work.env, None).ctx_of(config);
    let scratch_bytes = Scratch::bytes_per_token(config) as u64 * ctx.min(STEP_TOKENS) as u64;
    let beside_bytes = kv::n_bytes(config, kv, ctx).saturating_add(scratch_bytes);
    let source_seconds = pace::seconds(&mut session(work, work.loaded)?, &work.env.interrupted)?;
    Ok(Model::new(entries, fixed_bytes, beside_bytes, source_seconds))
}

/// A mix of no weights that the others take turns with. How much faster a mix is than a source of floats depends on what else the machine
/// does, as the one waits for memory and the other computes; how much faster than another mix hardly does.
struct Reference {
    path: PathBuf,
    /// How many times as fast as the source it is.
    speed: f64,
}

impl Reference {
    /// How many times as fast as the source the model at `path` is, by how much faster than this it is.
    fn speed_of(&self, work: &Work<'_>, path: &Path) -> Result<f64, Failure> {
        Ok(self.speed * faster(work, &load(work, &self.path)?, path)?)
    }
}

/// Times models of no weights, and has predictions start from there: the mix that the table would choose, which the others are then timed
/// beside; one whose layers are wholly of each format, and one whose ends are, as a product takes another time among others than alone; and the mix that would be chosen then, as
/// what a token takes beside its products is little by a source's errors and much by those of what is chosen.
fn hold_to_models(
    work: &Work<'_>,
    recipe: &Recipe,
    target: &Target,
    model: &mut Model,
) -> Result<Reference, Failure> {
    let chosen = |model: &Model| model.first(target).map_err(|e| failure(&work.loaded.file, e));
    let (first, path) = (chosen(model)?, work.journal.path(REFERENCE));
    write_hollow(work, recipe, &first, &path)?;
    let speed = faster(work, work.loaded, &path)?;
    let reference = Reference { path, speed };
    let speed_of = |formats: &Formats| {
        let path = work.journal.path(HOLLOW);
        write_hollow(work, recipe, formats, &path)?;
        let speed = reference.speed_of(work, &path)?;
        fs::remove_file(&path).map_err(|e| Failure::file(&path, &e))?;
        Ok::<_, Failure>(speed)
    };
    let mut progress = Progress::new(work.env);
    for part in [Part::Layers, Part::Ends] {
        for (format, formats) in model.wholly_of_one(part, &first) {
            progress.show(format_args!("how fast {format} is"));
            model.hold_format_to((part, format), &formats, speed_of(&formats)?);
        }
        // What a part is off by is not the next one's.
        model.hold_to(&first, reference.speed);
    }
    progress.clear();
    let second = chosen(model)?;
    let speed = if second == first { reference.speed } else { speed_of(&second)? };
    model.hold_to(&second, speed);
    Ok(reference)
}

/// Writes the mix of `formats`, made of no weights.
fn write_hollow(work: &Work<'_>, recipe: &Recipe, formats: &Formats, path: &Path) -> Result<(), Failure> {
    let recipe = with_formats(recipe, formats);
    let (plan, header) = (work.plan(&recipe)?, work.header(&recipe)?);
    let written = output::write(path, None, Existing::Replace, |out| {
        quantize::hollow(work.contents, header, &plan, out)
    });
    written.map(drop).map_err(|e| failure(&work.loaded.file, e))
}

/// How many times as fast as `base` the model at `path` is, both taking turns.
fn faster(work: &Work<'_>, base: &Arc<Loaded>, path: &Path) -> Result<f64, Failure> {
    pace::speed(&mut session(work, base)?, || session(work, &load(work, path)?), &work.env.interrupted)
}

/// The model at `path`, on the threads of the source.
fn load(work: &Work<'_>, path: &Path) -> Result<Arc<Loaded>, Failure> {
    let options = load::options(work.env, work.loaded.n_threads());
    Ok(Arc::new(Loaded::load_on(work.loaded.pool().clone(), ModelFile::open(path)?, &options)?))
}

/// Bytes of a file of mixes that no format changes: with the longest recipe there can be, so a file is at most as large as it is
/// said to be.
fn fixed_bytes(work: &Work<'_>, recipe: &Recipe, entries: &[table::Entry]) -> Result<u64, Failure> {
    let longest = |e: &table::Entry| {
        let names = e.candidates.iter().map(|c| c.format.name);
        (e.name.clone(), names.max_by_key(|name| name.len()).unwrap_or_default().to_owned())
    };
    let recipe = with_formats(recipe, &entries.iter().map(longest).collect());
    let (plan, header) = (work.plan(&recipe)?, work.header(&recipe)?);
    let file = &work.loaded.file;
    let report = quantize::estimate(work.contents, header, &plan).map_err(|e| failure(file, e))?;
    let bytes = entries.iter().map(|e| {
        let format = plan.choices[e.at].format;
        e.candidates.iter().find(|c| c.format == format).map_or(0, |c| c.bytes)
    });
    Ok(report.n_file_bytes.saturating_sub(bytes.sum()))
}

fn session(work: &Work<'_>, loaded: &Arc<Loaded>) -> Result<Session, Failure> {
    let ctx = CTX.min(loaded.model.config.ctx_train);
    Ok(Session::new(loaded.clone(), &load::session_options(work.env, Some(ctx)))?)
}

/// Makes `recipe`'s mix and measures what it is worth.
fn measured(
    work: &mut Work<'_>,
    recipe: &Recipe,
    predicted: &Figures,
    reference: &Reference,
) -> Result<Figures, Failure> {
    let plan = work.plan(recipe)?;
    let bytes = work.make(recipe, &plan, &|_| false)?.n_file_bytes;
    let evaluation = work.judge(&work.texts.judged_on)?;
    let kld = evaluation.divergence.map_or(f64::NAN, |divergence| divergence.kld.mean.value);
    let speed = reference.speed_of(work, &work.journal.path(RESULT))?;
    say(format_args!(
        "a mix of {bytes} bytes: divergence {kld:.5}, {speed:.2} times as fast as the source, {:.2} predicted ({:+.1} %)",
        predicted.speed,
        100.0 * (speed / predicted.speed - 1.0)
    ));
    Ok(Figures { kld, bytes, speed })
}
