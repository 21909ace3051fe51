//! Guesses at the next tokens, and the way an answer takes among them.

use ingle_model::decoder::Branch;

use super::DRAFTS_MAX;
use crate::answer::Next;
use crate::error::Result;

/// Guesses behind some sequence: a chain, and tokens that may come in place of one of it.
///
/// Rows of logits are numbered so: 0 is behind the sequence itself, `i` behind the chain's `i`th token, and those of the others follow.
#[derive(Debug, PartialEq, Eq)]
pub struct Drafts {
    chain: Vec<u32>,
    others: Vec<Other>,
    /// How sure the drafter is: which of its estimates the chain counts for.
    pub class: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Other {
    /// Tokens of the chain before it.
    behind: usize,
    token: u32,
}

/// How guesses were judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Tokens of the chain that were chosen.
    pub n_chain: usize,
    /// Whether behind them a token was chosen that was guessed beside the chain.
    pub other: bool,
    /// Whether the next token of the chain, if there is one, was not chosen: `false` where nothing was chosen any more.
    pub parted: bool,
}

impl Default for Drafts {
    fn default() -> Self {
        Self { chain: Vec::with_capacity(DRAFTS_MAX), others: Vec::with_capacity(DRAFTS_MAX), class: 0 }
    }
}

impl Clone for Drafts {
    fn clone(&self) -> Self {
        let mut clone = Self::default();
        clone.clone_from(self);
        clone
    }

    fn clone_from(&mut self, other: &Self) {
        self.chain.clone_from(&other.chain);
        self.others.clone_from(&other.others);
        self.class = other.class;
    }
}

impl Drafts {
    /// No guesses.
    pub fn clear(&mut self) {
        self.chain.clear();
        self.others.clear();
        self.class = 0;
    }

    /// Guesses `token` behind the chain.
    pub fn push(&mut self, token: u32) {
        self.chain.push(token);
    }

    /// Guesses `token` beside the chain's token behind the first `behind`.
    pub fn push_other(&mut self, behind: usize, token: u32) {
        self.others.push(Other { behind, token });
    }

    /// The chain.
    pub fn chain(&self) -> &[u32] {
        &self.chain
    }

    /// The chain, for a drafter that fills it.
    pub fn chain_mut(&mut self) -> &mut Vec<u32> {
        &mut self.chain
    }

    /// Guesses beside the chain: how many of it come before, and the token.
    pub fn others(&self) -> impl Iterator<Item = (usize, u32)> {
        self.others.iter().map(|other| (other.behind, other.token))
    }

    /// All guesses.
    pub fn len(&self) -> usize {
        self.chain.len() + self.others.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the chain's first `n`, and what is beside them.
    pub fn truncate(&mut self, n: usize) {
        self.chain.truncate(n);
        self.others.retain(|other| other.behind < n);
    }

    /// Puts all guesses behind `tokens`, and their branches into `branches`, where the last `n_fed` of `tokens` are those that the step
    /// feeds.
    pub fn put(&self, tokens: &mut Vec<u32>, n_fed: usize, branches: &mut Vec<Branch>) {
        tokens.extend_from_slice(&self.chain);
        for &Other { behind, token } in &self.others {
            tokens.push(token);
            branches.push(Branch { behind: n_fed + behind, n_tokens: 1 });
        }
    }

    /// Has the next tokens chosen by the rows of these guesses, one after the other while a choice is one of them: the last row that was
    /// chosen from, and what is next.
    ///
    /// # Errors
    /// The first of `choose`.
    pub fn walk(&self, mut choose: impl FnMut(usize) -> Result<Next>) -> Result<(usize, Next)> {
        let mut row = 0;
        loop {
            let next = choose(row)?;
            match next {
                Next::Feed(id) if let Some(further) = self.follow(row, id) => row = further,
                _ => return Ok((row, next)),
            }
        }
    }

    /// Appends the guesses that lead to `row`.
    pub fn tokens_to(&self, row: usize, to: &mut Vec<u32>) {
        let other = row.checked_sub(1 + self.chain.len()).map(|i| self.others[i]);
        to.extend_from_slice(&self.chain[..other.map_or(row, |other| other.behind)]);
        to.extend(other.map(|other| other.token));
    }

    /// The row behind token `id`, chosen from `row`, if it was guessed.
    pub fn follow(&self, row: usize, id: u32) -> Option<usize> {
        if row > self.chain.len() {
            return None;
        }
        if self.chain.get(row) == Some(&id) {
            return Some(row + 1);
        }
        let other = self.others.iter().position(|other| *other == Other { behind: row, token: id });
        other.map(|i| 1 + self.chain.len() + i)
    }

    /// What it means that the answer went as far as `row`, and on to a token that was not guessed if `parted`.
    pub fn judged(&self, row: usize, parted: bool) -> Judged {
        match row.checked_sub(1 + self.chain.len()) {
            Some(i) => Judged { n_chain: self.others[i].behind, other: true, parted: true },
            None => Judged { n_chain: row, other: false, parted: parted && row < self.chain.len() },
        }
    }
}

impl Judged {
    /// Guesses that were chosen.
    pub fn n_accepted(&self) -> usize {
        self.n_chain + usize::from(self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafts() -> Drafts {
        let mut drafts = Drafts::default();
        [5, 6, 7].into_iter().for_each(|id| drafts.push(id));
        drafts.push_other(0, 9);
        drafts.push_other(2, 8);
        drafts
    }

    #[test]
    fn an_answer_finds_its_way_among_them() {
        let drafts = drafts();
        assert_eq!(
            (drafts.follow(0, 5), drafts.follow(1, 6), drafts.follow(2, 7)),
            (Some(1), Some(2), Some(3))
        );
        assert_eq!((drafts.follow(0, 9), drafts.follow(2, 8)), (Some(4), Some(5)));
        assert_eq!(
            [(0, 8), (1, 9), (3, 1), (4, 1), (5, 7)].map(|(row, id)| drafts.follow(row, id)),
            [None; 5]
        );
        let judged = |n_chain, other, parted| Judged { n_chain, other, parted };
        assert_eq!(drafts.judged(0, true), judged(0, false, true));
        assert_eq!(drafts.judged(3, true), judged(3, false, false));
        assert_eq!(drafts.judged(5, true), judged(2, true, true));
        assert_eq!(drafts.judged(1, false), judged(1, false, false));
        assert_eq!(drafts.judged(5, true).n_accepted(), 3);
    }

    #[test]
    fn branches_stand_behind_what_the_step_feeds() {
        let (mut tokens, mut branches) = (vec![1, 2], Vec::new());
        drafts().put(&mut tokens, 2, &mut branches);
        assert_eq!(tokens, [1, 2, 5, 6, 7, 9, 8]);
        assert_eq!(branches, [2, 4].map(|behind| Branch { behind, n_tokens: 1 }));
        let mut shorter = drafts();
        shorter.truncate(2);
        assert_eq!((shorter.chain(), shorter.others().collect::<Vec<_>>()), (&[5, 6][..], vec![(0, 9)]));
    }
}
