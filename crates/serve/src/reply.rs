//! The answers of a request, as they grow.

use std::time::{Duration, Instant};

use ingle_engine::generate::{Finish, Outcome};
use ingle_engine::spec::Tally;
use ingle_route::confidence::Margins;
use serde_json::{Map, Value as Json, json};

use crate::accounts::Took;
use crate::ask::{Said, TokenLogprobs, What};
use crate::feedback::Named;
use crate::refusal::Refusal;

/// What an answer is made of, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What the model says to itself.
    Thought(String),
    /// What it says.
    Text(String),
    /// Whom it calls.
    Call(Call),
}

/// A call to a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name among all calls.
    pub id: String,
    /// The tool's.
    pub name: String,
    /// A JSON object.
    pub arguments: String,
}

/// One answer.
#[derive(Debug, Default)]
pub struct Reply {
    /// What it is made of.
    pub pieces: Vec<Piece>,
    /// Its tokens' log-probabilities.
    pub logprobs: Vec<TokenLogprobs>,
    /// How many of those there were when each piece had its latest text.
    logprobs_by: Vec<usize>,
    /// Tokens of thoughts, with the markers around them.
    pub n_thought: usize,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// Tokens of the prompt that were dropped.
    pub n_dropped: usize,
}

impl Reply {
    /// What it says.
    pub fn text(&self) -> String {
        self.pieces
            .iter()
            .filter_map(|p| if let Piece::Text(text) = p { Some(text.as_str()) } else { None })
            .collect()
    }

    /// What it says to itself.
    pub fn thoughts(&self) -> String {
        self.pieces
            .iter()
            .filter_map(|p| if let Piece::Thought(text) = p { Some(text.as_str()) } else { None })
            .collect()
    }

    /// Whom it calls.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.pieces.iter().filter_map(|piece| if let Piece::Call(call) = piece { Some(call) } else { None })
    }

    /// The log-probabilities of a piece's tokens.
    pub fn logprobs_of(&self, piece: usize) -> &[TokenLogprobs] {
        let by = |piece: usize| self.logprobs_by.get(piece).copied().unwrap_or_default();
        let start = piece.checked_sub(1).map_or(0, by);
        self.logprobs.get(start..by(piece)).unwrap_or_default()
    }

    /// Why it ended; nothing before it has.
    pub fn finish(&self) -> Option<Finish> {
        self.outcome.map(|outcome| outcome.finish)
    }

    /// Takes what was said; the refusal that ended it, if one did.
    fn take(&mut self, Said { what, n_tokens, .. }: &Said) -> Result<(), Refusal> {
        match what {
            What::Text { text, thinks, logprobs } => {
                self.logprobs.extend_from_slice(logprobs);
                match (self.pieces.last_mut(), thinks) {
                    (Some(Piece::Text(all)), false) | (Some(Piece::Thought(all)), true) => all.push_str(text),
                    (_, false) => self.pieces.push(Piece::Text(text.clone())),
                    (_, true) => self.pieces.push(Piece::Thought(text.clone())),
                }
                self.n_thought += if *thinks { *n_tokens } else { 0 };
            }
            What::CallBegin { id, name } => {
                let call = Call { id: id.clone(), name: name.clone(), arguments: String::new() };
                self.pieces.push(Piece::Call(call));
            }
            What::Arguments(json) => {
                if let Some(Piece::Call(call)) = self.pieces.last_mut() {
                    call.arguments.push_str(json);
                }
            }
            What::CallEnd => {}
            What::Dropped(n) => self.n_dropped += n,
            What::End(outcome) => self.outcome = Some(outcome.clone()?),
        }
        let n_told = self.logprobs.len();
        self.logprobs_by.resize(self.pieces.len(), n_told);
        if let Some(last) = self.logprobs_by.last_mut() {
            *last = n_told;
        }
        Ok(())
    }
}

/// The answers of a request so far, and how long they took.
#[derive(Debug)]
pub struct SoFar {
    /// The answers.
    pub replies: Vec<Reply>,
    /// Where they are from and what they took, once that is known.
    pub took: Option<Box<Took>>,
    /// How surely the tokens of the only answer were chosen, where that is known.
    pub margins: Option<Box<Margins>>,
    /// Whether the only answer gets a name by which it can be spoken of.
    named: Option<Named>,
    /// That name, once the answer is over.
    id: Option<String>,
    start: Instant,
    first: Option<Instant>,
}

impl SoFar {
    /// Nothing yet of `n` answers to a request that came at `start`.
    pub fn new(n: usize, start: Instant, named: Option<Named>) -> Self {
        let replies = (0..n).map(|_| Reply::default()).collect();
        Self { replies, took: None, margins: None, named, id: None, start, first: None }
    }

    /// # Errors
    /// What ended an answer other than itself.
    pub fn take(&mut self, said: &Said) -> Result<(), Refusal> {
        if !matches!(said.what, What::Dropped(_) | What::End(_)) {
            self.first.get_or_insert_with(Instant::now);
        }
        self.replies[said.index].take(said)?;
        if let (What::End(Ok(outcome)), Some(margins), Some(Named { recent, by, model })) =
            (&said.what, &self.margins, &self.named)
        {
            self.id = Some(recent.remember(*by, *model, margins, outcome.finish));
        }
        Ok(())
    }

    /// Forgets what was said: another answer comes in its place.
    pub fn void(&mut self) {
        self.replies.iter_mut().for_each(|reply| *reply = Reply::default());
    }

    /// Whether all answers have ended.
    pub fn is_over(&self) -> bool {
        self.replies.iter().all(|reply| reply.outcome.is_some())
    }

    /// Tokens of the prompt, of those the ones that were there already, and tokens chosen.
    pub fn n_tokens(&self) -> (usize, usize, usize) {
        let mut outcomes = self.replies.iter().filter_map(|reply| reply.outcome);
        let first = outcomes.clone().next();
        let n_chosen = outcomes.by_ref().map(|outcome| outcome.n_generated).sum();
        (first.map_or(0, |o| o.n_prompt), first.map_or(0, |o| o.n_reused), n_chosen)
    }

    /// Tokens of thoughts.
    pub fn n_thought(&self) -> usize {
        self.replies.iter().map(|reply| reply.n_thought).sum()
    }

    /// Tokens of the prompt that were dropped.
    pub fn n_dropped(&self) -> usize {
        self.replies.iter().map(|reply| reply.n_dropped).max().unwrap_or(0)
    }

    /// Until the first text, and from there on.
    pub fn times(&self) -> (Duration, Duration) {
        let now = Instant::now();
        let first = self.first.unwrap_or(now);
        (first - self.start, now - first)
    }

    /// Says in `last`, the document that tells of the end, where the answers are from, what they took, and by which name to speak of
    /// them: the only field that is no API's but this server's.
    pub fn sign(&self, last: &mut Json) {
        if let Some(took) = &self.took {
            last["ingle"] = took.json();
        }
        if let Some(id) = &self.id {
            last["ingle"]["id"] = id.as_str().into();
        }
    }

    /// Speeds, under the names that llama.cpp gives them.
    pub fn timings(&self) -> Json {
        let (prompt, rest) = self.times();
        let (n_prompt, n_reused, n_chosen) = self.n_tokens();
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        let rate =
            |n: usize, time: Duration| if time.is_zero() { 0.0 } else { n as f64 / time.as_secs_f64() };
        let mut guesses = Tally::default();
        self.replies
            .iter()
            .filter_map(|reply| reply.outcome)
            .for_each(|outcome| guesses.add(&outcome.guesses));
        let guessed = guesses.total();
        let each: Map<String, Json> = guesses
            .kinds()
            .map(|(name, count)| {
                (name.to_owned(), json!({ "draft_n": count.n_drafted, "draft_n_accepted": count.n_accepted }))
            })
            .collect();
        json!({
            "draft_n": guessed.n_drafted,
            "draft_n_accepted": guessed.n_accepted,
            "drafters": each,
            "draft_saved_ms": guesses.saved_ns as f64 / 1e6,
            "cache_n": n_reused,
            "prompt_n": n_prompt - n_reused,
            "prompt_ms": milliseconds(prompt),
            "prompt_per_second": rate(n_prompt - n_reused, prompt),
            "predicted_n": n_chosen,
            "predicted_ms": milliseconds(rest),
            // The first token is the prompt's.
            "predicted_per_second": rate(n_chosen.saturating_sub(self.replies.len()), rest),
        })
    }
}
