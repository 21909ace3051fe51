//! Evaluations of `ingle_compress::evaluate` on engine sessions: what verbs that judge a model share.
//!
//! [`read`] has a session read a text, beside a reference or to make one ([`base`]), and notes its speed; [`tasks`] puts
//! questions to it. The mathematics is the crate's; here are files, sessions and the clock.

pub mod base;
pub mod tasks;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use ingle_compress::evaluate::divergence::nll;
use ingle_compress::evaluate::estimate::Moments;
use ingle_compress::evaluate::protocol::Text;
use ingle_compress::evaluate::report::Report;
use ingle_compress::evaluate::scores::Scores;
use ingle_compress::evaluate::{self, Predict};
use ingle_engine::memory;
use ingle_engine::model_file::Loaded;
use ingle_engine::session::Session;

use crate::env::{Env, Progress};
use crate::exit::Failure;
use base::{Base, Save};

/// A session as the evaluation sees it. What a text has in common with the one before is not computed again.
pub struct Reading<'a> {
    pub session: &'a mut Session,
    pub interrupted: &'a AtomicBool,
}

impl Predict for Reading<'_> {
    type Error = Failure;

    fn predict(
        &mut self,
        tokens: &[u32],
        first: usize,
        row: &mut dyn FnMut(&[f32]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let known = self.session.reusable(&tokens[..first + 1]);
        self.session.truncate(known);
        let fed = self.session.feed(&tokens[known..first], self.interrupted, |_| ())?;
        if !fed || self.interrupted.load(Relaxed) {
            return Err(Failure::interrupted());
        }
        let mut outcome = Ok(());
        self.session.feed_for_logits(&tokens[first..], |_, logits| {
            if outcome.is_ok() {
                outcome = row(logits);
            }
        })?;
        outcome
    }
}

/// What to do with the rows of a text.
pub enum Rows {
    /// Score them.
    Score,
    /// Score them beside a reference.
    Beside(Base),
    /// Score them, and keep them as a reference.
    Keep(Save),
}

/// Reads `text` in `session` and enters in `report` what it says.
pub fn read(
    session: &mut Session,
    env: &Env,
    text: &Text,
    rows: Rows,
    report: &mut Report,
) -> Result<Scores, Failure> {
    let loaded = session.loaded().clone();
    let tokenizer = loaded.tokenizer()?;
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let (mut base, mut save) = match rows {
        Rows::Score => (None, None),
        Rows::Beside(base) => (Some(base), None),
        Rows::Keep(save) => (None, Some(save)),
    };
    report.reference = base.as_ref().map(|base| base.name().to_owned());
    let mut beside = base.as_mut().map(Base::reader);
    // Both closures add to these.
    let scores = std::cell::RefCell::new(Scores::new(text.per_window()));
    let (mut rates, mut start) = (Moments::default(), Instant::now());
    let (mut progress, n) = (Progress::new(env), text.n_windows());
    let mut model = Reading { session, interrupted: &env.interrupted };
    let row = |logits: &[f32], id: u32| {
        let mut scores = scores.borrow_mut();
        match (&mut beside, &mut save) {
            (Some(base), _) => scores.push_position(base.compare(logits, id)?),
            (None, save) => {
                scores.push(nll(logits, id));
                save.as_mut().map_or(Ok(()), |save| save.push(logits, id))?;
            }
        }
        Ok(())
    };
    let done = |i: usize| {
        rates.push((text.ctx - 1) as f64 / start.elapsed().as_secs_f64().max(1e-9));
        start = Instant::now();
        let scores = scores.borrow();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let kld = scores.beside.as_ref().map(|b| format!(", divergence {:.6}", mean(&b.kld)));
        progress.show(format_args!(
            "window {i} of {n}: perplexity {:.4}{}",
            mean(&scores.nll).exp(),
            kld.unwrap_or_default()
        ));
        Ok(())
    };
    evaluate::read(text, bos, &mut model, row, done)?;
    let scores = scores.into_inner();
    if !scores.perplexity().value.is_finite() {
        return Err(Failure::failed(
            "the perplexity is not a number: the model gives NaN or infinite logits, its weights may be damaged",
        ));
    }
    save.map_or(Ok(()), Save::finish)?;
    report.enter(text, &scores);
    report.tokens_per_s = Some(rates.mean());
    Ok(scores)
}

/// A report of `loaded`, with what it is and what it takes.
pub fn report(loaded: &Loaded) -> Report {
    Report {
        model: loaded.file.name().to_owned(),
        file_bytes: Some(loaded.file.n_bytes()),
        ram_bytes: memory::peak_resident_bytes(),
        ..Report::default()
    }
}
