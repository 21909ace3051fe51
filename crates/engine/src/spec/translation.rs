//! Between two vocabularies: the token of one that writes what a token of the other writes.
//!
//! Models of one family often have the same tokens, in rows of different length. Where tokens differ, those that write the same bytes stand for each
//! other, and what has no counterpart is spelled in the other's tokens; a guess that has none is no guess. Too few counterparts are
//! refused: such a drafter would only take time.

use std::collections::HashMap;

use ingle_model::token::{Kind, Parse, Tokenizer};

use super::rollout::Words;
use crate::error::{Error, Result};
use crate::model_file::Loaded;

/// The least share of the judging model's tokens that must have a counterpart.
const SHARE_MIN: f64 = 0.3;

/// Two vocabularies.
#[derive(Debug)]
pub(super) enum Translation {
    /// The same tokens; rows of logits may be longer or shorter.
    Same { row: Vec<f32> },
    /// Others.
    Other {
        /// Of each token of the drafting model the judging model's, `u32::MAX` for none.
        to_target: Vec<u32>,
        /// Of each token of the judging model the drafting model's.
        to_draft: Vec<Box<[u32]>>,
        /// A row of the judging model's.
        row: Vec<f32>,
    },
}

impl Translation {
    /// Between the vocabularies of the model that judges and of one that drafts.
    ///
    /// # Errors
    /// When too few tokens of one write what a token of the other writes.
    pub fn new(target: &Loaded, draft: &Loaded) -> Result<Self> {
        let (n_target, n_draft) = (target.model.config.vocab, draft.model.config.vocab);
        let row = vec![f32::NEG_INFINITY; n_target];
        let (from, to) = (target.tokenizer()?, draft.tokenizer()?);
        let n_both = from.n_vocab().min(to.n_vocab()) as u32;
        let same = |id: u32| (from.token_name(id), from.kind(id)) == (to.token_name(id), to.kind(id));
        if (0..n_both).all(same) && from.n_vocab().max(to.n_vocab()) <= n_both as usize + 256 {
            return Ok(Self::Same { row });
        }
        let key =
            |of: &Tokenizer, id: u32| Some((of.token_name(id)?.to_vec(), of.kind(id)? == Kind::Control));
        let known: HashMap<_, u32> =
            (0..n_draft as u32).rev().filter_map(|id| Some((key(to, id)?, id))).collect();
        let mut to_target = vec![u32::MAX; n_draft];
        let (mut n_found, mut to_draft) = (0usize, Vec::with_capacity(n_target));
        for id in 0..n_target as u32 {
            let counterpart = key(from, id).and_then(|key| known.get(&key).copied());
            if let Some(other) = counterpart {
                to_target[other as usize] = id;
                n_found += 1;
            }
            to_draft.push(match counterpart {
                Some(other) => Box::from([other]),
                None => spelled(from, to, id),
            });
        }
        if (n_found as f64) < SHARE_MIN * from.n_vocab() as f64 {
            return Err(Error::Input(format!(
                "{}: {n_found} of the {} tokens of {} are tokens of it, expected at least {:.0} % to draft for it",
                draft.file.name(),
                from.n_vocab(),
                target.file.name(),
                100.0 * SHARE_MIN
            )));
        }
        Ok(Self::Other { to_target, to_draft, row })
    }
}

/// What token `id` writes in the other vocabulary's tokens; none where that has no letters for it.
fn spelled(from: &Tokenizer, to: &Tokenizer, id: u32) -> Box<[u32]> {
    let mut ids = Vec::new();
    let bytes = from.token_bytes(id).filter(|_| from.kind(id) != Some(Kind::Control));
    if let Some(text) = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok())
        && to.encode(text, Parse::Text, &mut ids).is_err()
    {
        ids.clear();
    }
    ids.into()
}

impl Words for Translation {
    fn row<'r>(&'r mut self, row: &'r mut [f32]) -> &'r mut [f32] {
        match self {
            Self::Same { row: own } if own.len() == row.len() => row,
            Self::Same { row: own } => {
                let n = own.len().min(row.len());
                own[..n].copy_from_slice(&row[..n]);
                own[n..].fill(f32::NEG_INFINITY);
                own
            }
            Self::Other { to_target, row: own, .. } => {
                own.fill(f32::NEG_INFINITY);
                for (&id, &logit) in to_target.iter().zip(&*row) {
                    if let Some(to) = own.get_mut(id as usize) {
                        *to = logit;
                    }
                }
                own
            }
        }
    }

    fn feed(&self, id: u32, to: &mut Vec<u32>) {
        match self {
            Self::Same { .. } => to.push(id),
            Self::Other { to_draft, .. } => to.extend_from_slice(&to_draft[id as usize]),
        }
    }
}
