//! Jobs of an engine, and what comes of them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use ingle_engine::Result;
use ingle_engine::generate::{Event, Outcome, Overflow};
use ingle_engine::run::{Job, Sink};
use ingle_engine::sample::Params;

/// What came of an answer.
pub struct Said {
    pub text: String,
    pub outcome: Result<Outcome>,
}

/// Collects an answer.
pub struct Collect {
    pub text: String,
    pub to: Sender<Said>,
}

impl Sink for Collect {
    fn ready(&self) -> bool {
        true
    }

    fn on(&mut self, event: Event<'_>) {
        if let Event::Text(text) = event {
            self.text.push_str(text);
        }
    }

    fn end(self: Box<Self>, outcome: Result<Outcome>) {
        // A caller who is gone is no error.
        let _ = self.to.send(Said { text: self.text, outcome });
    }
}

/// An answer to `prompt`, and where it will be.
pub fn job(prompt: &[u32], params: &Params, max_tokens: usize) -> (Job, Receiver<Said>) {
    let (to, said) = channel();
    let job = Job {
        prompt: prompt.to_vec(),
        params: params.clone(),
        stop: vec![" the".into()],
        max_tokens,
        logprobs: None,
        constraint: None,
        shown: Arc::default(),
        overflow: Overflow::DropOldest,
        keep: 3,
        cancel: Arc::default(),
        sink: Box::new(Collect { text: String::new(), to }),
    };
    (job, said)
}
