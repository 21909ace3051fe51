//! Which weights of a model's layers become 0, as a recipe says it: `prune = { method = "wanda", sparsity = 0.5 }`.
//!
//! The ways are those of [`crate::method::prune`].

use ingle_kernel::par::Pool;
use serde::{Deserialize, Serialize};

use crate::method::feedback::Order;
use crate::method::prune::{Sparsity, magnitude, sparse_gpt, wanda};
use crate::method::{Known, Needs};

/// Which weights become 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prune {
    /// How they are chosen.
    pub method: Method,
    /// How many: a part from 0 to 1, or the text `2:4`.
    #[serde(with = "written")]
    pub sparsity: Sparsity,
}

/// How weights to drop are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The smallest.
    Magnitude,
    /// The smallest, times the size of the input that they meet.
    Wanda,
    /// Those whose loss the others make good most easily.
    SparseGpt,
}

impl Method {
    /// What must be known of the input.
    pub fn needs(self) -> Needs {
        match self {
            Self::Magnitude => Needs::Nothing,
            Self::Wanda => Needs::Moments,
            Self::SparseGpt => Needs::Products,
        }
    }
}

impl Prune {
    /// The order in which columns must be decided: neighbours of which two are chosen are decided together.
    pub fn order(&self) -> Order {
        match (self.method, self.sparsity) {
            (Method::SparseGpt, Sparsity::TwoOfFour) => Order::Natural,
            _ => Order::Descending,
        }
    }

    /// Sets weights of a matrix `(rows, cols)` to 0. Where nothing is known of the input, as of an expert that met no token, the smallest
    /// are taken; rows that are not whole fours keep all where two of four are asked for.
    ///
    /// # Panics
    /// When what is known was made for another order than [`Self::order`] where that is the natural one.
    pub fn apply(&self, weights: &mut [f32], cols: usize, known: Option<&Known>, pool: &Pool) {
        if self.sparsity == Sparsity::TwoOfFour && !cols.is_multiple_of(4) {
            return;
        }
        match (self.method, known, known.and_then(|known| known.factor.as_ref())) {
            (Method::Wanda, Some(known), _) => wanda(weights, &known.squares, self.sparsity, pool),
            (Method::SparseGpt, _, Some(factor)) => sparse_gpt(weights, factor, self.sparsity, pool),
            _ => magnitude(weights, cols, self.sparsity),
        }
    }
}

/// A sparsity as it stands in a recipe.
mod written {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Sparsity;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Written {
        Part(f64),
        Pattern(String),
    }

    pub(super) fn serialize<S: Serializer>(sparsity: &Sparsity, to: S) -> Result<S::Ok, S::Error> {
        match sparsity {
            Sparsity::Part(part) => Written::Part(*part),
            Sparsity::TwoOfFour => Written::Pattern("2:4".into()),
        }
        .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Sparsity, D::Error> {
        match Written::deserialize(from) {
            Ok(Written::Part(part)) if (0.0..1.0).contains(&part) => Ok(Sparsity::Part(part)),
            Ok(Written::Pattern(pattern)) if pattern == "2:4" => Ok(Sparsity::TwoOfFour),
            _ => Err(D::Error::custom("expected a sparsity from 0 to 1, or \"2:4\"")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::Stats;
    use crate::noise::noise;

    const COLS: usize = 64;

    #[test]
    fn every_method_drops_every_share_whether_or_not_inputs_are_known() {
        let (pool, mut state) = (Pool::new(2), 1);
        let mut values = |n: usize| (0..n).map(|_| noise(&mut state)).collect::<Vec<f32>>();
        let (x, weights) = (values(200 * COLS), values(10 * COLS));
        for method in [Method::Magnitude, Method::Wanda, Method::SparseGpt] {
            for sparsity in [Sparsity::Part(0.25), Sparsity::Part(0.5), Sparsity::TwoOfFour] {
                let prune = Prune { method, sparsity };
                let mut stats = Stats::new(COLS, method.needs() == Needs::Products);
                stats.add(&x, &pool);
                let known = Known::new(stats, prune.order(), &pool);
                for known in [known.as_ref(), None] {
                    let mut pruned = weights.clone();
                    prune.apply(&mut pruned, COLS, known, &pool);
                    let n_zeros = pruned.iter().filter(|&&w| w == 0.0).count();
                    let part = if let Sparsity::Part(part) = sparsity { part } else { 0.5 };
                    assert_eq!(n_zeros, (part * weights.len() as f64) as usize, "{prune:?}");
                }
            }
        }
    }
}
