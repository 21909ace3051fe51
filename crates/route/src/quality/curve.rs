//! The quality that a router reaches with each share of calls to the strong model, and the numbers RouteLLM draws from it.
//!
//! Questions are sorted by score; the `k` highest go to the strong model. *Performance gap recovered* is the accuracy so reached, 0 at
//! the weak model's and 1 at the strong one's; it exceeds 1 where the weak model's wins are kept. APGR is the area under it by the
//! trapezoid rule over every `k` from 0 to `n` (RouteLLM takes ten bins), CPT(q) the share of strong calls at which it first
//! reaches `q`, interpolated between two counts. Questions of equal score are called in no order: the curve is a line across them,
//! which is the mean over all orders.
//!
//! The order of the questions never matters, and nothing here knows what a model is.

/// What two models made of one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Whether the model on the device answered rightly.
    pub weak: bool,
    /// Whether the strong model did.
    pub strong: bool,
}

impl Label {
    /// What asking the strong model changes: 1, 0, or -1 where only the weak one is right.
    pub fn gain(self) -> f64 {
        f64::from(u8::from(self.strong)) - f64::from(u8::from(self.weak))
    }
}

/// Quality by share of strong calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Right answers when the first `k` questions, by falling score, are the strong model's. `(n + 1)`
    right: Vec<f64>,
    /// Of the questions kept at `k`, those that only the strong model answers. `(n + 1)`
    missed: Vec<f64>,
    /// Scores, falling. `(n)`
    scores: Vec<f64>,
}

impl Curve {
    /// The curve of a router that gives each question a score, higher for those that need the strong model more.
    ///
    /// # Panics
    /// When there are no questions, or not as many scores.
    pub fn new(scores: &[f64], labels: &[Label]) -> Self {
        assert_eq!(scores.len(), labels.len(), "a score for each label");
        assert!(!labels.is_empty(), "a curve needs questions");
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let weak = labels.iter().filter(|l| l.weak).count() as f64;
        let only_strong = |i: usize| f64::from(u8::from(labels[i].strong && !labels[i].weak));
        let all_missed = (0..labels.len()).map(only_strong).sum::<f64>();
        let (mut right, mut missed) = (vec![weak], vec![all_missed]);
        for equal in order.chunk_by(|&a, &b| scores[a].total_cmp(&scores[b]).is_eq()) {
            let gain = equal.iter().map(|&i| labels[i].gain()).sum::<f64>() / equal.len() as f64;
            let found = equal.iter().map(|&i| only_strong(i)).sum::<f64>() / equal.len() as f64;
            let (right_0, missed_0) = (right[right.len() - 1], missed[missed.len() - 1]);
            for k in 1..=equal.len() {
                right.push(right_0 + gain * k as f64);
                missed.push(missed_0 - found * k as f64);
            }
        }
        Self { right, missed, scores: order.iter().map(|&i| scores[i]).collect() }
    }

    /// The curve of a router that knows the labels.
    pub fn oracle(labels: &[Label]) -> Self {
        Self::new(&labels.iter().map(|l| l.gain()).collect::<Vec<_>>(), labels)
    }

    /// The mean curve of routers that guess.
    pub fn random(labels: &[Label]) -> Self {
        Self::new(&vec![0.0; labels.len()], labels)
    }

    /// Questions.
    pub fn n(&self) -> usize {
        self.scores.len()
    }

    /// The weak model's share of right answers.
    pub fn weak(&self) -> f64 {
        self.right[0] / self.n() as f64
    }

    /// The strong model's.
    pub fn strong(&self) -> f64 {
        self.right[self.n()] / self.n() as f64
    }

    /// The share of right answers with `k` strong calls.
    pub fn accuracy(&self, k: usize) -> f64 {
        self.right[k] / self.n() as f64
    }

    /// Performance gap recovered with `k` strong calls; not a number where both models are equally good.
    pub fn recovered(&self, k: usize) -> f64 {
        (self.right[k] - self.right[0]) / (self.right[self.n()] - self.right[0])
    }

    /// Average performance gap recovered: 0.5 by guessing.
    pub fn apgr(&self) -> f64 {
        (1..=self.n()).map(|k| (self.recovered(k - 1) + self.recovered(k)) / 2.0).sum::<f64>()
            / self.n() as f64
    }

    /// The share of strong calls with which the part `q` of the gap is first recovered; 1 where it never is.
    pub fn cpt(&self, q: f64) -> f64 {
        let Some(k) = (0..=self.n()).find(|&k| self.recovered(k) >= q) else { return 1.0 };
        if k == 0 {
            return 0.0;
        }
        let (below, reached) = (self.recovered(k - 1), self.recovered(k));
        (k as f64 - 1.0 + (q - below) / (reached - below)) / self.n() as f64
    }

    /// Where CPT(q) is reached: whole calls, the score from which on questions are called for, and what that misses.
    pub fn at_cpt(&self, q: f64) -> Operating {
        let k = ((self.cpt(q) * self.n() as f64).ceil() as usize).min(self.n());
        let kept = self.n() - k;
        Operating {
            calls: k as f64 / self.n() as f64,
            threshold: if k == 0 { f64::INFINITY } else { self.scores[k - 1] },
            false_cheap: self.missed[k] / self.n() as f64,
            false_cheap_of_kept: if kept == 0 { 0.0 } else { self.missed[k] / kept as f64 },
        }
    }
}

/// A point on the curve that a threshold stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Operating {
    /// The share of questions that go to the strong model.
    pub calls: f64,
    /// Questions with this score or more go.
    pub threshold: f64,
    /// Of all questions, those that are kept although only the strong model answers them.
    pub false_cheap: f64,
    /// The same, of the questions kept.
    pub false_cheap_of_kept: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONLY_STRONG: Label = Label { weak: false, strong: true };
    const ONLY_WEAK: Label = Label { weak: true, strong: false };
    const BOTH: Label = Label { weak: true, strong: true };
    const NONE: Label = Label { weak: false, strong: false };

    #[test]
    fn a_curve_by_hand() {
        // Weak 1 of 4, strong 2 of 4; the order of calls is: gain 1, gain 1, gain -1, gain 0.
        let labels = [NONE, ONLY_WEAK, ONLY_STRONG, ONLY_STRONG];
        let curve = Curve::new(&[0.1, 0.2, 0.9, 0.8], &labels);
        assert_eq!((curve.weak(), curve.strong()), (0.25, 0.5));
        let recovered: Vec<f64> = (0..=4).map(|k| curve.recovered(k)).collect();
        assert_eq!(recovered, [0.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(curve.apgr(), (0.5 + 1.5 + 1.5 + 1.0) / 4.0);
        assert_eq!((curve.cpt(0.5), curve.cpt(0.8), curve.cpt(0.0), curve.cpt(2.5)), (0.125, 0.2, 0.0, 1.0));
        let at = curve.at_cpt(0.5);
        assert_eq!(
            (at.calls, at.threshold, at.false_cheap, at.false_cheap_of_kept),
            (0.25, 0.9, 0.25, 1.0 / 3.0)
        );
        // Who knows the labels keeps what only the weak model answers.
        let oracle: Vec<f64> = (0..=4).map(|k| Curve::oracle(&labels).recovered(k)).collect();
        assert_eq!(oracle, [0.0, 1.0, 2.0, 2.0, 1.0]);
    }

    #[test]
    fn guessing_recovers_half_whatever_the_order() {
        let labels = [BOTH, NONE, ONLY_STRONG, ONLY_STRONG, ONLY_WEAK, BOTH, ONLY_STRONG];
        let mut turned = labels;
        turned.reverse();
        assert!((Curve::random(&labels).apgr() - 0.5).abs() < 1e-12);
        assert_eq!(Curve::random(&labels), Curve::random(&turned));
        assert!((Curve::random(&labels).cpt(0.5) - 0.5).abs() < 1e-12);
        // Scores turned round turn the area over.
        let scores = [0.3, 0.1, 0.7, 0.2, 0.6, 0.5, 0.4];
        let against: Vec<f64> = scores.iter().map(|s| -s).collect();
        let (up, down) = (Curve::new(&scores, &labels).apgr(), Curve::new(&against, &labels).apgr());
        assert!((up + down - 1.0).abs() < 1e-12, "{up} {down}");
    }
}
