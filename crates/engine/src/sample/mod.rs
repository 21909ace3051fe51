//! From a row of logits to the next token.
//!
//! The stages of [`STAGES`] run in the slice's order, which is fixed: penalties change logits, the filters drop candidates,
//! temperature flattens or sharpens what is left, and one random number picks. So `top_p` and `min_p` judge the model's own
//! distribution (after penalties), whatever the temperature. At temperature 0 the best token after the penalties wins, the
//! lowest id among equals, and no random number is used.
//!
//! Everything past the exponential is integer arithmetic (see `weight.rs`), so a choice does not depend on the order in
//! which probabilities are added: the same logits, parameters and seed give the same token on every machine.
//! It does not keep grammars or schemas: a constraint sets forbidden logits to minus infinity before it asks.

mod min_p;
mod penalties;
mod rng;
mod temperature;
mod top_k;
mod top_p;
mod weight;

pub use penalties::Window;
pub use rng::Rng;

/// One step from logits to a choice.
#[derive(Debug)]
pub struct Stage {
    /// The name users see, in the order of application.
    pub name: &'static str,
    /// One sentence: what it does and which value switches it off.
    pub about: &'static str,
    /// Refuses parameters it can't work with.
    pub check: fn(&Params) -> Result<(), SampleError>,
    /// Whether these parameters ask for it.
    pub wants: fn(&Params) -> bool,
    /// What it does.
    pub act: Act,
}

/// What a stage may touch.
#[derive(Debug)]
pub enum Act {
    /// Changes logits by what was said before.
    Logits(fn(&Params, &mut Window, &mut [f32])),
    /// Drops candidates, never the best one. Both lists are in rising order of id; the second is scratch space.
    Filter(fn(&Params, &mut Vec<Candidate>, &mut Vec<Candidate>)),
    /// Rescales the candidates' logits.
    Scale(fn(&Params, &mut [Candidate])),
}

/// Every stage, in order of application.
pub static STAGES: &[&Stage] =
    &[&penalties::STAGE, &top_k::STAGE, &top_p::STAGE, &min_p::STAGE, &temperature::STAGE];

/// How to choose. `Params { temperature: 0.7, seed, ..Params::GREEDY }` says what differs from "the best token".
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Logits are divided by it; 0 chooses the best token, 1 follows the model.
    pub temperature: f32,
    /// Keep the `top_k` best tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest best tokens whose probabilities add up to `top_p`; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens at least `min_p` times as probable as the best one; 0 keeps all.
    pub min_p: f32,
    /// Divides the positive and multiplies the negative logits of recent tokens, each once; 1 changes nothing.
    pub repeat_penalty: f32,
    /// Subtracted from the logit of every recent token; 0 changes nothing.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit once for each time it occurred recently; 0 changes nothing.
    pub frequency_penalty: f32,
    /// How many of the last accepted tokens are "recent"; 0 switches the three penalties off.
    pub penalty_last_n: usize,
    /// Seed of the random numbers.
    pub seed: u64,
}

impl Params {
    /// The best token, always.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repeat_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        penalty_last_n: 64,
        seed: 0,
    };

    /// # Errors
    /// [`SampleError::Param`] for the first value that is outside its range.
    pub fn check(&self) -> Result<(), SampleError> {
        STAGES.iter().try_for_each(|stage| (stage.check)(self))
    }
}

/// Why there is no next token.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// A parameter is outside its range.
    #[error("{name} is {value}, expected {expected}")]
    Param {
        /// Its name, as in [`Params`].
        name: &'static str,
        /// The value given.
        value: f32,
        /// The values there are.
        expected: &'static str,
    },
    /// The row has another length than the vocabulary.
    #[error("{found} logits, expected one for each of the {expected} tokens")]
    Length {
        /// Logits given.
        found: usize,
        /// Size of the vocabulary.
        expected: usize,
    },
    /// A logit is not a number, or infinite: the weights or the arithmetic that made it are broken.
    #[error("the logit of token {id} is {value}: the model's weights may be damaged")]
    NotFinite {
        /// The first such token.
        id: u32,
        /// Its logit.
        value: f32,
    },
    /// Every logit is minus infinity.
    #[error("every token is ruled out: no logit is above minus infinity")]
    NothingLeft,
}

/// A token that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: u32,
    /// Its logit.
    pub logit: f32,
}

impl Candidate {
    /// Best first: by falling logit, then by rising id. A total order, as no logit is NaN.
    fn rank(&self, other: &Self) -> std::cmp::Ordering {
        // Adding 0.0 makes -0.0 and 0.0 equal under `total_cmp`.
        (other.logit + 0.0).total_cmp(&(self.logit + 0.0)).then(self.id.cmp(&other.id))
    }
}

/// Chooses tokens for one sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    params: Params,
    n_vocab: usize,
    rng: Rng,
    window: Window,
    candidates: Vec<Candidate>,
    scratch: Vec<Candidate>,
}

impl Sampler {
    /// A sampler for rows of `n_vocab` logits. Allocates all it will need.
    ///
    /// # Errors
    /// [`SampleError::Param`], as [`Params::check`].
    pub fn new(params: Params, n_vocab: usize) -> Result<Self, SampleError> {
        params.check()?;
        let room = if params.temperature == 0.0 { 0 } else { n_vocab };
        let last_n = if (penalties::STAGE.wants)(&params) { params.penalty_last_n } else { 0 };
        Ok(Self {
            rng: Rng::new(params.seed),
            window: Window::new(last_n, n_vocab),
            candidates: Vec::with_capacity(room),
            scratch: Vec::with_capacity(room),
            n_vocab,
            params,
        })
    }

    /// What it was built with.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Tells the penalties that `id` is part of the text, chosen or given; an id outside the vocabulary is ignored.
    pub fn accept(&mut self, id: u32) {
        self.window.push(id);
    }

    /// Chooses the next token from `logits` `(n_vocab)`, and leaves the penalties' changes in them. The token counts as
    /// recent once it is [accepted](Self::accept).
    ///
    /// # Errors
    /// When a logit is NaN or plus infinity, all are minus infinity, or their number is wrong.
    pub fn sample(&mut self, logits: &mut [f32]) -> Result<u32, SampleError> {
        if logits.len() != self.n_vocab {
            return Err(SampleError::Length { found: logits.len(), expected: self.n_vocab });
        }
        let wanted = || STAGES.iter().filter(|stage| (stage.wants)(&self.params));
        for stage in wanted() {
            if let Act::Logits(change) = stage.act {
                change(&self.params, &mut self.window, logits);
            }
        }
        let best = best(logits)?;
        if self.params.temperature == 0.0 {
            return Ok(best.id);
        }
        let list = &mut self.candidates;
        list.clear();
        list.extend(logits.iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }));
        for stage in wanted() {
            match stage.act {
                Act::Logits(_) => {}
                Act::Filter(filter) => filter(&self.params, list, &mut self.scratch),
                Act::Scale(scale) => scale(&self.params, list),
            }
        }
        Ok(draw(list, &mut self.rng))
    }
}

/// The best token, the lowest id among equals.
///
/// # Errors
/// When a logit is NaN or plus infinity, or all are minus infinity.
pub fn best(logits: &[f32]) -> Result<Candidate, SampleError> {
    // `max` ignores NaN and a sum does not: the common, healthy row costs two passes that vectorise.
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let healthy = max < f32::INFINITY && logits.iter().fold(true, |ok, l| ok & !l.is_nan());
    if !healthy {
        let (id, &value) = logits
            .iter()
            .enumerate()
            .find(|(_, l)| l.is_nan() || **l == f32::INFINITY)
            .expect("one is not finite");
        return Err(SampleError::NotFinite { id: id as u32, value });
    }
    let id = logits.iter().position(|&l| l == max);
    match id {
        Some(id) if max > f32::NEG_INFINITY => Ok(Candidate { id: id as u32, logit: max }),
        _ => Err(SampleError::NothingLeft),
    }
}

/// The natural logarithm of the model's own probability of token `id`, before any stage; to report beside the choice.
/// Ask before [`Sampler::sample`] lets the penalties change the row.
pub fn logprob(logits: &[f32], id: u32) -> f64 {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&l| f64::from(l - max).exp()).sum();
    f64::from(logits[id as usize] - max) - sum.ln()
}

/// The highest logit; the list must not be empty.
fn max_logit(list: &[Candidate]) -> f32 {
    list.iter().fold(f32::NEG_INFINITY, |max, c| max.max(c.logit))
}

/// Picks in proportion to the weights, with one random number.
fn draw(list: &[Candidate], rng: &mut Rng) -> u32 {
    let max = max_logit(list);
    let mut total = 0;
    weight::each(list, max, |_, w| {
        total += w;
        true
    });
    let mut left = rng.below(total);
    let mut drawn = None;
    weight::each(list, max, |c, w| {
        if left < w {
            drawn = Some(c.id);
            return false;
        }
        left -= w;
        true
    });
    drawn.expect("the weights add up to their sum")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic logits, roughly normal, spread 3.
    pub(super) fn logits(n: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed);
        let mut unit = || rng.below(1 << 20) as f32 / (1 << 20) as f32 - 0.5;
        (0..n).map(|_| (0..12).map(|_| unit()).sum::<f32>() * 3.0).collect()
    }

    fn open(seed: u64) -> Params {
        Params { temperature: 1.0, seed, ..Params::GREEDY }
    }

    #[test]
    fn greedy_takes_the_lowest_id_among_equals() {
        let mut s = Sampler::new(Params::GREEDY, 4).unwrap();
        assert_eq!(s.sample(&mut [1.0, 3.0, 3.0, -1.0]), Ok(1));
        assert_eq!(s.sample(&mut [-0.0, 0.0, 0.0, -1.0]), Ok(0));
        assert_eq!(s.sample(&mut [f32::NEG_INFINITY, f32::NEG_INFINITY, -5.0, f32::NEG_INFINITY]), Ok(2));
    }

    #[test]
    fn broken_rows_are_errors_and_name_the_token() {
        for temperature in [0.0, 1.0] {
            let mut s = Sampler::new(Params { temperature, ..Params::GREEDY }, 3).unwrap();
            let nan = s.sample(&mut [0.0, f32::NAN, 1.0]).unwrap_err();
            assert_eq!(nan.to_string(), "the logit of token 1 is NaN: the model's weights may be damaged");
            assert!(matches!(
                s.sample(&mut [0.0, 1.0, f32::INFINITY]),
                Err(SampleError::NotFinite { id: 2, .. })
            ));
            assert_eq!(s.sample(&mut [f32::NEG_INFINITY; 3]), Err(SampleError::NothingLeft));
            assert_eq!(s.sample(&mut [0.0]), Err(SampleError::Length { found: 1, expected: 3 }));
        }
    }

    #[test]
    fn ruled_out_tokens_are_never_drawn() {
        let mut s = Sampler::new(open(3), 4).unwrap();
        for _ in 0..2000 {
            let id = s.sample(&mut [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY, 0.5]).unwrap();
            assert!(id == 1 || id == 3);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens_and_another_seed_others() {
        let row = logits(500, 1);
        let run = |seed| {
            let p = Params { top_k: 100, top_p: 0.9, min_p: 0.01, ..open(seed) };
            let mut s = Sampler::new(p, row.len()).unwrap();
            (0..20).map(|_| s.sample(&mut row.clone()).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    /// Frozen: if this fails, a release would change what a seed gives.
    #[test]
    fn what_a_seed_gives_never_changes() {
        let row = logits(1000, 42);
        let run = |p: Params| {
            let mut s = Sampler::new(p, row.len()).unwrap();
            let ids = (0..8).map(|_| {
                let id = s.sample(&mut row.clone()).unwrap();
                s.accept(id);
                id
            });
            ids.collect::<Vec<_>>()
        };
        let got = [
            run(open(1)),
            run(Params { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, ..open(2) }),
            run(Params {
                repeat_penalty: 1.3,
                presence_penalty: 0.5,
                frequency_penalty: 0.5,
                ..Params::GREEDY
            }),
        ];
        assert_eq!(got, FROZEN);
    }

    const FROZEN: [[u32; 8]; 3] = [
        [773, 773, 96, 773, 205, 680, 971, 680],
        [773, 680, 773, 641, 680, 773, 644, 773],
        [773, 680, 96, 641, 882, 205, 103, 644],
    ];

    /// A chi-squared test of 100,000 draws against the probabilities computed in f64.
    #[test]
    fn draws_follow_the_distribution() {
        let row = logits(30, 5);
        for (params, t) in [(open(11), 1.0f64), (Params { temperature: 0.5, ..open(12) }, 0.5)] {
            let mut s = Sampler::new(params, row.len()).unwrap();
            let n = 100_000;
            let mut counts = vec![0u32; row.len()];
            for _ in 0..n {
                counts[s.sample(&mut row.clone()).unwrap() as usize] += 1;
            }
            let p: Vec<f64> = row.iter().map(|&l| (f64::from(l) / t).exp()).collect();
            let sum: f64 = p.iter().sum();
            let (mut chi2, mut cells) = (0.0, 0);
            for (&c, p) in counts.iter().zip(&p) {
                let expected = p / sum * f64::from(n);
                if expected >= 5.0 {
                    chi2 += (f64::from(c) - expected).powi(2) / expected;
                    cells += 1;
                }
            }
            // Mean `cells`, variance `2 cells`: four standard deviations. The seed is fixed, so it can't flake.
            assert!(chi2 < f64::from(cells) + 4.0 * f64::from(2 * cells).sqrt(), "chi2 {chi2} of {cells}");
        }
    }

    #[test]
    fn every_stage_can_be_off_and_refuses_nonsense() {
        for stage in STAGES {
            assert!(!(stage.wants)(&open(0)), "{} runs when nothing asks for it", stage.name);
        }
        let bad = [
            Params { temperature: -1.0, ..Params::GREEDY },
            Params { temperature: f32::NAN, ..Params::GREEDY },
            Params { top_p: 0.0, ..Params::GREEDY },
            Params { top_p: 1.5, ..Params::GREEDY },
            Params { min_p: -0.1, ..Params::GREEDY },
            Params { min_p: 2.0, ..Params::GREEDY },
            Params { repeat_penalty: 0.0, ..Params::GREEDY },
            Params { presence_penalty: f32::INFINITY, ..Params::GREEDY },
            Params { frequency_penalty: f32::NAN, ..Params::GREEDY },
        ];
        for params in bad {
            assert!(matches!(params.check(), Err(SampleError::Param { .. })), "{params:?}");
        }
        let said = Params { top_p: 1.5, ..Params::GREEDY }.check().unwrap_err().to_string();
        assert_eq!(said, "top_p is 1.5, expected above 0 and up to 1");
    }

    #[test]
    fn logprobs_are_those_of_the_softmax() {
        let row = [1.0f32, 2.0, 3.0];
        let p: f64 = (0..3).map(|id| logprob(&row, id).exp()).sum();
        assert!((p - 1.0).abs() < 1e-12);
        assert!((logprob(&row, 1) - logprob(&row, 0) - 1.0).abs() < 1e-6);
    }

    /// `cargo test --release -p ingle-engine -- --ignored --nocapture sampling_time`
    #[test]
    #[ignore = "a measurement, not a check"]
    fn sampling_time_for_a_vocabulary_of_150_000() {
        let row = logits(151_936, 9);
        let mut peaked = row.clone();
        peaked[1234] = 30.0;
        let usual = Params { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, ..open(1) };
        let table = [
            ("greedy", Params::GREEDY),
            ("temperature", open(1)),
            ("top_k 40", Params { top_k: 40, ..open(1) }),
            ("top_p 0.95", Params { top_p: 0.95, ..open(1) }),
            ("min_p 0.05", Params { min_p: 0.05, ..open(1) }),
            ("usual", usual.clone()),
            ("usual, penalties", Params { repeat_penalty: 1.1, ..usual }),
        ];
        for (name, params) in table {
            for (shape, row) in [("flat", &row), ("peaked", &peaked)] {
                let mut s = Sampler::new(params.clone(), row.len()).unwrap();
                let mut copy = row.clone();
                let mut best_us = f64::INFINITY;
                for _ in 0..50 {
                    copy.copy_from_slice(row);
                    let start = std::time::Instant::now();
                    let id = s.sample(&mut copy).unwrap();
                    best_us = best_us.min(start.elapsed().as_secs_f64() * 1e6);
                    s.accept(id);
                }
                println!("{name:18} {shape:7} {best_us:8.0} us");
            }
        }
    }
}
