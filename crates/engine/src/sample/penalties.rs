//! Penalties on what was said recently: repetition, presence, frequency.
//!
//! Over the last `penalty_last_n` accepted tokens, each distinct one that occurs `count` times:
//! first its logit is divided by `repeat_penalty` if positive and multiplied if not (Keskar et al., arXiv:1909.05858), then
//! `count * frequency_penalty + presence_penalty` is subtracted. Whether the prompt counts is the caller's choice: it counts
//! when it is accepted.

use std::collections::VecDeque;

use super::{Act, Params, SampleError, Stage};

pub static STAGE: Stage = Stage {
    name: "penalties",
    about: "make recent tokens less likely (repeat_penalty 1, presence_penalty 0 and frequency_penalty 0 are off)",
    check,
    wants: |p| {
        let changes = p.repeat_penalty != 1.0 || p.presence_penalty != 0.0 || p.frequency_penalty != 0.0;
        changes && p.penalty_last_n > 0
    },
    act: Act::Logits(apply),
};

fn check(p: &Params) -> Result<(), SampleError> {
    let wrong = |name, value, expected| Err(SampleError::Param { name, value, expected });
    if !(p.repeat_penalty > 0.0 && p.repeat_penalty < f32::INFINITY) {
        return wrong("repeat_penalty", p.repeat_penalty, "above 0");
    }
    if !p.presence_penalty.is_finite() {
        return wrong("presence_penalty", p.presence_penalty, "a finite number");
    }
    if !p.frequency_penalty.is_finite() {
        return wrong("frequency_penalty", p.frequency_penalty, "a finite number");
    }
    Ok(())
}

fn apply(p: &Params, window: &mut Window, logits: &mut [f32]) {
    window.each(|id, count| {
        let Some(logit) = logits.get_mut(id as usize) else { return };
        let repeated = if *logit > 0.0 { *logit / p.repeat_penalty } else { *logit * p.repeat_penalty };
        *logit = repeated - (count as f32 * p.frequency_penalty + p.presence_penalty);
    });
}

/// The last tokens of a text and how often each occurs among them.
#[derive(Debug, Clone)]
pub struct Window {
    last_n: usize,
    ids: VecDeque<u32>,
    /// Occurrences by id; empty when `last_n` is 0.
    counts: Vec<u32>,
}

/// Set in a count while [`Window::each`] has seen its id.
const SEEN: u32 = 1 << 31;

impl Window {
    /// Room for the last `last_n` tokens of a vocabulary of `n_vocab`.
    pub fn new(last_n: usize, n_vocab: usize) -> Self {
        let last_n = last_n.min((SEEN - 1) as usize);
        let counts = if last_n > 0 { vec![0; n_vocab] } else { Vec::new() };
        // A window longer than any text must not reserve that much: it grows by doubling up to what is said.
        Self { last_n, ids: VecDeque::with_capacity(last_n.min(4096)), counts }
    }

    /// Adds a token and forgets the oldest when the window is full.
    pub fn push(&mut self, id: u32) {
        let Some(count) = self.counts.get_mut(id as usize) else { return };
        *count += 1;
        if self.ids.len() == self.last_n
            && let Some(old) = self.ids.pop_front()
        {
            self.counts[old as usize] -= 1;
        }
        self.ids.push_back(id);
    }

    /// Calls `f(id, count)` once for each distinct token.
    fn each(&mut self, mut f: impl FnMut(u32, u32)) {
        for &id in &self.ids {
            let count = &mut self.counts[id as usize];
            if *count & SEEN == 0 {
                f(id, *count);
                *count |= SEEN;
            }
        }
        for &id in &self.ids {
            self.counts[id as usize] &= !SEEN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sampler;
    use super::*;

    fn penalised(params: Params, said: &[u32], row: &[f32]) -> Vec<f32> {
        let mut s = Sampler::new(params, row.len()).unwrap();
        said.iter().for_each(|&id| s.accept(id));
        let mut row = row.to_vec();
        s.sample(&mut row).unwrap();
        row
    }

    #[test]
    fn repetition_shrinks_positive_and_grows_negative_logits_once() {
        let p = Params { repeat_penalty: 2.0, ..Params::GREEDY };
        assert_eq!(penalised(p, &[0, 1, 0, 0], &[4.0, -4.0, 1.0]), [2.0, -8.0, 1.0]);
    }

    #[test]
    fn presence_counts_once_and_frequency_each_time() {
        let p = Params { presence_penalty: 0.5, frequency_penalty: 1.0, ..Params::GREEDY };
        assert_eq!(penalised(p, &[0, 0, 2], &[4.0, 4.0, 4.0]), [1.5, 4.0, 2.5]);
    }

    #[test]
    fn only_the_last_n_tokens_count() {
        let p = Params { presence_penalty: 1.0, penalty_last_n: 2, ..Params::GREEDY };
        assert_eq!(penalised(p.clone(), &[0, 1, 2], &[0.0; 3]), [0.0, -1.0, -1.0]);
        assert_eq!(penalised(Params { penalty_last_n: 0, ..p }, &[0, 1, 2], &[0.0; 3]), [0.0; 3]);
    }

    #[test]
    fn ids_outside_the_vocabulary_are_ignored() {
        let p = Params { presence_penalty: 1.0, ..Params::GREEDY };
        assert_eq!(penalised(p, &[7, u32::MAX], &[0.0; 3]), [0.0; 3]);
    }

    #[test]
    fn a_penalty_changes_the_choice() {
        let mut s = Sampler::new(Params { frequency_penalty: 1.0, ..Params::GREEDY }, 2).unwrap();
        let said: Vec<u32> = (0..6)
            .map(|_| {
                let id = s.sample(&mut [1.5, 1.0]).unwrap();
                s.accept(id);
                id
            })
            .collect();
        assert_eq!(said, [0, 1, 0, 1, 0, 1]);
    }
}
