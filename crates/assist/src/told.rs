//! What is told of how an answer came about: facts with their places, what was read, and what left.

use serde_json::{Value as Json, json};

use crate::course::{Course, Leaving};
use crate::document::{Document, n_bytes};

/// What left for one question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Bytes of bodies, of all attempts.
    pub n_bytes: u64,
    /// The facts that left, by number, counted from 0.
    pub facts: Vec<usize>,
    /// Who answered last.
    pub answered_by: Option<String>,
    /// Whether values were replaced.
    pub is_redacted: bool,
}

impl Left {
    /// So many bytes left, to ask `leaving`.
    pub fn count(&mut self, n_bytes: u64, leaving: &Leaving) {
        self.n_bytes += n_bytes;
        if n_bytes > 0 {
            self.facts.extend(&leaving.facts);
            self.facts.sort_unstable();
            self.facts.dedup();
        }
    }
}

/// How an answer came about.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// What it is about.
    pub documents: &'a [Document],
    /// Passages that there are.
    pub n_passages: usize,
    /// The answer from here was made of the documents as they are.
    pub was_whole: bool,
    /// The way of the question.
    pub course: &'a Course<'a>,
    /// What left, where somebody was to be asked.
    pub left: Option<&'a Left>,
}

impl Told<'_> {
    /// Whether the documents went into one prompt, and nothing was read passage by passage.
    pub fn is_whole(&self) -> bool {
        self.was_whole && self.course.asked().is_empty()
    }

    /// All of it, for programs, without the answer itself.
    pub fn to_json(&self, is_from_here: bool) -> Json {
        let left = |at: usize| self.left.is_some_and(|left| left.facts.contains(&at));
        let facts: Vec<Json> = (self.course.sheet().facts().iter().enumerate())
            .map(|(at, fact)| {
                let places: Vec<Json> = (fact.places.iter())
                    .map(|place| {
                        let document = &self.documents[place.document];
                        json!({
                            "file": document.name, "line": document.line_of(place.quote.start),
                            "passage": place.passage + 1, "start": place.quote.start, "end": place.quote.end,
                            "quote": document.text[place.quote.clone()],
                        })
                    })
                    .collect();
                json!({
                    "question": self.course.asked()[fact.question], "answer": fact.answer, "left": left(at),
                    "places": places,
                })
            })
            .collect();
        json!({
            "answered_by": self.left.and_then(|left| left.answered_by.as_deref()).filter(|_| !is_from_here),
            "redacted": self.left.is_some_and(|left| left.is_redacted),
            "whole": self.is_whole(),
            "bytes_read": n_bytes(self.documents),
            "bytes_left": self.left.map_or(0, |left| left.n_bytes),
            "n_passages": self.n_passages,
            "questions": self.course.asked(),
            "n_replies": self.course.tally().n_replies,
            "n_unusable": self.course.tally().n_unusable,
            "facts": facts,
        })
    }
}
