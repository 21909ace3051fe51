//! The cloud leg: asks endpoints for what the gate let out, by the plan of [`plan`](mod@plan), and writes down every attempt.
//!
//! Each attempt is in the egress log before its first byte leaves; no log, no request. What was said before a stream broke off is void:
//! the listener is told ([`Piece::Void`]), and another attempt begins from nothing. An answer is charged once, by the tokens of the attempt
//! that gave it, however many it took.

pub mod plan;
pub mod wire;

use std::fmt;
use std::io::Read;
use std::time::Duration;

use ingle_net::policy::Purpose;
use ingle_net::{Client, Error as NetError, Post, Url};
use serde_json::Value;

use crate::egress::{EgressError, EgressLog, Entry, sha256_of};
use crate::gate::Outgoing;
use crate::policy::Endpoint;
use plan::{Attempt, Health, Limits, Step, Trouble};
use wire::{Finish, Incoming};

/// The most bytes of an answer's text.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;

/// What the caller lends: time, keys and patience.
pub trait Surroundings {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
    /// Waits; `false` when the user does not want to any more.
    fn wait(&self, ms: u64) -> bool;
    /// The key of an endpoint that has one.
    ///
    /// # Errors
    /// Why it can't be had, without the key.
    fn key(&self, endpoint: &Endpoint) -> Result<Option<String>, String>;
}

/// What a listener is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// This endpoint answers.
    From(&'a str),
    /// More of the answer.
    Text(&'a str),
    /// What was said so far is void.
    Void,
}

/// An answer from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who gave it, by its place in the list.
    pub endpoint: usize,
    /// Its text, placeholders and all.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens of the prompt, if the endpoint says.
    pub tokens_in: Option<u64>,
    /// Tokens of the answer, if the endpoint says.
    pub tokens_out: Option<u64>,
    /// What all attempts took together.
    pub bytes: Bytes,
}

/// Bytes of bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bytes {
    /// That left.
    pub out: u64,
    /// That came.
    pub r#in: u64,
}

/// No answer from elsewhere.
#[derive(Debug)]
pub enum CloudError {
    /// What was tried, in words, and the bytes it took.
    NoAnswer(Vec<String>, Bytes),
    /// The log can't be written: nothing more leaves than what left for the attempts before.
    Log(EgressError, Bytes),
    /// The user wants to stop.
    Interrupted(Bytes),
}

impl CloudError {
    /// What the attempts took.
    pub fn bytes(&self) -> Bytes {
        let (Self::NoAnswer(_, bytes) | Self::Log(_, bytes) | Self::Interrupted(bytes)) = self;
        *bytes
    }
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(tried, _) if tried.is_empty() => f.write_str("no endpoint could be asked"),
            Self::NoAnswer(tried, _) => write!(f, "no answer from elsewhere: {}", tried.join("; ")),
            Self::Log(source, _) => write!(f, "nothing leaves without its log: {source}"),
            Self::Interrupted(_) => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for CloudError {}

/// The way to the endpoints.
pub struct Cloud<'a> {
    /// The one door.
    pub client: &'a Client,
    /// Where it is written down.
    pub log: &'a EgressLog,
    /// Time and keys.
    pub surroundings: &'a dyn Surroundings,
    /// Patience.
    pub limits: Limits,
}

/// How one attempt ended.
enum Ended {
    Answered(String, Incoming),
    Failed(Trouble, String),
    Interrupted,
}

impl Cloud<'_> {
    /// Asks `endpoints`, the best first, until one has answered or `deadline_ms` has come.
    ///
    /// # Errors
    /// [`CloudError`] with what was tried.
    pub fn ask(
        &self,
        outgoing: &Outgoing,
        endpoints: &[&Endpoint],
        health: &mut Health,
        deadline_ms: u64,
        on: &mut dyn FnMut(Piece<'_>),
    ) -> Result<Answer, CloudError> {
        let (mut attempts, mut tried, mut bytes) = (Vec::new(), Vec::new(), Bytes::default());
        loop {
            let now = self.surroundings.now_ms();
            let step = plan::plan(health, endpoints.len(), &attempts, (now, deadline_ms), &self.limits);
            let Step::Try { endpoint: at, after_ms } = step else {
                return Err(CloudError::NoAnswer(tried, bytes));
            };
            if after_ms > 0 && !self.surroundings.wait(after_ms) {
                return Err(CloudError::Interrupted(bytes));
            }
            let ended = self.attempt(outgoing, endpoints[at], deadline_ms, &mut bytes, on)?;
            let (trouble, words) = match ended {
                Ended::Answered(text, incoming) => {
                    health.answered(at);
                    let Incoming { tokens_in, tokens_out, finish, .. } = incoming;
                    return Ok(Answer { endpoint: at, text, finish, tokens_in, tokens_out, bytes });
                }
                Ended::Interrupted => return Err(CloudError::Interrupted(bytes)),
                Ended::Failed(trouble, words) => (trouble, words),
            };
            tried.push(format!("{}: {words}", endpoints[at].name));
            attempts.push(Attempt { endpoint: at, trouble });
            let now = self.surroundings.now_ms();
            let next = plan::plan(health, endpoints.len(), &attempts, (now, deadline_ms), &self.limits);
            if !matches!(next, Step::Try { endpoint, .. } if endpoint == at) {
                health.failed(at, now, &self.limits);
            }
        }
    }

    fn attempt(
        &self,
        outgoing: &Outgoing,
        endpoint: &Endpoint,
        deadline_ms: u64,
        bytes: &mut Bytes,
        on: &mut dyn FnMut(Piece<'_>),
    ) -> Result<Ended, CloudError> {
        let blocked = |words: String| Ok(Ended::Failed(Trouble::Refused(0), words));
        let key = match self.surroundings.key(endpoint) {
            Ok(key) => key,
            Err(why) => return blocked(why),
        };
        let address =
            format!("{}{}", endpoint.url.to_string().trim_end_matches('/'), wire::path(endpoint.api));
        let Ok(url) = Url::parse(&address) else { return blocked(format!("{address} is no address")) };
        let body = wire::body(outgoing, endpoint);
        let now = self.surroundings.now_ms();
        let entry = Entry {
            at_ms: now,
            endpoint: endpoint.name.clone(),
            to: endpoint.url.origin.to_string(),
            model: endpoint.model.clone(),
            why: outgoing.verdict().why.to_string(),
            redacted: outgoing.redacted().iter().map(|&kind| kind.to_owned()).collect(),
            bytes: body.len() as u64,
            sha256: sha256_of(&body),
        };
        self.log.append(&entry).map_err(|e| CloudError::Log(e, *bytes))?;
        bytes.out += body.len() as u64;
        let post = Post {
            purpose: Purpose::Answer,
            url: &url,
            headers: &wire::headers(endpoint.api, key.as_deref()),
            body: &body,
            timeout: Some(Duration::from_millis(deadline_ms.saturating_sub(now).max(1))),
        };
        let response = match self.client.post(&post) {
            Ok(response) => response,
            Err(NetError::Interrupted) => return Ok(Ended::Interrupted),
            Err(e @ NetError::Blocked { .. }) => return Ok(Ended::Failed(Trouble::Blocked, e.to_string())),
            Err(e) => return Ok(Ended::Failed(Trouble::Unreachable, e.to_string())),
        };
        let status = response.status;
        if status != 200 {
            let seconds = response.header("retry-after").and_then(|v| v.trim().parse::<u64>().ok());
            let said = response.read_whole(64 << 10).unwrap_or_default();
            bytes.r#in += said.len() as u64;
            let trouble = match status {
                429 | 503 => Trouble::Busy(seconds.map(|s| s.saturating_mul(1000))),
                500..=599 => Trouble::Server(status),
                _ => Trouble::Refused(status),
            };
            let value: Value = serde_json::from_slice(&said).unwrap_or_default();
            let words = value.get("error").map(|error| format!(": {}", wire::words(error)));
            return Ok(Ended::Failed(trouble, format!("status {status}{}", words.unwrap_or_default())));
        }
        on(Piece::From(&endpoint.name));
        Ok(self.listen(response.into_reader(), bytes, on))
    }

    /// Reads an answer as it comes, no further than to its end: a connection may stay open after it, or go without a word.
    fn listen(&self, mut from: impl Read, bytes: &mut Bytes, on: &mut dyn FnMut(Piece<'_>)) -> Ended {
        let (mut incoming, mut all, mut buffer) = (Incoming::default(), String::new(), [0; 8192]);
        let (trouble, wrong) = loop {
            let read = match from.read(&mut buffer) {
                Ok(n) => n,
                Err(_) if self.client.is_interrupted() => return Ended::Interrupted,
                Err(_) if incoming.ended => return Ended::Answered(all, incoming),
                Err(e) => break (Trouble::Cut, e.to_string()),
            };
            bytes.r#in += read as u64;
            let text = if read > 0 { incoming.push(&buffer[..read]) } else { incoming.finish() };
            let text = match text {
                Ok(text) => text,
                Err(wrong) => break (Trouble::Cut, wrong),
            };
            if all.len() + text.len() > ANSWER_BYTES_MAX {
                // It would say as much again.
                break (Trouble::Refused(200), format!("an answer of more than {ANSWER_BYTES_MAX} bytes"));
            }
            if !text.is_empty() {
                on(Piece::Text(&text));
                all.push_str(&text);
            }
            if incoming.is_done || (read == 0 && incoming.ended) {
                return Ended::Answered(all, incoming);
            }
            if read == 0 {
                break (Trouble::Cut, "the answer broke off".to_owned());
            }
        };
        if !all.is_empty() {
            on(Piece::Void);
        }
        Ended::Failed(trouble, wrong)
    }
}
