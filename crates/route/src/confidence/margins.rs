//! Margins of an answer's tokens, in a fixed room, and the numbers that a confidence is made of.
//!
//! A margin is the log-probability of the chosen token minus that of the best other one, in nats: at temperature 0 it is never
//! negative, and 0 means that the model could as well have said something else. Both log-probabilities are of the model's own
//! distribution, so the difference is that of two logits and costs no softmax.
//!
//! Margins are kept as a histogram over `ln(1 + margin)`, whose bins are 3 % apart, because what matters is whether one is 0.1 or 1
//! and not whether it is 10 or 11. A token that is taken back still counts: it was a doubt.

/// Bins of the histogram; the last takes everything above 45 nats.
const N_BINS: usize = 128;
const BINS_PER_UNIT: f32 = 33.0;
/// Tokens at the beginning whose mean is a number of its own.
const N_FIRST: u32 = 4;
/// A margin below this, about one in three for another token, is a doubt.
const DOUBT: f32 = 0.7;

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The model was done, or a stop string came.
    Itself,
    /// There was no room or leave for more tokens.
    Cut,
}

/// One number of an answer.
#[derive(Debug)]
pub struct Feature {
    /// What it is, as files name it.
    pub name: &'static str,
    of: fn(&Margins, Ending) -> f32,
}

/// How many numbers an answer has.
pub const N_FEATURES: usize = 10;

/// The numbers of an answer, in the order of rows and weights. Margins are `ln(1 + nats)`.
pub static FEATURES: &[Feature; N_FEATURES] = &[
    Feature { name: "least", of: |m, _| m.least },
    Feature { name: "quantile 2", of: |m, _| m.quantile(0.02) },
    Feature { name: "quantile 10", of: |m, _| m.quantile(0.1) },
    Feature { name: "quantile 50", of: |m, _| m.quantile(0.5) },
    Feature { name: "mean", of: |m, _| m.mean() },
    Feature { name: "first", of: |m, _| m.first / m.n.clamp(1, N_FIRST) as f32 },
    Feature { name: "doubts", of: |m, _| (m.n_doubts as f32).ln_1p() },
    Feature { name: "all as chosen", of: |m, _| -m.doubt.ln_1p() },
    Feature { name: "tokens", of: |m, _| (m.n as f32).ln_1p() },
    Feature { name: "ended by itself", of: |_, ending| f32::from(u8::from(ending == Ending::Itself)) },
];

/// The margins of an answer so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Margins {
    bins: [u32; N_BINS],
    n: u32,
    n_doubts: u32,
    least: f32,
    first: f32,
    sum: f32,
    /// The sum over tokens of the probability that the best other one would have been chosen of the two.
    doubt: f32,
}

impl Default for Margins {
    /// Of an answer that has not begun.
    fn default() -> Self {
        // Without a token nothing is known: the least is what one token of no margin would be.
        Self { bins: [0; N_BINS], n: 0, n_doubts: 0, least: 0.0, first: 0.0, sum: 0.0, doubt: 0.0 }
    }
}

impl Margins {
    /// Takes a token's margin in nats. What is not a number counts as none; below 0 (a sampled token that was not the best) as 0.
    pub fn push(&mut self, margin: f32) {
        let nats = if margin.is_nan() { 0.0 } else { margin.clamp(0.0, 1e6) };
        let log = nats.ln_1p();
        self.bins[((log * BINS_PER_UNIT) as usize).min(N_BINS - 1)] += 1;
        self.least = if self.n == 0 { log } else { self.least.min(log) };
        self.first += if self.n < N_FIRST { log } else { 0.0 };
        self.sum += log;
        // The true margin of a token that was not the best: the doubt is then more than one half.
        let signed = if margin.is_nan() { 0.0 } else { margin.clamp(-80.0, 80.0) };
        self.doubt += 1.0 / (1.0 + signed.exp());
        self.n_doubts += u32::from(nats < DOUBT);
        self.n = self.n.saturating_add(1);
    }

    /// Tokens.
    pub fn n(&self) -> usize {
        self.n as usize
    }

    /// The margin, as `ln(1 + nats)`, that a part `q` of the tokens don't exceed; 0 without tokens.
    pub fn quantile(&self, q: f32) -> f32 {
        let wanted = (q * self.n as f32).ceil().max(1.0) as u32;
        let mut met = 0;
        for (bin, &count) in self.bins.iter().enumerate() {
            met += count;
            if met >= wanted {
                return (bin as f32 + 0.5) / BINS_PER_UNIT;
            }
        }
        0.0
    }

    /// The numbers of the answer, if it ended here.
    pub fn features(&self, ending: Ending) -> [f32; N_FEATURES] {
        FEATURES.each_ref().map(|feature| (feature.of)(self, ending))
    }

    fn mean(&self) -> f32 {
        self.sum / self.n.max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(margins: &[f32]) -> Margins {
        let mut out = Margins::default();
        margins.iter().for_each(|&m| out.push(m));
        out
    }

    fn feature(margins: &Margins, name: &str) -> f32 {
        let place = FEATURES.iter().position(|f| f.name == name).expect("it is on the shelf");
        margins.features(Ending::Itself)[place]
    }

    #[test]
    fn numbers_by_hand() {
        let margins = of(&[1.0, 0.0, 3.0, 7.0, 15.0]);
        let near = |name: &str, expected: f32| {
            let found = feature(&margins, name);
            assert!((found - expected).abs() < 1e-5, "{name}: {found}, expected {expected}");
        };
        let ln2 = 2f32.ln();
        near("least", 0.0);
        near("first", (1.0 + 0.0 + 2.0 + 3.0) * ln2 / 4.0);
        near("mean", 10.0 * ln2 / 5.0);
        near("tokens", 6f32.ln());
        near("doubts", ln2);
        let doubt: f32 = [1f32, 0.0, 3.0, 7.0, 15.0].iter().map(|m| 1.0 / (1.0 + m.exp())).sum();
        near("all as chosen", -doubt.ln_1p());
        assert_eq!(margins.features(Ending::Cut)[N_FEATURES - 1], 0.0);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_margins_within_a_bin() {
        let nats: Vec<f32> = (0..500).map(|i| ((i * 7919) % 500) as f32 * 0.05).collect();
        let (margins, mut sorted) = (of(&nats), nats.clone());
        sorted.sort_by(f32::total_cmp);
        for q in [0.02f32, 0.1, 0.5, 0.9, 1.0] {
            let expected = sorted[(q * 500.0).ceil() as usize - 1].ln_1p();
            let found = margins.quantile(q);
            assert!((found - expected).abs() <= 0.51 / BINS_PER_UNIT, "{q}: {found}, expected {expected}");
        }
    }

    #[test]
    fn odd_margins_and_none_give_finite_numbers() {
        let margins =
            [of(&[]), of(&[f32::NAN]), of(&[f32::INFINITY, f32::NEG_INFINITY]), of(&vec![-3.0; 100_000])];
        for margins in margins {
            assert!(margins.features(Ending::Cut).iter().all(|x| x.is_finite()), "{margins:?}");
        }
        // A token against the model's own choice is more of a doubt than a tie.
        assert!(feature(&of(&[-2.0]), "all as chosen") < feature(&of(&[0.0]), "all as chosen"));
    }
}
