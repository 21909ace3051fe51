//! Tasks with right answers: multiple-choice files, and the demo's held-out items.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use ingle_compress::evaluate::choices::{self, Encoder};
use ingle_compress::evaluate::tasks::Task;
use ingle_engine::model_file::Loaded;
use ingle_engine::session::Session;
use ingle_model::token::Parse;

use super::Reading;
use crate::env::{Env, Progress, say};
use crate::exit::Failure;
use crate::model_ref::DEMO;

/// A file of questions is read whole.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Puts the first `n_max` questions of the file `path`, or items of each kind of the demo, to the model. `session` makes an
/// empty session of so many tokens, or of as many as usual.
pub fn run(
    path: &str,
    n_max: Option<usize>,
    env: &Env,
    session: &dyn Fn(Option<usize>) -> Result<Session, Failure>,
) -> Result<Vec<Task>, Failure> {
    if path == DEMO {
        return held_out(n_max, env, session);
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|e| Failure::file(path, &e))?;
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|e| Failure::file(path, &e))?;
    let mut questions = choices::parse(&text).map_err(|e| Failure::invalid(format!("{path}: {e}")))?;
    questions.truncate(n_max.unwrap_or(usize::MAX));

    let mut session = session(None)?;
    let loaded = session.loaded().clone();
    let tokenizer = loaded.tokenizer()?;
    let mut encode = |text: &str| -> Result<Vec<u32>, Failure> {
        let mut ids = Vec::new();
        tokenizer.encode(text, Parse::Text, &mut ids).map_err(|e| loaded.file.model_error(e))?;
        Ok(ids)
    };
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let mut encoder = Encoder { encode: &mut encode, bos, ctx: session.ctx() };
    let mut progress = Progress::new(env);
    let (name, n) = (path.rsplit('/').next().unwrap_or(path), questions.len());
    let done = |i| {
        progress.show(format_args!("{name}: question {i} of {n}"));
        Ok(())
    };
    let mut model = Reading { session: &mut session, interrupted: &env.interrupted };
    let answers = choices::answer(name, &questions, &mut encoder, &mut model, done)?;
    progress.clear();
    if answers.n_cut > 0 {
        let (cut, ctx) = (answers.n_cut, session.ctx());
        say(format_args!(
            "\x1b[33mwarning:\x1b[0m {name}: {cut} choices lost the beginning of their question, longer than the context of {ctx}"
        ));
    }
    Ok(vec![answers.acc, answers.acc_norm])
}

/// Seed of the demo's held-out stream, the one that its recorded scores have.
#[cfg(feature = "demo")]
const SEED: u64 = 2026;
/// Items of each kind where nobody says how many, and the most: as many as are on record.
#[cfg(feature = "demo")]
const ITEMS: usize = 100;
#[cfg(feature = "demo")]
const ANSWER_TOKENS_MAX: usize = 320;
#[cfg(feature = "demo")]
const CTX: usize = 1024;

/// The demo's items that training never saw, answered at temperature 0: all together, then by kind.
#[cfg(feature = "demo")]
fn held_out(
    n_items: Option<usize>,
    env: &Env,
    session: &dyn Fn(Option<usize>) -> Result<Session, Failure>,
) -> Result<Vec<Task>, Failure> {
    use ingle_demo::{Item, KINDS, Kind};
    use ingle_engine::generate::{Event, Finish, Overflow, Request};
    use ingle_engine::sample::Params;

    let mut session = session(Some(CTX))?;
    let loaded: Arc<Loaded> = session.loaded().clone();
    let tokenizer = loaded.tokenizer()?;
    let mut passes = |kind: &Kind, item: &Item| -> Result<bool, Failure> {
        let mut prompt = Vec::new();
        let text = item.prompt.render();
        tokenizer.encode(&text, Parse::Special, &mut prompt).map_err(|e| loaded.file.model_error(e))?;
        let request = Request {
            prompt: &prompt,
            params: &Params::GREEDY,
            stop: &[],
            max_tokens: ANSWER_TOKENS_MAX,
            overflow: Overflow::Error,
            keep: 0,
            logprobs: None,
            constraint: None,
        };
        let mut answer = String::new();
        let outcome = session.generate(&request, &env.interrupted, |event| {
            if let Event::Text(text) = event {
                answer.push_str(text);
            }
        })?;
        match outcome.finish {
            Finish::Cancelled => Err(Failure::interrupted()),
            finish => Ok(finish == Finish::EndOfText && (kind.judge)(item, &answer)),
        }
    };
    let n = n_items.unwrap_or(ITEMS);
    if n > ITEMS {
        return Err(Failure::usage(format!("--items {n}: the demo's kinds have {ITEMS} each")));
    }
    let mut progress = Progress::new(env);
    let (mut all, mut tasks) = (Vec::new(), Vec::new());
    for kind in KINDS {
        let mut right = Vec::with_capacity(n);
        for item in ingle_demo::held_out(kind, SEED, n) {
            right.push(passes(kind, &item)?);
            progress.show(format_args!("demo {}: item {} of {n}", kind.name, right.len()));
        }
        all.extend_from_slice(&right);
        tasks.push(Task::new(format!("demo {}", kind.name), right));
    }
    tasks.insert(0, Task::new("demo", all));
    Ok(tasks)
}

#[cfg(not(feature = "demo"))]
fn held_out(
    _: Option<usize>,
    _: &Env,
    _: &dyn Fn(Option<usize>) -> Result<Session, Failure>,
) -> Result<Vec<Task>, Failure> {
    Err(Failure::not_found(
        "demo: this build has no built-in model and none of its tasks; give a file's path",
    ))
}
