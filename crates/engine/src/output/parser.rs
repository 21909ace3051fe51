//! An answer as it comes in: thoughts first, then text and calls in any order.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

use super::parts::{Kind, Queue};
use super::reader::{FAILED_MAX, Reader, Tape};
use super::{Delivery, Format, Part, Reasoning, Tool};

/// How an answer is to be read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The tools that may be called; none where calls are not wanted.
    pub tools: Arc<[Tool]>,
    /// The thoughts that the prompt left open: see [`Format::opened_by`].
    pub inside: Option<&'static Reasoning>,
    /// When calls are told.
    pub delivery: Delivery,
}

/// Tells an answer's parts apart while it is coming.
///
/// ```
/// use ingle_engine::output::{Delivery, Options, Parser, Part, Tool, detect};
///
/// let format = detect("... <tool_call> ...");
/// let tools = [Tool { name: "now".into(), parameters: serde_json::Value::Null }].into();
/// let mut answer = Parser::new(format, Options { tools, inside: None, delivery: Delivery::Proven });
/// let mut calls = Vec::new();
/// let mut on = |part: Part<'_>| {
///     if let Part::CallBegin { name, .. } = part {
///         calls.push(name.to_owned());
///     }
/// };
/// answer.push("One moment.\n<tool_c", &mut on);
/// answer.push("all>{\"name\": \"now\", \"arguments\": {}}</tool_call>", &mut on);
/// answer.finish(&mut on);
/// assert_eq!(calls, ["now"]);
/// ```
pub struct Parser {
    tape: Arc<Mutex<Tape>>,
    reading: Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
}

impl fmt::Debug for Parser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parser").field("tape", &self.tape).finish_non_exhaustive()
    }
}

impl Parser {
    /// For an answer of which nothing has come.
    pub fn new(format: &'static Format, options: Options) -> Self {
        let tape = Arc::new(Mutex::new(Tape::new(Queue::new(options.delivery))));
        let reader = Reader { format, tools: options.tools, tape: tape.clone() };
        let reading = Box::pin(async move { read(&reader, options.inside).await });
        Self { tape, reading, over: false }
    }

    /// Takes the next piece of text and tells what is certain now.
    pub fn push(&mut self, piece: &str, mut on: impl FnMut(Part<'_>)) {
        self.with(|tape| tape.push(piece));
        self.read_on(&mut on);
    }

    /// The text is over: tells what was held back.
    pub fn finish(mut self, mut on: impl FnMut(Part<'_>)) {
        self.with(Tape::end);
        self.read_on(&mut on);
    }

    fn with<T>(&self, act: impl FnOnce(&mut Tape) -> T) -> T {
        act(&mut self.tape.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn read_on(&mut self, on: &mut impl FnMut(Part<'_>)) {
        self.over =
            self.over || self.reading.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        self.with(|tape| tape.queue.deliver(on));
    }
}

async fn read(r: &Reader, inside: Option<&'static Reasoning>) {
    if let Some(reasoning) = inside {
        r.space().await;
        // Some models open what was open already.
        r.is(reasoning.open).await;
        think(r, reasoning).await;
    }
    while let Some(reasoning) = thoughts_begin(r).await {
        think(r, reasoning).await;
    }
    let mut n_failed = 0;
    if r.format.bare && !attempt(r, None).await {
        n_failed += 1;
    }
    while !r.is_over().await {
        let openers = if n_failed < FAILED_MAX { r.format.openers } else { &[] };
        let Some(opener) = r.until(Kind::Text, openers).await else { return };
        if !attempt(r, Some(opener)).await {
            n_failed += 1;
        }
    }
}

/// Reads what opens thoughts, if that is next.
async fn thoughts_begin(r: &Reader) -> Option<&'static Reasoning> {
    let start = r.at();
    r.space().await;
    for reasoning in r.format.reasoning {
        if r.is(reasoning.open).await {
            return Some(reasoning);
        }
    }
    r.rewind(start);
    None
}

/// Reads thoughts up to their end, and the whitespace around them as markup.
async fn think(r: &Reader, reasoning: &Reasoning) {
    r.space().await;
    r.give(Kind::Markup);
    if r.until(Kind::Reasoning, &[reasoning.close]).await.is_some() {
        r.space().await;
        r.is(reasoning.close).await;
        r.space().await;
        r.give(Kind::Markup);
    }
}

/// Reads calls behind an opener that is next. If they are none, the opener is text, and what follows will be read again.
async fn attempt(r: &Reader, opener: Option<usize>) -> bool {
    let start = r.from();
    r.space().await;
    if let Some(opener) = opener {
        r.is(r.format.openers[opener]).await;
    }
    let behind = r.at();
    if (r.format.calls)(r, opener).await.is_ok() {
        return true;
    }
    let told = r.from() > start;
    r.fail();
    if !told {
        r.rewind(behind);
        if opener.is_none() {
            r.rewind(start);
        }
        r.give(Kind::Text);
    }
    false
}
