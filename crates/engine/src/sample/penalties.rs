//! Penalties on what was said recently: repetition, presence, frequency.
//!
//! Over the last `penalty_last_n` accepted tokens, each distinct one that occurs `count` times:
//! first its logit is divided by `repeat_penalty` if positive and multiplied if not (Keskar et al., arXiv:1909.05858), then
//! `count * frequency_penalty + presence_penalty` is subtracted (OpenAI's definitions). Whether the prompt counts is the
//! caller's choice: it counts when it is accepted.

use super::tail::Tail;
use super::{Kind, Params, Pool, Rng, Role, Room, Setting, Stage, Step, TOKENS_MAX};

pub static STAGE: Stage = Stage {
    name: "penalties",
    aliases: &[],
    about: "make recent tokens less likely",
    source: "arXiv:1909.05858 (repetition); OpenAI API (presence, frequency)",
    role: Role::Logits,
    settings: &[
        Setting {
            name: "repeat-penalty",
            kind: Kind::Number(1e-3, 100.0, |p| &mut p.repeat_penalty),
            default: &["1"],
            about: "Divide the logits of recent tokens (multiply negative ones); 1: off",
        },
        Setting {
            name: "presence-penalty",
            kind: Kind::Number(-100.0, 100.0, |p| &mut p.presence_penalty),
            default: &["0"],
            about: "Subtract from the logit of each recent token; 0: off",
        },
        Setting {
            name: "frequency-penalty",
            kind: Kind::Number(-100.0, 100.0, |p| &mut p.frequency_penalty),
            default: &["0"],
            about: "Subtract from a recent token's logit for each time it occurs; 0: off",
        },
        Setting {
            name: "repeat-last-n",
            kind: Kind::Count(0, TOKENS_MAX, |p| &mut p.penalty_last_n),
            default: &["64"],
            about: "How many of the last tokens, the prompt's included, are recent",
        },
    ],
    wants: |p| {
        let changes = p.repeat_penalty != 1.0 || p.presence_penalty != 0.0 || p.frequency_penalty != 0.0;
        changes && p.penalty_last_n > 0
    },
    make: |p, room| Ok(Box::new(Penalties::new(p, room))),
};

#[derive(Debug)]
struct Penalties {
    repeat: f32,
    presence: f32,
    frequency: f32,
    recent: Tail<u32>,
    /// Occurrences by id; all 0 between tokens. `(n_vocab)`
    counts: Vec<u32>,
}

impl Penalties {
    fn new(p: &Params, room: &Room<'_>) -> Self {
        Self {
            repeat: p.repeat_penalty,
            presence: p.presence_penalty,
            frequency: p.frequency_penalty,
            recent: Tail::new(p.penalty_last_n.min(room.n_past)),
            counts: vec![0; room.n_vocab],
        }
    }
}

impl Step for Penalties {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        let recent = self.recent.last();
        recent.iter().for_each(|&id| self.counts[id as usize] += 1);
        for &id in recent {
            let count = std::mem::take(&mut self.counts[id as usize]);
            if count > 0 {
                pool.adjust(id, |logit| {
                    let repeated = if logit > 0.0 { logit / self.repeat } else { logit * self.repeat };
                    repeated - (count as f32 * self.frequency + self.presence)
                });
            }
        }
    }

    fn accept(&mut self, id: u32, _: &[u8]) {
        self.recent.push(id);
    }

    fn take_back(&mut self, n: usize) {
        self.recent.take_back(n);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sampler;
    use super::super::pool::tests::after;
    use super::*;

    fn penalised(params: Params, said: &[u32], row: &[f32]) -> Vec<f32> {
        let mut step = Penalties::new(&params, &Room::plain(row.len()));
        said.iter().for_each(|&id| step.accept(id, b""));
        after(row, |pool| step.apply(pool, &mut Rng::new(0))).iter().map(|c| c.logit).collect()
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
        assert!(!(STAGE.wants)(&Params { penalty_last_n: 0, ..p }));
    }

    #[test]
    fn ids_outside_the_vocabulary_are_ignored() {
        let p = Params { presence_penalty: 1.0, ..Params::GREEDY };
        let mut s = Sampler::new(p, &Room::plain(3)).unwrap();
        s.accept(7, b"");
        s.accept(u32::MAX, b"");
        assert_eq!(s.sample(&mut [0.0; 3]), Ok(0));
    }

    #[test]
    fn a_penalty_changes_the_choice_and_taking_back_changes_it_back() {
        let params = Params { frequency_penalty: 1.0, ..Params::GREEDY };
        let mut s = Sampler::new(params, &Room::plain(2)).unwrap();
        for expected in [0, 1, 0, 1, 0, 1] {
            assert_eq!(s.sample(&mut [1.5, 1.0]), Ok(expected));
            s.accept(expected, b"");
        }
        s.take_back(1);
        assert_eq!(s.sample(&mut [1.5, 1.0]), Ok(1));
    }
}
