//! One test: what it feeds a session, and how long that takes.

use std::hint::black_box;
use std::ops::Range;
use std::time::{Duration, Instant};

use ingle_engine::sample::Rng;
use ingle_engine::session::Session;

use crate::env::Env;
use crate::exit::Failure;

/// Steps of which a sample of [`Work::Step`] is the mean, unless they take longer than [`STEPS_TIME`].
const STEPS: u32 = 16;
const STEPS_TIME: Duration = Duration::from_millis(500);

/// Some work after `depth` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Tokens that are in the context before.
    pub depth: usize,
    /// What is measured.
    pub work: Work,
}

/// What is measured, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A prompt, and the logits of its last token.
    Prompt(usize),
    /// Tokens one by one, and the logits of each.
    Generate(usize),
    /// The first, then the second.
    Both(usize, usize),
    /// One step of so many tokens, and the logits of each: what speculation and several users at once need.
    Step(usize),
}

/// Tokens after which all weights are packed that will be.
const WARM_UP_TOKENS: usize = 10;

impl Test {
    /// Tokens of a prompt, as llama-bench counts: those that go through the model together.
    pub fn n_prompt(&self) -> usize {
        match self.work {
            Work::Prompt(n) | Work::Both(n, _) | Work::Step(n) => n,
            Work::Generate(_) => 0,
        }
    }

    /// Tokens that come one by one.
    pub fn n_gen(&self) -> usize {
        match self.work {
            Work::Generate(n) | Work::Both(_, n) => n,
            Work::Prompt(_) | Work::Step(_) => 0,
        }
    }

    /// Tokens of a sample.
    pub fn n_tokens(&self) -> usize {
        self.n_prompt() + self.n_gen()
    }

    /// What it is called, in llama-bench's way.
    pub fn name(&self) -> String {
        let depth = if self.depth > 0 { format!(" @ d{}", self.depth) } else { String::new() };
        match self.work {
            Work::Prompt(p) => format!("pp{p}{depth}"),
            Work::Generate(n) => format!("tg{n}{depth}"),
            Work::Both(p, n) => format!("pp{p}+tg{n}{depth}"),
            Work::Step(n) => format!("step{n}{depth}"),
        }
    }

    /// The steps of a sample, when prompts go in chunks of `chunk`: the positions of each one's tokens, and how many of
    /// their logits are read.
    pub fn steps(&self, chunk: usize) -> Vec<(Range<usize>, usize)> {
        if let Work::Step(n) = self.work {
            return vec![(self.depth..self.depth + n, n)];
        }
        let end = self.depth + self.n_prompt();
        let chunks = (self.depth..end).step_by(chunk.max(1)).map(|at| at..end.min(at + chunk));
        let prompt = chunks.map(|at| (at.clone(), usize::from(at.end == end)));
        prompt.chain((end..end + self.n_gen()).map(|at| (at..at + 1, 1))).collect()
    }

    /// Fills the context before the test, where it is not there yet.
    pub fn prepare(&self, session: &mut Session, env: &Env) -> Result<(), Failure> {
        if session.tokens().len() != self.depth {
            session.truncate(0);
            session.feed(&ids(session, 1, self.depth), &env.interrupted, |_| ())?;
        }
        Ok(())
    }

    /// A run that does not count: it maps pages, packs weights, wakes threads and fills caches. Some tokens stand for all that
    /// are generated.
    pub fn warm_up(&self, session: &mut Session, env: &Env) -> Result<(), Failure> {
        let work = match self.work {
            Work::Generate(n) => Work::Generate(n.min(WARM_UP_TOKENS)),
            Work::Both(p, n) => Work::Both(p, n.min(WARM_UP_TOKENS)),
            other => other,
        };
        Self { work, ..*self }.sample(session, env).map(|_| ())
    }

    /// Nanoseconds of one sample; of a step's, the mean of several. The session is left at `depth` tokens.
    pub fn sample(&self, session: &mut Session, env: &Env) -> Result<f64, Failure> {
        let tokens = ids(session, 2, self.n_tokens());
        if let Work::Step(_) = self.work {
            let (mut time, mut n) = (Duration::ZERO, 0);
            while n < STEPS && (n == 0 || time < STEPS_TIME) {
                let start = Instant::now();
                session.feed_for_logits(&tokens, |_, row| {
                    black_box(row);
                })?;
                time += start.elapsed();
                n += 1;
                self.go_back(session, env)?;
            }
            return Ok(time.as_nanos() as f64 / f64::from(n));
        }
        let (prompt, generated) = tokens.split_at(self.n_prompt());
        let start = Instant::now();
        if !prompt.is_empty() {
            session.feed(prompt, &env.interrupted, |_| ())?;
            black_box(session.last_logits());
        }
        for id in generated {
            session.feed(&[*id], &env.interrupted, |_| ())?;
            black_box(session.last_logits());
        }
        let time = start.elapsed();
        self.go_back(session, env)?;
        Ok(time.as_nanos() as f64)
    }

    /// Back to `depth` tokens. A cache that can't go back exactly catches up here, outside the time.
    fn go_back(&self, session: &mut Session, env: &Env) -> Result<(), Failure> {
        session.truncate(self.depth);
        session.feed(&[], &env.interrupted, |_| ())?;
        Ok(())
    }
}

/// Random tokens, the same in every run.
fn ids(session: &Session, seed: u64, n: usize) -> Vec<u32> {
    let vocab = session.loaded().model.config.vocab as u64;
    let mut rng = Rng::new(seed);
    (0..n).map(|_| rng.below(vocab) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_a_test_cover_its_tokens_once_and_in_order() {
        let works = [Work::Prompt(10), Work::Generate(3), Work::Both(9, 2), Work::Step(5), Work::Prompt(4)];
        for work in works {
            let test = Test { depth: 7, work };
            let steps = test.steps(4);
            let n: usize = steps.iter().map(|(at, _)| at.len()).sum();
            assert_eq!(n, test.n_tokens(), "{work:?}");
            assert_eq!(steps[0].0.start, 7);
            assert!(steps.windows(2).all(|w| w[0].0.end == w[1].0.start), "{steps:?}");
        }
        let logits = |work, chunk| -> Vec<usize> {
            Test { depth: 0, work }.steps(chunk).iter().map(|step| step.1).collect()
        };
        assert_eq!(logits(Work::Prompt(10), 4), [0, 0, 1], "of its last token only");
        assert_eq!(logits(Work::Both(4, 2), 4), [1, 1, 1]);
        assert_eq!(logits(Work::Step(5), 8), [5], "of every token");
    }

    #[test]
    fn names_are_llama_benchs() {
        let name = |depth, work| Test { depth, work }.name();
        assert_eq!(name(0, Work::Prompt(512)), "pp512");
        assert_eq!(name(8192, Work::Generate(64)), "tg64 @ d8192");
        assert_eq!(name(0, Work::Both(512, 128)), "pp512+tg128");
        assert_eq!(name(9, Work::Step(8)), "step8 @ d9");
    }
}
