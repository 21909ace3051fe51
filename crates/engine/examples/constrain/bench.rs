//! A vocabulary, what is tried with it, and the times that takes.
//!
//! On a machine with other work a thread waits for its turn, so what Linux says of that is taken from the times, and the slowest
//! are measured again from the beginning: what was slow once only was not the grammar.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ingle_engine::constrain::{Constraint, Grammar, Vocabulary};
use ingle_model::token::{Parse, Tokenizer};
use serde_json::{Value as Json, json};

use super::change::{Random, written_otherwise};
use super::millis;

/// Tokens of an answer before it is given up.
pub const TOKENS_MAX: usize = 1500;
/// The slowest masks that are named.
const N_WORST: usize = 8;

pub struct Bench {
    tokenizer: Tokenizer,
    vocabulary: Arc<Vocabulary>,
    /// Tokens that close something, or go on to the next part of a text.
    closing: Vec<u32>,
    /// Whether to name what failed.
    pub list: bool,
    only: String,
    answers: Option<BufWriter<File>>,
    pub random: Random,
    place: String,
    masks: Vec<Duration>,
    /// Until the first mask.
    compiles: Vec<Duration>,
    schema: String,
    /// The slowest masks and compilations.
    worst: Vec<Slow>,
}

/// Something that took long: the mask behind these tokens, or without any the compilation.
struct Slow {
    time: Duration,
    place: String,
    schema: String,
    ids: Option<Vec<u32>>,
}

/// What became of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// As it stands it is rejected, but its value can be given: with properties in another order, or numbers written in
    /// another way.
    OtherForm,
    Rejected,
}

impl Bench {
    pub fn new(
        tokenizer: Tokenizer,
        vocabulary: Arc<Vocabulary>,
        list: bool,
        only: String,
        answers: Option<&Path>,
    ) -> Result<Self> {
        let create =
            |path: &Path| File::create(path).with_context(|| path.display().to_string()).map(BufWriter::new);
        let closes = |id: &u32| {
            let bytes = tokenizer.token_bytes(*id).unwrap_or_default();
            tokenizer.is_eog(*id)
                || matches!(bytes, b"\"" | b"}" | b"]" | b"\"," | b"\"}" | b"," | b"0" | b"/" | b"-")
        };
        let closing = (0..tokenizer.n_vocab() as u32).filter(closes).collect();
        Ok(Self {
            tokenizer,
            vocabulary,
            closing,
            list,
            only,
            answers: answers.map(create).transpose()?,
            random: Random::new(),
            place: String::new(),
            schema: String::new(),
            masks: Vec::new(),
            compiles: Vec::new(),
            worst: Vec::new(),
        })
    }

    /// Goes on to the schema at `place`; `false` where that was not asked for.
    pub fn go_to(&mut self, place: &str) -> bool {
        place.clone_into(&mut self.place);
        self.random = Random::new();
        place.contains(&self.only)
    }

    pub fn compile(&mut self, schema: &Json) -> ingle_engine::Result<Constraint> {
        self.schema = schema.to_string();
        let (compiled, time) = timed(|| self.vocabulary.compile(&Grammar::JsonSchema(self.schema.clone())));
        self.compiles.push(time);
        self.note(time, None);
        compiled
    }

    fn mask(
        &mut self,
        constraint: &mut Constraint,
        row: &mut [f32],
        ids: &[u32],
    ) -> ingle_engine::Result<()> {
        row.fill(0.0);
        let (masked, time) = timed(|| constraint.mask(row));
        self.masks.push(time);
        self.note(time, Some(ids));
        masked
    }

    fn note(&mut self, time: Duration, ids: Option<&[u32]>) {
        if self.worst.len() == N_WORST && self.worst.last().is_some_and(|slow| slow.time >= time) {
            return;
        }
        let (place, schema) = (self.place.clone(), self.schema.clone());
        self.worst.push(Slow { time, place, schema, ids: ids.map(<[u32]>::to_vec) });
        self.worst.sort_by_key(|slow| std::cmp::Reverse(slow.time));
        self.worst.truncate(N_WORST);
    }

    /// How long it takes from a fresh start: the least of some attempts.
    fn again(&self, slow: &Slow) -> Duration {
        let mut row = vec![0.0f32; self.tokenizer.n_vocab()];
        let attempt = |_| {
            let (compiled, time) =
                timed(|| self.vocabulary.compile(&Grammar::JsonSchema(slow.schema.clone())));
            let (Some(ids), Ok(mut constraint)) = (&slow.ids, compiled) else { return time };
            for &id in ids {
                _ = constraint.mask(&mut row);
                _ = constraint.accept(id);
            }
            timed(|| constraint.mask(&mut row)).1
        };
        (0..3).map(attempt).min().unwrap_or_default()
    }

    /// An answer drawn under the mask, each token with the same chance but for those that close something. An error tells why
    /// there is none; without one it did not end.
    pub fn draw(&mut self, constraint: &Constraint) -> ingle_engine::Result<Option<String>> {
        let (mut constraint, mut ids) = (constraint.clone(), Vec::new());
        let mut row = vec![0.0f32; self.tokenizer.n_vocab()];
        for n in 0..TOKENS_MAX {
            self.mask(&mut constraint, &mut row, &ids)?;
            let closing: Vec<u32> =
                self.closing.iter().copied().filter(|&id| row[id as usize] == 0.0).collect();
            let id = if !closing.is_empty() && self.random.below(10) < 3 + n / 40 {
                // Late, what ends an array or an object comes first.
                let ends = closing.iter().find(|&&id| n > TOKENS_MAX / 3 && self.ends(id));
                ends.copied().unwrap_or_else(|| closing[self.random.below(closing.len())])
            } else {
                self.random.any_of(&row)
            };
            if self.tokenizer.is_eog(id) {
                let bytes = |&id: &u32| self.tokenizer.token_bytes(id).unwrap_or_default().to_vec();
                let text = ids.iter().flat_map(bytes).collect();
                return Ok(Some(String::from_utf8(text).unwrap_or_else(|e| format!("no UTF-8: {e}"))));
            }
            constraint.accept(id)?;
            ids.push(id);
        }
        Ok(None)
    }

    fn ends(&self, id: u32) -> bool {
        let bytes = self.tokenizer.token_bytes(id).unwrap_or_default();
        self.tokenizer.is_eog(id) || matches!(bytes, b"}" | b"]" | b"\"}")
    }

    /// Whether `text` passes the mask, token by token, and may end.
    pub fn accepts(&mut self, constraint: &Constraint, text: &str) -> bool {
        let (mut constraint, mut ids) = (constraint.clone(), Vec::new());
        self.tokenizer.encode(text, Parse::Text, &mut ids).expect("the vocabulary encodes");
        let mut row = vec![0.0f32; self.tokenizer.n_vocab()];
        for (n, &id) in ids.iter().enumerate() {
            let masked = self.mask(&mut constraint, &mut row, &ids[..n]);
            if masked.is_err() || row[id as usize] != 0.0 || constraint.accept(id).is_err() {
                return false;
            }
        }
        constraint.may_end()
    }

    /// What becomes of `instance`, in any form.
    pub fn verdict(&mut self, constraint: &Constraint, instance: &Json) -> Verdict {
        if self.accepts(constraint, &instance.to_string()) {
            return Verdict::Accepted;
        }
        match written_otherwise(instance).iter().any(|text| self.accepts(constraint, text)) {
            true => Verdict::OtherForm,
            false => Verdict::Rejected,
        }
    }

    /// Writes down for another judge what was drawn, and what was made of other instances.
    pub fn write_down(&mut self, schema: &Json, drawn: &[String], tried: &[(Json, Verdict)]) -> Result<()> {
        let Some(file) = &mut self.answers else { return Ok(()) };
        let tried: Vec<Json> = tried
            .iter()
            .map(|(instance, verdict)| json!({ "instance": instance, "verdict": format!("{verdict:?}") }))
            .collect();
        let line = json!({ "place": self.place, "schema": schema, "drawn": drawn, "tried": tried });
        writeln!(file, "{line}").context("writing answers")
    }

    /// Tells the times since this was asked for, and forgets them.
    pub fn tell_times(&mut self) {
        for (what, times) in [("until the first mask", &mut self.compiles), ("mask", &mut self.masks)] {
            times.sort_unstable();
            let at = |part: f64| times.get((times.len() as f64 * part) as usize).map_or(0.0, |&t| millis(t));
            println!(
                "  {what}: {} times, median {:.3} ms, p95 {:.3}, p99 {:.3}, max {:.1}",
                times.len(),
                at(0.5),
                at(0.95),
                at(0.99),
                times.last().map_or(0.0, |&t| millis(t))
            );
            times.clear();
        }
        for slow in std::mem::take(&mut self.worst) {
            let what = slow
                .ids
                .as_ref()
                .map_or("compilation".into(), |ids| format!("mask behind {} tokens", ids.len()));
            let again = millis(self.again(&slow));
            println!("  slow: {:.1} ms, again {again:.1} ms: {what}, {}", millis(slow.time), slow.place);
        }
    }

    pub fn finish(mut self) -> Result<()> {
        self.answers.as_mut().map_or(Ok(()), Write::flush).context("writing answers")
    }
}

/// What `work` gives, and how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let (before, start) = (waited(), Instant::now());
    let result = work();
    let time = start.elapsed();
    (result, time.saturating_sub(waited().saturating_sub(before)))
}

/// How long this thread has waited for a core, where the system says so.
fn waited() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}
