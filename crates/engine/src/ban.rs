//! Banned strings over streamed text: texts that never appear, whatever the model would say.
//!
//! A banned string is known only when its last token is there, so the answer must be able to go back. Tokens are held as
//! long as their text may still become a banned string; when one is complete, everything from the token that began it is
//! taken back, that token is ruled out at its place, and the choice is made again from the same logits. Nothing of what was
//! taken back has been shown, as tokens are shown whole or not at all.
//!
//! What it costs: a token that is chosen again is computed again, and text that may become a banned string comes late. What
//! it does to the distribution: a token that began a banned string is ruled out at its place even if it could have gone on
//! in another way, so words that begin like a banned one become rarer, not only the banned one. Letters' case counts, and
//! the prompt's end is not part of the text. Going back is bounded: see [`Bans`].

use std::collections::VecDeque;
use std::sync::Arc;

use ingle_model::token::{Detokenizer, Place, Render, Tokenizer};

use crate::pattern::Pattern;

/// Turns tokens into text and holds back what may become a banned string.
#[derive(Debug)]
pub struct BanFilter {
    patterns: Vec<Pattern>,
    /// The text of `held`.
    text: String,
    held: VecDeque<Held>,
    /// After all tokens.
    now: Detokenizer,
    /// After the last token that was shown.
    shown: Detokenizer,
    /// Where `shown` writes what is known already.
    unread: String,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    id: u32,
    /// Of the text that it completed.
    n_bytes: usize,
}

/// A banned string is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Tokens to take back, the last one included; the filter has forgotten them.
    pub n_tokens: usize,
    /// The first of them, to be ruled out at its place.
    pub id: u32,
}

impl BanFilter {
    /// A filter for these strings; empty ones are ignored, as they would ban every text. The special tokens `shown` write
    /// their names, others nothing.
    pub fn new(banned: &[impl AsRef<str>], shown: Arc<[u32]>) -> Self {
        let patterns: Vec<Pattern> =
            banned.iter().map(AsRef::as_ref).filter(|s| !s.is_empty()).map(Pattern::new).collect();
        let longest = patterns.iter().map(Pattern::n_bytes).max().unwrap_or(0);
        let detokenizer = Detokenizer::new(Render::Text, Place::Continuation).showing(shown);
        Self {
            patterns,
            // A held token writes at least a byte, but for the rare one that writes nothing; pieces are short.
            text: String::with_capacity(2 * longest + 512),
            held: VecDeque::with_capacity(longest + 64),
            now: detokenizer.clone(),
            shown: detokenizer,
            unread: String::with_capacity(512),
        }
    }

    /// Takes the next token and calls `show` with what can't become a banned string any more, token by token.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32, mut show: impl FnMut(&str)) -> Option<Found> {
        let before = self.text.len();
        self.now.push(tokenizer, id, &mut self.text);
        self.held.push_back(Held { id, n_bytes: self.text.len() - before });
        if let Some(start) = self.match_from(before) {
            return Some(self.take_back(tokenizer, start));
        }
        let pending = self.patterns.iter().map(Pattern::matched).max().unwrap_or(0);
        let safe = self.text.len() - pending;
        let mut end = 0;
        while let Some(first) = self.held.front().filter(|first| end + first.n_bytes <= safe) {
            end += first.n_bytes;
            if !self.patterns.is_empty() {
                self.unread.clear();
                self.shown.push(tokenizer, first.id, &mut self.unread);
            }
            self.held.pop_front();
        }
        if end > 0 {
            show(&self.text[..end]);
            self.text.drain(..end);
        }
        None
    }

    /// The text is over: shows what was held back.
    pub fn finish(&mut self, mut show: impl FnMut(&str)) {
        let before = self.text.len();
        self.now.flush(&mut self.text);
        // A character that was never completed may be banned, too.
        if let Some(start) = self.match_from(before) {
            self.text.truncate(start);
        }
        if !self.text.is_empty() {
            show(&self.text);
        }
        self.text.clear();
        self.held.clear();
    }

    /// How many tokens are held: as many at most can be taken back.
    pub fn n_held(&self) -> usize {
        self.held.len()
    }

    /// Reads the text from byte `from` on; the start of the banned string that is complete first, the earliest of several.
    fn match_from(&mut self, from: usize) -> Option<usize> {
        for (i, &byte) in self.text.as_bytes().iter().enumerate().skip(from) {
            let complete =
                self.patterns.iter_mut().filter_map(|p| p.advance(byte).then(|| i + 1 - p.n_bytes()));
            if let Some(start) = complete.min() {
                return Some(start);
            }
        }
        None
    }

    /// Forgets all tokens from the one that wrote byte `start` on.
    fn take_back(&mut self, tokenizer: &Tokenizer, start: usize) -> Found {
        let (mut n_kept, mut end) = (0, 0);
        while end + self.held[n_kept].n_bytes <= start {
            end += self.held[n_kept].n_bytes;
            n_kept += 1;
        }
        let found = Found { n_tokens: self.held.len() - n_kept, id: self.held[n_kept].id };
        self.held.truncate(n_kept);
        self.text.truncate(end);
        self.now = self.shown.clone();
        self.unread.clear();
        self.held.iter().for_each(|held| self.now.push(tokenizer, held.id, &mut self.unread));
        self.patterns.iter_mut().for_each(Pattern::reset);
        let again = self.match_from(0);
        debug_assert!(again.is_none(), "what was held before is not banned");
        found
    }
}

/// Times that an answer may go back before it has said anything; each further token allows one more.
const BACK_MAX: usize = 64;

/// Which tokens are ruled out at which place of an answer, and how often it may still go back.
#[derive(Debug)]
pub struct Bans {
    list: Vec<(usize, u32)>,
    n_back: usize,
    /// The furthest place that was reached.
    furthest: usize,
}

impl Default for Bans {
    fn default() -> Self {
        Self { list: Vec::with_capacity(BACK_MAX), n_back: 0, furthest: 0 }
    }
}

impl Bans {
    /// Rules out `id` at `place`, counted in tokens of the answer, after going back from `from`. `false` when the answer
    /// has gone back too often to go on.
    pub fn add(&mut self, place: usize, id: u32, from: usize) -> bool {
        // What was ruled out further on followed another text.
        self.list.retain(|&(at, _)| at <= place);
        self.list.push((place, id));
        self.n_back += 1;
        self.furthest = self.furthest.max(from);
        self.n_back <= BACK_MAX + self.furthest
    }

    /// Rules out in `row` `(n_vocab)` what is banned at `place`; forgets the places before `oldest`. Returns whether
    /// anything was.
    pub fn apply(&mut self, place: usize, oldest: usize, row: &mut [f32]) -> bool {
        self.list.retain(|&(at, _)| at >= oldest);
        let mut any = false;
        for &(_, id) in self.list.iter().filter(|&&(at, _)| at == place) {
            row[id as usize] = f32::NEG_INFINITY;
            any = true;
        }
        any
    }
}
