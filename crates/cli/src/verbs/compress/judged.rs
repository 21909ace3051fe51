//! Results made and judged, until one passes the gate.
//!
//! A result is held against the model it came from on text that neither was measured on. Where it is beyond the recipe's limits, each
//! kind of tensor is put back as it was, one at a time; the one whose return brings the result nearest is the guilty one. It gets
//! the next format with more bits, and everything that depends on it is made anew; the journal has the rest. A result that does not
//! pass is never given its name.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ingle_compress::Error;
use ingle_compress::evaluate::limits::{self, Limits};
use ingle_compress::evaluate::protocol::Text;
use ingle_compress::evaluate::report::Report as Evaluation;
use ingle_compress::journal::Journal;
use ingle_compress::output::{self, Existing};
use ingle_compress::pipeline::{self, Job, Progress as Stage};
use ingle_compress::plan::{self, ModelInfo, Plan};
use ingle_compress::recipe::Recipe;
use ingle_compress::report::Report;
use ingle_compress::role::kind_of;
use ingle_compress::{method, mixture, quantize, slim};
use ingle_engine::model_file::{Loaded, ModelFile};
use ingle_engine::session::Session;
use ingle_kernel::quant::{self, Format};
use ingle_model::config::Config;
use ingle_model::file::Contents;
use ingle_model::file::gguf_write::Header;
use serde::Serialize;

use super::super::quantize::{failure, vocabulary};
use super::texts::Texts;
use crate::env::{Env, Progress, say};
use crate::evaluating::base::{Base, Save};
use crate::evaluating::{self, Rows};
use crate::exit::Failure;
use crate::load;
use crate::rate::clock;

/// The result in the journal's folder, until it gets its name.
pub const RESULT: &str = "result.gguf";
/// What the model itself says of the text that results are judged on.
const BASE: &str = "base";
/// Formats that kinds of tensors are promoted to.
const LADDER: [&str; 7] = ["q2_K", "q3_K", "q4_K", "q5_K", "q6_K", "q8_0", "f16"];
/// Results that are made before the work is given up.
const ATTEMPTS_MAX: usize = 12;
/// Windows that the guilty kind is found on.
const SUSPECT_WINDOWS: usize = 4;

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Where the result is, if it was written.
    pub output: PathBuf,
    /// Whether it passed, or nothing was demanded.
    pub written: bool,
    /// The recipe that makes it, bit for bit, promotions included.
    pub recipe: Recipe,
    /// What was promoted and why, in order.
    pub promotions: Vec<Promotion>,
    /// What went of the model first, where the recipe says so.
    pub slim: Option<slim::Report>,
    /// What tensors lost.
    pub report: Report,
    /// What it is worth.
    pub evaluation: Evaluation,
    /// The limits beside what was found.
    pub gate: limits::Outcome,
    /// Tokens that inputs were measured on.
    pub n_tokens: usize,
    /// Seconds it took.
    pub seconds: f64,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// A kind of tensor that got more bits.
#[derive(Debug, Clone, Serialize)]
pub struct Promotion {
    /// The kind.
    pub tensors: String,
    /// The format it had.
    pub from: &'static str,
    /// The format it got.
    pub to: &'static str,
    /// Mean divergence of the result before.
    pub kld: f64,
    /// The same on the windows that kinds were compared on, with this kind as it was in the source.
    pub kld_without: f64,
}

/// The work on one model.
pub struct Work<'a> {
    pub loaded: &'a Arc<Loaded>,
    /// What is encoded: the model's metadata and tensors, or what is left of them.
    pub contents: &'a Contents,
    /// Its numbers.
    pub config: &'a Config,
    pub texts: &'a Texts,
    pub journal: &'a Journal,
    pub env: &'a Env,
    /// Bytes of the base, once it is made.
    pub base: Option<PathBuf>,
}

impl Work<'_> {
    /// Makes results by `recipe`, promoted where it has to be, until one passes.
    pub fn until_it_passes(&mut self, mut recipe: Recipe) -> Result<Outcome, Failure> {
        let (mut promotions, limits) = (Vec::new(), recipe.gate.unwrap_or_default());
        loop {
            let plan = self.plan(&recipe)?;
            let report = self.make(&recipe, &plan, &|_| false)?;
            let evaluation = self.judge(&self.texts.judged_on)?;
            let gate = limits.check(&evaluation);
            let done = gate.passed || promotions.len() + 1 >= ATTEMPTS_MAX;
            let promotion = if done { None } else { self.promotion(&recipe, &plan, &evaluation)? };
            let Some(promotion) = promotion else {
                if !gate.passed {
                    // The last result is what was judged, not one of the suspects'.
                    self.make(&recipe, &plan, &|_| false)?;
                }
                return Ok(Outcome {
                    output: PathBuf::new(),
                    written: gate.passed,
                    promotions,
                    slim: None,
                    report,
                    evaluation,
                    gate,
                    n_tokens: self.texts.calibration.iter().map(Vec::len).sum(),
                    seconds: 0.0,
                    warnings: self.warnings(&plan)?,
                    recipe,
                });
            };
            say_failed(&limits, &gate, &promotion);
            recipe.promoted.insert(promotion.tensors.clone(), promotion.to.to_owned());
            promotions.push(promotion);
        }
    }

    fn file(&self) -> &ModelFile {
        &self.loaded.file
    }

    pub fn plan(&self, recipe: &Recipe) -> Result<Plan, Failure> {
        let contents = self.contents;
        let encoder = method::encoder(&recipe.method).map_err(Failure::usage)?;
        let options = recipe.options(encoder.needs > method::Needs::Nothing).map_err(Failure::usage)?;
        let mixture = mixture::by_name(&recipe.mixture).map_err(Failure::usage)?;
        let model = ModelInfo::read(contents).map_err(|e| self.file().model_error(e))?;
        let plan = plan::plan(&quantize::infos(contents), &model, mixture, &options);
        Ok(plan.map_err(|e| self.file().model_error(e))?)
    }

    /// Carries the recipe out, and writes the result with what `as_source` names as it was.
    pub fn make(
        &self,
        recipe: &Recipe,
        plan: &Plan,
        as_source: &dyn Fn(&str) -> bool,
    ) -> Result<Report, Failure> {
        let run = self.loaded.runtime(&[]);
        let job = Job {
            file: self.contents,
            config: self.config,
            plan,
            balance: recipe.balance,
            prune: recipe.prune,
            encoder: method::encoder(&recipe.method).map_err(Failure::usage)?,
            asymmetric: recipe.asymmetric,
            sequences: &self.texts.calibration,
            pool: run.pool,
            kernels: run.kernels,
            journal: self.journal,
        };
        let mut progress = Progress::new(self.env);
        let mut shown = Shown::new(job.config.layers.len());
        let done = pipeline::run(&job, &mut |stage| {
            shown.show(&mut progress, stage);
            !self.env.interrupted.load(Relaxed)
        });
        progress.clear();
        match done {
            Err(Error::Interrupted) => return Err(Failure::interrupted()),
            done => done.map_err(|e| failure(self.file(), e))?,
        }
        let header = self.header(recipe)?;
        let written = output::write(&self.journal.path(RESULT), None, Existing::Replace, |out| {
            self.file().check_unchanged().map_err(std::io::Error::other)?;
            pipeline::assemble(&job, header, as_source, out)
        });
        written.map_err(|e| failure(self.file(), e))
    }

    /// The header of a file by `recipe`.
    pub fn header(&self, recipe: &Recipe) -> Result<Header, Failure> {
        let mixture = mixture::by_name(&recipe.mixture).map_err(Failure::usage)?;
        let header = quantize::header(self.contents, mixture, None);
        let mut header = header.map_err(|e| failure(self.file(), e))?;
        header
            .set("ingle.compress.recipe", recipe.to_toml().as_str())
            .map_err(|e| self.file().model_error(e))?;
        vocabulary(self.file(), &mut header)?;
        Ok(header)
    }

    /// What a person should know of the plan.
    fn warnings(&self, plan: &Plan) -> Result<Vec<String>, Failure> {
        Ok(super::super::quantize::fallbacks(self.contents, plan).collect())
    }

    /// Holds the result against the model it came from, on `text`.
    pub fn judge(&mut self, text: &Text) -> Result<Evaluation, Failure> {
        // The base is of the whole text; its first windows are those of a shorter one.
        let path = match &self.base {
            Some(path) => path.clone(),
            None => self.make_base()?,
        };
        let name = path.display().to_string();
        let result = ModelFile::open(&self.journal.path(RESULT))?;
        let options = load::options(self.env, self.loaded.n_threads());
        let loaded = Arc::new(Loaded::load_on(self.loaded.pool().clone(), result, &options)?);
        let mut session = Session::new(loaded.clone(), &load::session_options(self.env, Some(text.ctx)))?;
        let base = Base::open(&name, loaded.model.config.vocab)?;
        let mut evaluation = evaluating::report(&loaded);
        evaluating::read(&mut session, self.env, text, Rows::Beside(base), &mut evaluation)?;
        Ok(evaluation)
    }

    /// What the model itself says of the text.
    fn make_base(&mut self) -> Result<PathBuf, Failure> {
        let path = self.journal.path(BASE);
        let text = &self.texts.judged_on;
        if !path.exists() {
            let session = Session::new(self.loaded.clone(), &load::session_options(self.env, Some(text.ctx)));
            let (file, vocab) = (self.file(), self.loaded.model.config.vocab);
            let save = Save::begin(&path.display().to_string(), true, text, vocab, file)?;
            evaluating::read(&mut session?, self.env, text, Rows::Keep(save), &mut Evaluation::default())?;
        }
        self.base = Some(path.clone());
        Ok(path)
    }

    /// Which kind of tensor is guilty most, and what it gets; `None` where all have all there is.
    fn promotion(
        &mut self,
        recipe: &Recipe,
        plan: &Plan,
        evaluation: &Evaluation,
    ) -> Result<Option<Promotion>, Failure> {
        let kld_of = |e: &Evaluation| e.divergence.as_ref().map_or(f64::NAN, |d| d.kld.mean.value);
        let mut kinds: Vec<(String, &'static Format)> = Vec::new();
        for (tensor, choice) in self.contents.tensors().iter().zip(&plan.choices) {
            let kind = kind_of(&tensor.name);
            if choice.format != tensor.format && !kinds.iter().any(|(known, _)| known == kind) {
                kinds.push((kind.to_owned(), choice.format));
            }
        }
        let all = &self.texts.judged_on;
        let some = Text::new(all.protocol, all.ctx, all.tokens.clone(), SUSPECT_WINDOWS);
        let tried: BTreeSet<String> = kinds.iter().map(|(kind, _)| kind.clone()).collect();
        let mut best: Option<Promotion> = None;
        for (kind, from) in kinds {
            let Some(to) = next_format(from) else { continue };
            say(format_args!("looking for what costs most: {kind}, one of {}", tried.len()));
            self.make(recipe, plan, &|name| kind_of(name) == kind)?;
            let kld_without = kld_of(&self.judge(&some)?);
            if best.as_ref().is_none_or(|best| kld_without < best.kld_without) {
                let kld = kld_of(evaluation);
                best = Some(Promotion { tensors: kind, from: from.name, to, kld, kld_without });
            }
        }
        Ok(best)
    }
}

/// The format with the fewest bits above those of `format`.
fn next_format(format: &Format) -> Option<&'static str> {
    let bits = |f: &Format| f.bytes as f64 * 8.0 / f.block as f64;
    LADDER.into_iter().find(|name| quant::by_name(name).is_some_and(|next| bits(next) > bits(format) + 0.3))
}

fn say_failed(limits: &Limits, gate: &limits::Outcome, promotion: &Promotion) {
    let said: Vec<String> = gate.checks.iter().filter(|c| !c.passed).map(ToString::to_string).collect();
    debug_assert!(!limits.is_empty());
    let Promotion { tensors, from, to, .. } = promotion;
    say(format_args!("not good enough ({}): {tensors} costs most, {from} becomes {to}", said.join("; ")));
}

/// Tells a person how far a run is, and how long it may take.
pub struct Shown {
    n_layers: usize,
    start: Instant,
    /// What share of the work was done when this began.
    first: Option<f64>,
}

impl Shown {
    pub fn new(n_layers: usize) -> Self {
        Self { n_layers, start: Instant::now(), first: None }
    }

    pub fn show(&mut self, progress: &mut Progress, stage: Stage<'_>) {
        // Of a layer's time, about so much is looking, encoding and going on.
        let (what, layer, part) = match stage {
            Stage::Looking(i, part) => {
                (format!("layer {} of {}: what its matrices are given", i + 1, self.n_layers), i, 0.4 * part)
            }
            Stage::Encoding(i, name) => (format!("layer {} of {}: {name}", i + 1, self.n_layers), i, 0.5),
            Stage::Ends(name) => (name.to_owned(), self.n_layers, 0.0),
            Stage::GoingOn(i, part) => {
                (format!("layer {} of {}: what it gives on", i + 1, self.n_layers), i, 0.6 + 0.4 * part)
            }
        };
        let done = (layer as f64 + part) / (self.n_layers as f64 + 0.5);
        let first = *self.first.get_or_insert(done);
        let elapsed = self.start.elapsed().as_secs_f64();
        let left = elapsed * (1.0 - done) / (done - first);
        let left = Duration::try_from_secs_f64(left).ok().filter(|_| done > first && elapsed > 2.0);
        let left = left.map_or_else(String::new, |left| format!(", {} left", clock(left)));
        progress.show(format_args!("{:3.0} %{left}  {what}", 100.0 * done));
    }
}
