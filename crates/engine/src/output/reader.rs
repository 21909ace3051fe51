//! Reading an answer that is still being written.
//!
//! Text comes in pieces, cut anywhere; a format wants to be read from front to back, as if it were all there. So what reads
//! is a future, polled whenever a piece has come: where the next character isn't there yet, it waits. It never sees where
//! pieces end, hence any cut gives the same parts. No executor, thread or waker is involved; the language's `async` serves as
//! a coroutine, and time is linear in the text but for calls that fail, of which there are at most [`FAILED_MAX`].
//!
//! The text that was not given out yet stays here, so that a reading can be taken back.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use super::parts::{Kind, Queue};
use super::{Format, Tool};

/// The most that is held for one call. What is longer is text.
pub(super) const CALL_BYTES_MAX: usize = 1 << 20;
/// How deep arguments may nest; serde_json reads 128.
pub(super) const DEPTH_MAX: usize = 64;
/// Attempts at a call that may fail in one answer; behind that all is text, so that no answer is read again and again.
pub(super) const FAILED_MAX: usize = 32;
/// The longest name of a tool that is looked for.
const NAME_CHARS_MAX: usize = 256;
/// Whitespace before a marker belongs to it, up to this much.
const SPACE_BYTES_MAX: usize = 64;

/// What is being read is no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoCall;

/// Something being read. Boxed, as readings nest.
pub(super) type Reading<'a> = Pin<Box<dyn Future<Output = Result<(), NoCall>> + Send + 'a>>;

/// Where an answer is read.
#[derive(Debug)]
pub(super) struct Reader {
    pub format: &'static Format,
    pub tools: Arc<[Tool]>,
    pub tape: Arc<Mutex<Tape>>,
}

/// The text that has come, and what became of it. Positions count bytes of the whole answer.
#[derive(Debug)]
pub(super) struct Tape {
    /// The answer from `base` on.
    text: String,
    base: usize,
    /// What lies before was given out.
    from: usize,
    /// The next character to read.
    at: usize,
    ended: bool,
    call: Call,
    pub queue: Queue,
}

/// The call being read.
#[derive(Debug, Default)]
struct Call {
    begun: bool,
    arguments: String,
    /// Whether what is read is an argument as it stands.
    copies: bool,
}

impl Tape {
    pub fn new(queue: Queue) -> Self {
        Self { text: String::new(), base: 0, from: 0, at: 0, ended: false, call: Call::default(), queue }
    }

    pub fn push(&mut self, piece: &str) {
        // Moving the rest to the front only when it is the smaller part keeps the cost linear.
        let n_given = self.from - self.base;
        if n_given * 2 >= self.text.len() {
            self.text.drain(..n_given);
            self.base = self.from;
        }
        self.text.push_str(piece);
    }

    pub fn end(&mut self) {
        self.ended = true;
    }

    fn slice(&self, from: usize, to: usize) -> &str {
        &self.text[from - self.base..to - self.base]
    }

    fn give(&mut self, kind: Kind) {
        let text = &self.text[self.from - self.base..self.at - self.base];
        self.queue.push(kind, text);
        self.from = self.at;
    }

    fn argue(&mut self, json: &str) {
        self.call.arguments.push_str(json);
        self.queue.push(Kind::Arguments, json);
    }
}

impl Reader {
    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where reading stands.
    pub fn at(&self) -> usize {
        self.tape().at
    }

    /// Where what was not given out begins.
    pub fn from(&self) -> usize {
        self.tape().from
    }

    /// Goes to where reading stood before.
    pub fn rewind(&self, at: usize) {
        self.tape().at = at;
    }

    /// The next character, or none at the end: of the text, or of what may be held.
    pub async fn peek(&self) -> Option<char> {
        poll_fn(|_| {
            let tape = self.tape();
            match tape.text[tape.at - tape.base..].chars().next() {
                _ if tape.at - tape.from >= CALL_BYTES_MAX => Poll::Ready(None),
                None if !tape.ended => Poll::Pending,
                next => Poll::Ready(next),
            }
        })
        .await
    }

    /// Steps over the next character, which is there.
    pub fn step(&self) {
        let tape = &mut *self.tape();
        let Some(next) = tape.text[tape.at - tape.base..].chars().next() else { return };
        tape.at += next.len_utf8();
        if tape.call.copies {
            tape.argue(next.encode_utf8(&mut [0; 4]));
        }
    }

    /// Reads a character.
    pub async fn next(&self) -> Option<char> {
        let next = self.peek().await;
        if next.is_some() {
            self.step();
        }
        next
    }

    /// Reads this character, if it is next.
    pub async fn take(&self, expected: char) -> bool {
        let there = self.peek().await == Some(expected);
        if there {
            self.step();
        }
        there
    }

    /// Reads this text, if it is next. Waits only as long as it could be.
    pub async fn is(&self, literal: &str) -> bool {
        let start = self.at();
        for expected in literal.chars() {
            if !self.take(expected).await {
                self.rewind(start);
                return false;
            }
        }
        true
    }

    /// Reads this text.
    pub async fn expect(&self, literal: &str) -> Result<(), NoCall> {
        if self.is(literal).await { Ok(()) } else { Err(NoCall) }
    }

    /// Reads one of these texts, of which none begins another, and says which.
    pub async fn one_of(&self, literals: &[&str]) -> Option<usize> {
        for (i, literal) in literals.iter().enumerate() {
            if self.is(literal).await {
                return Some(i);
            }
        }
        None
    }

    /// Steps over whitespace.
    pub async fn space(&self) {
        while matches!(self.peek().await, Some(' ' | '\t' | '\n' | '\r')) {
            self.step();
        }
    }

    /// Steps over whitespace that may stand before a marker.
    async fn space_before(&self) {
        let start = self.at();
        while self.at() - start < SPACE_BYTES_MAX
            && matches!(self.peek().await, Some(' ' | '\t' | '\n' | '\r'))
        {
            self.step();
        }
    }

    /// Reads what may be a name.
    pub async fn word(&self) -> String {
        let mut word = String::new();
        while let Some(next) = self.peek().await
            && (next.is_alphanumeric() || "_-.:/".contains(next))
            && word.len() < NAME_CHARS_MAX
        {
            word.push(next);
            self.step();
        }
        word
    }

    /// Reads up to this text and over it.
    pub async fn up_to(&self, literal: &str) -> Result<String, NoCall> {
        let mut read = String::new();
        while !self.is(literal).await {
            read.push(self.next().await.ok_or(NoCall)?);
        }
        Ok(read)
    }

    /// What was read since `from`.
    pub fn read_since(&self, from: usize) -> String {
        let tape = self.tape();
        tape.slice(from, tape.at).to_owned()
    }

    /// Gives out what was read.
    pub fn give(&self, kind: Kind) {
        self.tape().give(kind);
    }

    /// Gives text out until one of `markers` is next, perhaps behind whitespace, and says which. Holds back only what may be
    /// that.
    pub async fn until(&self, kind: Kind, markers: &[&str]) -> Option<usize> {
        loop {
            let start = self.at();
            self.space_before().await;
            let marker = self.at();
            let found = self.one_of(markers).await;
            if found.is_some() {
                self.rewind(start);
                return found;
            }
            let full = marker - start >= SPACE_BYTES_MAX;
            self.rewind(if full { start } else { marker });
            if (full || marker == start) && self.next().await.is_none() {
                return None;
            }
            self.give(kind);
        }
    }

    /// Reads these texts where they follow, whitespace aside, each of them at most once.
    pub async fn trailing(&self, literals: &[&str]) {
        for literal in literals {
            let start = self.at();
            self.space().await;
            if self.is(literal).await {
                self.give(Kind::Markup);
            } else {
                self.rewind(start);
            }
        }
    }

    /// Whether only whitespace follows, which is then given out as markup.
    pub async fn is_over(&self) -> bool {
        let start = self.at();
        self.space_before().await;
        if self.peek().await.is_none() {
            self.give(Kind::Markup);
            return true;
        }
        self.rewind(start);
        false
    }

    /// Whether there is a tool of this name; a namespace before it counts for nothing.
    pub fn tool(&self, name: &str) -> Result<&Tool, NoCall> {
        let named = |name: &str| self.tools.iter().find(|tool| tool.name == name);
        named(name).or_else(|| named(name.strip_prefix("functions.")?)).ok_or(NoCall)
    }

    /// A call to this tool begins.
    pub fn begin(&self, name: &str, id: Option<&str>) -> Result<&Tool, NoCall> {
        let tool = self.tool(name)?;
        let tape = &mut *self.tape();
        tape.call.arguments.clear();
        tape.call.begun = true;
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            tape.queue.push(Kind::Id, id);
        }
        tape.queue.push(Kind::Begin, &tool.name);
        Ok(tool)
    }

    /// More of the arguments, where they are not JSON as they stand.
    pub fn argue(&self, json: &str) {
        self.tape().argue(json);
    }

    /// From here on, or no more, what is read is an argument as it stands.
    pub fn copy(&self, copies: Copying) {
        self.tape().call.copies = copies == Copying::On;
    }

    /// The call is complete with what was read. Its arguments must be an object, by an independent reading.
    pub fn end(&self) -> Result<(), NoCall> {
        let tape = &mut *self.tape();
        serde_json::from_str::<serde_json::Map<_, _>>(&tape.call.arguments).map_err(|_| NoCall)?;
        tape.call.begun = false;
        tape.give(Kind::End);
        Ok(())
    }

    /// What was read last is no call: it will be read again, as text.
    pub fn fail(&self) {
        let tape = &mut *self.tape();
        tape.call.copies = false;
        if std::mem::take(&mut tape.call.begun) {
            tape.queue.push(Kind::Failed, "");
        }
        tape.at = tape.from;
    }
}

/// Whether what is read is an argument as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copying {
    On,
    Off,
}
