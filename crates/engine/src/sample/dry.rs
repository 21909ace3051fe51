//! DRY, "don't repeat yourself": the longer the end of the text repeats something said before, the less likely the token
//! that would go on repeating it (p-e-w, text-generation-webui pull request 5677).
//!
//! For each earlier place where the last `n` tokens also stand, the token that followed there loses
//! `multiplier * base^(n - allowed_length)` of its logit, for the longest such `n` if that is at least `allowed_length`. No repetition
//! reaches across a sequence breaker, and no token that completes one is penalised.
//!
//! The lengths of all repetitions come from the Z-algorithm over the tokens read backwards (Gusfield 1997, section 1.3),
//! linear in the number of tokens looked at. Breakers are found in the text itself, whatever its tokens: a token breaks
//! when the bytes up to its end complete a breaker that was not complete before it. llama.cpp instead looks for token sequences that overlap
//! the breaker's text; for breakers within one token both do the same.

use super::tail::Tail;
use super::{Kind, Params, Pool, Rng, Role, Room, Setting, Stage, Step, TOKENS_MAX};
use crate::pattern::Pattern;

pub static STAGE: Stage = Stage {
    name: "dry",
    aliases: &[],
    about: "make tokens that would go on repeating a sequence less likely, the more the longer it is",
    source: "text-generation-webui pull request 5677",
    role: Role::Logits,
    settings: &[
        Setting {
            name: "dry-multiplier",
            kind: Kind::Number(0.0, 100.0, |p| &mut p.dry_multiplier),
            default: &["0"],
            about: "Subtract from tokens that go on repeating a sequence, growing with its length; 0: off",
        },
        Setting {
            name: "dry-base",
            kind: Kind::Number(1.0, 100.0, |p| &mut p.dry_base),
            default: &["1.75"],
            about: "How DRY's penalty grows with each token repeated",
        },
        Setting {
            name: "dry-allowed-length",
            kind: Kind::Count(1, TOKENS_MAX, |p| &mut p.dry_allowed_length),
            default: &["2"],
            about: "Shorter repetitions are free of DRY's penalty",
        },
        Setting {
            name: "dry-penalty-last-n",
            kind: Kind::Count(0, TOKENS_MAX, |p| &mut p.dry_penalty_last_n),
            default: &["2147483648"],
            about: "How many of the last tokens DRY looks at; never more than the context; 0: off",
        },
        Setting {
            name: "dry-sequence-breaker",
            kind: Kind::Texts(|p| &mut p.dry_sequence_breakers),
            default: &["\n", ":", "\"", "*"],
            about: "A text that no repetition reaches across; several times; an empty one alone: no breakers",
        },
    ],
    wants: |p| p.dry_multiplier > 0.0 && p.dry_penalty_last_n > 0,
    make: |p, room| Ok(Box::new(Dry::new(p, room))),
};

/// A token of the text.
#[derive(Debug, Clone, Copy)]
struct Said {
    id: u32,
    /// Whether it completes a sequence breaker.
    breaks: bool,
}

#[derive(Debug)]
struct Dry {
    multiplier: f64,
    base: f64,
    allowed: usize,
    text: Tail<Said>,
    breakers: Vec<Pattern>,
    /// `z[k]`: how many tokens before the `k`th from the end are the same as those at the end. `(n)`
    z: Vec<u32>,
    /// The longest repetition that each token would go on with; 0 for all between tokens. `(n_vocab)`
    longest: Vec<u32>,
    /// Ids whose `longest` is not 0.
    touched: Vec<u32>,
}

/// A penalty beyond this rules a token out as well as any.
const PENALTY_MAX: f64 = 1e30;

impl Dry {
    fn new(p: &Params, room: &Room<'_>) -> Self {
        let n = p.dry_penalty_last_n.min(room.n_past);
        Self {
            multiplier: f64::from(p.dry_multiplier),
            base: f64::from(p.dry_base),
            allowed: p.dry_allowed_length,
            text: Tail::new(n),
            breakers: p
                .dry_sequence_breakers
                .iter()
                .filter(|b| !b.is_empty())
                .map(|b| Pattern::new(b))
                .collect(),
            z: Vec::with_capacity(n),
            longest: vec![0; room.n_vocab],
            touched: Vec::with_capacity(n.min(room.n_vocab)),
        }
    }

    /// Notes for each token how long a repetition it would go on with.
    fn measure(&mut self) {
        let text = self.text.last();
        // Tokens since the last break: longer repetitions reach across it.
        let limit = text.iter().rev().take_while(|said| !said.breaks).count();
        if limit < self.allowed {
            return;
        }
        fill_z(text, &mut self.z);
        for (k, &z) in self.z.iter().enumerate().skip(1) {
            let n = (z as usize).min(limit);
            let next = text[text.len() - k];
            if n < self.allowed || next.breaks {
                continue;
            }
            let longest = &mut self.longest[next.id as usize];
            if *longest == 0 {
                self.touched.push(next.id);
            }
            *longest = (*longest).max(n as u32);
        }
    }
}

/// The Z-algorithm over the text read backwards.
fn fill_z(text: &[Said], z: &mut Vec<u32>) {
    let n = text.len();
    let at = |i: usize| text[n - 1 - i].id;
    z.clear();
    z.resize(n, 0);
    // The stretch that matches the beginning and reaches furthest, `left..right`.
    let (mut left, mut right) = (0, 0);
    for k in 1..n {
        let mut len = if k < right { (z[k - left] as usize).min(right - k) } else { 0 };
        while k + len < n && at(len) == at(k + len) {
            len += 1;
        }
        z[k] = len as u32;
        if k + len > right {
            (left, right) = (k, k + len);
        }
    }
}

impl Step for Dry {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        self.measure();
        for &id in &self.touched {
            let n = std::mem::take(&mut self.longest[id as usize]) as usize - self.allowed;
            let penalty = self.multiplier * self.base.powi(n.try_into().unwrap_or(i32::MAX));
            pool.adjust(id, |logit| logit - penalty.min(PENALTY_MAX) as f32);
        }
        self.touched.clear();
    }

    fn accept(&mut self, id: u32, bytes: &[u8]) {
        let mut breaks = false;
        for breaker in &mut self.breakers {
            bytes.iter().for_each(|&byte| breaks |= breaker.advance(byte));
        }
        self.text.push(Said { id, breaks });
    }

    fn take_back(&mut self, n: usize) {
        // The beginning of a breaker that was taken back, or stands before it, is forgotten.
        self.breakers.iter_mut().for_each(Pattern::reset);
        self.text.take_back(n);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::after;
    use super::*;

    /// Tokens are letters; the row is flat. Gives what each letter lost.
    fn lost(text: &str, p: &Params) -> Vec<f32> {
        let mut step = Dry::new(p, &Room::plain(128));
        text.bytes().for_each(|b| step.accept(b.into(), &[b]));
        let left = after(&[0.0; 128], |pool| step.apply(pool, &mut Rng::new(0)));
        left.iter().map(|c| -c.logit).collect()
    }

    fn params(allowed: usize, breakers: &[&str]) -> Params {
        Params {
            dry_multiplier: 0.5,
            dry_base: 2.0,
            dry_allowed_length: allowed,
            dry_sequence_breakers: breakers.iter().map(|b| (*b).to_owned()).collect(),
            ..Params::GREEDY
        }
    }

    /// The definition, tried for every token and every earlier place.
    fn oracle(text: &str, p: &Params) -> Vec<f32> {
        let all = text.as_bytes();
        let window = &all[all.len().saturating_sub(p.dry_penalty_last_n)..];
        let first = all.len() - window.len();
        let breaks =
            |i: usize| p.dry_sequence_breakers.iter().any(|b| all[..=first + i].ends_with(b.as_bytes()));
        let limit = (0..window.len()).rev().take_while(|&i| !breaks(i)).count();
        let mut lost = vec![0.0; 128];
        for next in 1..window.len() {
            let same = |n: &usize| *n <= next && window[next - n..next] == window[window.len() - n..];
            let n = (1..window.len()).take_while(same).last().unwrap_or(0).min(limit);
            if n >= p.dry_allowed_length && !breaks(next) {
                let penalty = 0.5 * 2f64.powi((n - p.dry_allowed_length) as i32);
                let lost: &mut f32 = &mut lost[usize::from(window[next])];
                *lost = lost.max(penalty as f32);
            }
        }
        lost
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut rng = Rng::new(77);
        for _ in 0..3000 {
            let n = rng.below(40);
            let text: String = (0..n).map(|_| ["a", "b", "c", ":"][rng.below(4) as usize]).collect();
            for breakers in [&[][..], &[":"], &["a:", "cb"]] {
                for (allowed, last_n) in [(1, usize::MAX), (2, usize::MAX), (2, 7), (3, 20)] {
                    let p = Params { dry_penalty_last_n: last_n, ..params(allowed, breakers) };
                    assert_eq!(
                        lost(&text, &p),
                        oracle(&text, &p),
                        "{text:?} {breakers:?} {allowed} {last_n}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_penalty_grows_with_the_repetition() {
        let lost = |text| lost(text, &params(2, &[]))[usize::from(b'd')];
        assert_eq!(lost("xabcdc"), 0.0);
        assert_eq!(lost("xabcdbc"), 0.5);
        assert_eq!(lost("xabcdabc"), 1.0);
        assert_eq!(lost("xabcdxabc"), 2.0);
    }

    #[test]
    fn a_breaker_across_tokens_is_found_in_the_text() {
        let mut step = Dry::new(&params(1, &["##"]), &Room::plain(8));
        let tokens: [(u32, &[u8]); 5] = [(1, b"x#"), (2, b"#"), (3, b"y"), (1, b"x#"), (2, b"#")];
        tokens.iter().for_each(|&(id, bytes)| step.accept(id, bytes));
        assert_eq!(
            step.text.last().iter().map(|s| s.breaks).collect::<Vec<_>>(),
            [false, true, false, false, true]
        );
        // The text ends with a break, so nothing is a repetition.
        let left = after(&[0.0; 8], |pool| step.apply(pool, &mut Rng::new(0)));
        assert!(left.iter().all(|c| c.logit == 0.0));
    }

    #[test]
    fn endless_repetition_costs_a_finite_penalty_and_linear_time() {
        let mut step = Dry::new(&Params { dry_base: 100.0, ..params(2, &[]) }, &Room::plain(2));
        (0..9000).for_each(|_| step.accept(0, b"a"));
        let left = after(&[0.0; 2], |pool| step.apply(pool, &mut Rng::new(0)));
        assert_eq!((left[0].logit, left[1].logit), (-1e30, 0.0));
    }

    #[test]
    fn taking_back_undoes() {
        let mut step = Dry::new(&params(2, &[]), &Room::plain(128));
        "abcdabx".bytes().for_each(|b| step.accept(b.into(), &[b]));
        step.take_back(1);
        step.accept(b'c'.into(), b"c");
        let left = after(&[0.0; 128], |pool| step.apply(pool, &mut Rng::new(0)));
        assert_eq!(left[usize::from(b'd')].logit, -1.0);
    }
}
