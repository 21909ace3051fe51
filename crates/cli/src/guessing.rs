//! From `--speculate` to drafters that guess ahead.
//!
//! `auto` takes what costs nothing: the answer's form and prompt lookup; whether and how much they guess is planned from what is measured.
//! Otherwise drafters are named, several with commas: `lookup`, `words`, `exit:4`, `draft:MODEL`; `auto` stands for its own there too. A draft model that memory has no room for is left out,
//! with a note, and lookup guesses in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ingle_engine::Error;
use ingle_engine::clock::Clock;
use ingle_engine::model_file::Loaded;
use ingle_engine::session::{Session, SessionOptions};
use ingle_engine::spec::ngrams::Vocabulary;
use ingle_engine::spec::store::LABEL as WORDS_LABEL;
use ingle_engine::spec::{self, Kind, Plan, Speculation, Tally, WordsFile};
use ingle_kernel::par::Pool;
use serde_json::{Map, Value as Json, json};

use crate::at_rest::{self, Chosen};
use crate::env::{Env, say};
use crate::exit::Failure;
use crate::settings::speculate::{expected, named};
use crate::{load, model_ref, pulling};

/// Bytes of what is kept of answers for `words`.
const WORDS_BYTES: usize = 8 << 20;
/// The kind that keeps what was said.
const WORDS: &str = "words";
/// Who guesses where a draft model has no room.
const INSTEAD: &str = "lookup";

/// A clock of this process.
pub fn clock() -> Clock {
    let start = Instant::now();
    Clock::new(move || start.elapsed())
}

/// Makes drafters for models, as a wish names them.
#[derive(Debug)]
pub struct Guesser {
    /// The kinds with their arguments, and the model where one is named.
    kinds: Vec<(&'static Kind, String, Option<Arc<Loaded>>)>,
    depth: Option<usize>,
    /// Where what was measured is kept.
    experience: Option<PathBuf>,
    words: PathBuf,
    /// How words lie on disk, where somebody guesses by them.
    at_rest: Option<Chosen>,
}

impl Guesser {
    /// As the settings say; models that draft compute on `pool`, which is that of the models they draft for.
    pub fn new(env: &Env, pool: &Arc<Pool>) -> Result<Self, Failure> {
        Self::of(env.settings.text("speculate").expect("it has a default"), env, pool)
    }

    /// As `wish` says.
    pub fn of(wish: &str, env: &Env, pool: &Arc<Pool>) -> Result<Self, Failure> {
        let load = |(kind, argument): (&'static Kind, &str)| {
            let draft = match kind.argument {
                "MODEL" => {
                    pulling::offer(argument, env)?;
                    let file = model_ref::open(argument, env)?;
                    let options = load::options(env, pool.n_threads());
                    Some(Arc::new(Loaded::load_on(pool.clone(), file, &options)?))
                }
                _ => None,
            };
            Ok::<_, Failure>((kind, argument.to_owned(), draft))
        };
        let kinds = named(wish).map_err(Failure::usage)?.into_iter().map(load);
        let kinds = kinds.collect::<Result<Vec<_>, _>>()?;
        let experience = Some(env.dirs.cache.join("speculation"));
        let at_rest = kinds.iter().any(|(kind, ..)| kind.name == WORDS).then(|| at_rest::chosen(env));
        Ok(Self {
            kinds,
            depth: env.settings.count("draft-tokens"),
            experience,
            words: words_dir(env),
            at_rest: at_rest.transpose()?,
        })
    }

    /// The same, which neither recalls nor keeps what is measured.
    #[must_use]
    pub fn without_experience(self) -> Self {
        Self { experience: None, ..self }
    }

    /// Whether guesses of all it names cost no pass over any weights.
    pub fn is_free(&self) -> bool {
        self.kinds.iter().all(|(kind, ..)| kind.is_free)
    }

    /// Bytes of the models that draft, for all others.
    pub fn n_bytes(&self) -> u64 {
        self.kinds.iter().filter_map(|(_, _, draft)| draft.as_ref()).map(|draft| draft.file.n_bytes()).sum()
    }

    /// Drafters for `n_lanes` sequences of up to `ctx` tokens each; `None` for no guesses.
    pub fn speculation(
        &self,
        loaded: &Arc<Loaded>,
        session: SessionOptions<'_>,
        ctx: usize,
        n_lanes: usize,
    ) -> Result<Option<Speculation>, Failure> {
        let mut speculation = Speculation::new(clock()).with_depth(self.depth);
        let words = match &self.at_rest {
            Some(at_rest) => Some((words_file(&self.words, loaded)?, at_rest)),
            None => None,
        };
        if let Some((path, at_rest)) = &words {
            at_rest.adopt(path, WORDS_LABEL)?;
        }
        let words = words.as_ref().map(|(path, at_rest)| WordsFile {
            path,
            form: &at_rest.form,
            bytes_max: WORDS_BYTES,
        });
        let none = Plan { target: loaded, draft: None, n_layers: None, n_lanes, ctx, session, words };
        for (kind, argument, draft) in &self.kinds {
            let n_layers = match kind.argument {
                "K" => Some(argument.parse().map_err(|_| Failure::usage(expected()))?),
                _ => None,
            };
            match speculation.add(kind, &Plan { draft: draft.as_ref(), n_layers, ..none }) {
                Err(e @ Error::Memory { .. }) => {
                    say(format_args!("note: {e}; {INSTEAD} guesses in its place"));
                    if !speculation.names().any(|name| name == INSTEAD) {
                        speculation.add(spec::kind(INSTEAD)?, &none)?;
                    }
                }
                added => added?,
            }
        }
        if let Some(dir) = &self.experience {
            speculation = speculation.kept_in(dir, loaded, |what| say(format_args!("note: {what}")));
        }
        Ok(Some(speculation).filter(|speculation| !speculation.is_empty()))
    }

    /// Has `session` guess.
    pub fn guess(&self, session: &mut Session, options: SessionOptions<'_>) -> Result<(), Failure> {
        let (loaded, ctx) = (session.loaded().clone(), session.ctx());
        if let Some(speculation) = self.speculation(&loaded, options, ctx, 1)? {
            session.speculate(speculation);
        }
        Ok(())
    }
}

/// Where words are kept that `words` guesses by, a file for each vocabulary.
pub fn words_dir(env: &Env) -> PathBuf {
    env.dirs.state.join("words")
}

fn words_file(dir: &Path, loaded: &Loaded) -> Result<PathBuf, Failure> {
    let hash = Vocabulary::of(loaded.tokenizer()?).fingerprint;
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(dir.join(name + ".ngrams"))
}

/// What came of guesses, a line for `--stats`; nothing where none were made.
pub fn told(guesses: &Tally) -> Option<String> {
    let total = guesses.total();
    let each =
        guesses.kinds().map(|(name, count)| format!("{name} {} of {}", count.n_accepted, count.n_drafted));
    let each = each.collect::<Vec<_>>().join(", ");
    let (saved, what) = match guesses.saved_ns / 1_000_000 {
        ms @ 0.. => (ms, "saved"),
        ms => (-ms, "lost"),
    };
    (total.n_drafted > 0).then(|| {
        format!("{} of {} tokens accepted ({each}), {saved} ms {what}", total.n_accepted, total.n_drafted)
    })
}

/// The same as JSON.
pub fn json(guesses: &Tally) -> Json {
    let each: Map<String, Json> = guesses
        .kinds()
        .map(|(name, count)| {
            (name.to_owned(), json!({ "drafted": count.n_drafted, "accepted": count.n_accepted }))
        })
        .collect();
    let total = guesses.total();
    json!({
        "drafted": total.n_drafted,
        "accepted": total.n_accepted,
        "drafters": each,
        "saved_ms": guesses.saved_ns as f64 / 1e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_name_kinds_of_the_shelf() {
        fn names(text: &str) -> Vec<(&str, &str)> {
            named(text).unwrap().into_iter().map(|(kind, argument)| (kind.name, argument)).collect()
        }
        assert_eq!(names("auto"), [("form", ""), ("lookup", "")]);
        assert!(names("off").is_empty());
        assert_eq!(names("auto,words").len(), 3);
        assert_eq!(
            names("lookup,draft:a/b:Q4_0,exit:3"),
            [("lookup", ""), ("draft", "a/b:Q4_0"), ("exit", "3")]
        );
        for wrong in ["", "draft", "draft:", "lookup:3", "medusa", "lookup,,exit:1"] {
            assert!(named(wrong).unwrap_err().contains("draft:MODEL"), "{wrong}");
        }
    }
}
