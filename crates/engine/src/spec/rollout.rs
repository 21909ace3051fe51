//! Guesses of a model: it takes the tokens that it lacks, one is chosen as the answer would, and so on.

use ingle_model::decoder::{LOGITS_ROWS_MAX, Model, Runtime, Scratch, Span};
use ingle_model::kv::Kv;

use super::Drafts;
use crate::answer::Rehearsal;

/// One sequence that is guessed on.
#[derive(Debug)]
pub(super) struct Player<'a> {
    /// The drafting model's cache.
    pub kv: &'a mut Kv,
    /// Tokens that the cache lacks, of the drafting model's; at least one.
    pub feed: Vec<u32>,
    /// The answer, which only tries.
    pub rehearsal: Rehearsal<'a>,
    /// Takes the guesses.
    pub drafts: &'a mut Drafts,
    /// How many.
    pub n: usize,
    /// How many with another beside them.
    pub n_others: usize,
}

/// What one vocabulary's numbers are in another's.
pub(super) trait Words {
    /// The row in the vocabulary of the model that judges.
    fn row<'r>(&'r mut self, row: &'r mut [f32]) -> &'r mut [f32];
    /// A token of that model's in the tokens of the one that drafts, appended.
    fn feed(&self, id: u32, to: &mut Vec<u32>);
}

/// Both are the same.
pub(super) struct Same;

impl Words for Same {
    fn row<'r>(&'r mut self, row: &'r mut [f32]) -> &'r mut [f32] {
        row
    }

    fn feed(&self, id: u32, to: &mut Vec<u32>) {
        to.push(id);
    }
}

/// Lets all `players` guess with the first `n_layers` of `model`, step by step together.
///
/// # Errors
/// When the model refuses a step.
pub(super) fn play(
    (model, n_layers): (&Model, usize),
    run: &Runtime<'_>,
    scratch: &mut Scratch,
    words: &mut dyn Words,
    mut players: Vec<Player<'_>>,
) -> ingle_model::Result<()> {
    loop {
        players.retain(|player| {
            let n_done = player.drafts.chain().len();
            n_done < player.n && player.feed.len() <= player.kv.capacity() - player.kv.len()
        });
        if players.is_empty() {
            return Ok(());
        }
        let mut spans: Vec<Span<'_>> =
            players.iter_mut().map(|player| Span::wanting(1, player.kv, &player.feed)).collect();
        model.forward_through(n_layers, run, &mut spans, scratch)?;
        for first in (0..players.len()).step_by(LOGITS_ROWS_MAX) {
            let rows = first..players.len().min(first + LOGITS_ROWS_MAX);
            let logits = model.logits(run, rows.clone(), scratch);
            for (player, row) in players[rows].iter_mut().zip(logits.chunks_exact_mut(model.config.vocab)) {
                let Player { feed, rehearsal, drafts, n, n_others, .. } = player;
                let place = drafts.chain().len();
                let Some((id, other)) = rehearsal.guess(words.row(row), place < *n_others) else {
                    *n = 0;
                    continue;
                };
                if let Some(other) = other {
                    drafts.push_other(place, other);
                }
                drafts.push(id);
                feed.clear();
                words.feed(id, feed);
            }
        }
    }
}
