//! What the matrices of a model are given while it reads a text: one pass, and every method has what it needs.
//!
//! Matrices that share an input are a [`Site`]. A [`Collector`] is the probe of a walk through one layer (`model::walk`) and keeps
//! sums per site: of |x|, the largest |x| and sums of x^2 per column, always; and the sums of products of columns, from which
//! `H = 2 X X' / T` follows, of the sites that it is told to, since that is `8 * cols^2` bytes. So a model of any size needs the
//! sums of one layer at a time. A [`Recorder`] beside it lets it see how far inputs have
//! drifted from the unchanged model's. Which texts: [`sequences`]; a walk that only looks: [`whole`](mod@whole).
//!
//! Sums are made in the order of the tokens, whatever the number of threads.

pub mod sequences;
pub mod whole;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use ingle_kernel::par::Pool;
use ingle_model::probe::{Probe, Takers};

use crate::linalg;

/// What the columns of an input were, over `n_tokens` tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Tokens that were seen.
    pub n_tokens: u64,
    /// Sums of |x|. `(cols)`
    pub sum_abs: Vec<f64>,
    /// Sums of x^2. `(cols)`
    pub sum_squares: Vec<f64>,
    /// Largest |x|. `(cols)`
    pub max_abs: Vec<f32>,
    /// Sums of products of columns, of which the upper half is kept; `None` where nobody asked. `(cols, cols)`
    pub products: Option<Vec<f64>>,
    /// Sums of `(x0_i - x_i) x_j`, `x0` being the unchanged model's input; `None` where nobody looked at that. `(cols, cols)`
    pub drift: Option<Vec<f64>>,
    /// Some of the inputs, evenly spread over the tokens, where somebody asked. `(n, cols)`
    pub sample: Vec<f32>,
    /// Tokens of which one is kept in the sample; none is where it is 0.
    pub sample_every: u64,
}

/// An input and who takes it.
#[derive(Debug, Clone)]
pub struct Site {
    /// Names of the weights, in the order of the model; the first names the site.
    pub weights: Vec<String>,
    /// What was seen.
    pub stats: Stats,
}

impl Stats {
    /// Nothing seen of `cols` columns.
    pub fn new(cols: usize, with_products: bool) -> Self {
        Self {
            n_tokens: 0,
            sum_abs: vec![0.0; cols],
            sum_squares: vec![0.0; cols],
            max_abs: vec![0.0; cols],
            products: with_products.then(|| vec![0.0; cols * cols]),
            drift: None,
            sample: Vec::new(),
            sample_every: 0,
        }
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.max_abs.len()
    }

    /// Adds the rows of `x` `(n_tokens, cols)`.
    pub fn add(&mut self, x: &[f32], pool: &Pool) {
        let cols = self.cols();
        for (t, row) in (self.n_tokens..).zip(x.chunks_exact(cols)) {
            if self.sample_every > 0 && t % self.sample_every == self.sample_every / 2 {
                self.sample.extend_from_slice(row);
            }
            let sums = self.sum_abs.iter_mut().zip(&mut self.sum_squares).zip(&mut self.max_abs);
            for (&v, ((abs, squares), max)) in row.iter().zip(sums) {
                *abs += f64::from(v.abs());
                *squares += f64::from(v) * f64::from(v);
                *max = max.max(v.abs());
            }
        }
        self.n_tokens += (x.len() / cols) as u64;
        if let Some(products) = &mut self.products {
            linalg::gram(products, x, cols, pool);
        }
    }

    /// Adds the drift of the rows of `x` from `unchanged`, both `(n_tokens, cols)`.
    pub fn add_drift(&mut self, x: &[f32], unchanged: &[f32], pool: &Pool) {
        let cols = self.cols();
        let drift = self.drift.get_or_insert_with(|| vec![0.0; cols * cols]);
        let differences: Vec<f32> = unchanged.iter().zip(x).map(|(unchanged, x)| unchanged - x).collect();
        linalg::cross(drift, &differences, x, cols, pool);
    }

    /// Mean of |x| by column.
    pub fn mean_abs(&self) -> Vec<f32> {
        self.means(&self.sum_abs)
    }

    /// Mean of x^2 by column: the importances that encoders take.
    pub fn mean_squares(&self) -> Vec<f32> {
        self.means(&self.sum_squares)
    }

    fn means(&self, sums: &[f64]) -> Vec<f32> {
        let n = self.n_tokens.max(1) as f64;
        sums.iter().map(|sum| (sum / n) as f32).collect()
    }

    /// `2 X X' / T`, of which the upper half is right, where products were kept. `(cols, cols)`
    pub fn hessian(&self) -> Option<Vec<f64>> {
        self.clone().into_hessian()
    }

    /// [`Stats::hessian`] in the place of the sums.
    pub fn into_hessian(mut self) -> Option<Vec<f64>> {
        let products = self.products.take();
        products.map(|sums| self.scaled(sums))
    }

    /// `2 (X0 - X) X' / T`, where drift was looked at; it is gone afterwards. `(cols, cols)`
    pub fn take_drift(&mut self) -> Option<Vec<f64>> {
        let drift = self.drift.take();
        drift.map(|sums| self.scaled(sums))
    }

    fn scaled(&self, mut sums: Vec<f64>) -> Vec<f64> {
        let scale = 2.0 / self.n_tokens.max(1) as f64;
        sums.iter_mut().for_each(|v| *v *= scale);
        sums
    }

    /// What would have been seen of `x / scales`.
    pub fn divide(&mut self, scales: &[f32]) {
        let cols = self.cols();
        for (j, &scale) in scales.iter().enumerate() {
            let wide = f64::from(scale);
            self.sum_abs[j] /= wide;
            self.sum_squares[j] /= wide * wide;
            self.max_abs[j] /= scale;
        }
        for row in self.sample.chunks_exact_mut(cols) {
            row.iter_mut().zip(scales).for_each(|(v, scale)| *v /= scale);
        }
        for sums in [&mut self.products, &mut self.drift].into_iter().flatten() {
            for (row, &of_row) in sums.chunks_exact_mut(cols).zip(scales) {
                row.iter_mut().zip(scales).for_each(|(v, &scale)| *v /= f64::from(of_row) * f64::from(scale));
            }
        }
    }
}

/// Sums up what it sees.
#[derive(Debug)]
pub struct Collector<'a> {
    pool: &'a Pool,
    /// Weights of whose sites products are kept.
    with_products: HashSet<&'a str>,
    /// By the name of the first weight.
    sites: Mutex<BTreeMap<String, Site>>,
    /// What the same matrices of the unchanged model were given, of the same tokens.
    unchanged: Option<&'a Recorder>,
    /// [`Stats::sample_every`] of all sites.
    sample_every: u64,
}

impl<'a> Collector<'a> {
    /// Nothing seen. Products are kept of the inputs of the weights `with_products`.
    pub fn new(pool: &'a Pool, with_products: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            pool,
            with_products: with_products.into_iter().collect(),
            sites: Mutex::default(),
            unchanged: None,
            sample_every: 0,
        }
    }

    /// Beside what `unchanged` has seen of the same tokens.
    pub fn beside(self, unchanged: &'a Recorder) -> Self {
        Self { unchanged: Some(unchanged), ..self }
    }

    /// Keeping about `n` of `n_tokens` inputs of every site. One of an odd number is kept, so that all places of sequences of an even
    /// length have their turn, the first one included.
    pub fn sampling(self, n: usize, n_tokens: usize) -> Self {
        Self { sample_every: (n_tokens / n.max(1)) as u64 | 1, ..self }
    }

    /// What was seen, by the names of the first weights.
    pub fn into_sites(self) -> Vec<Site> {
        self.sites.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
    }
}

impl Probe for Collector<'_> {
    fn input(&self, to: Takers<'_>, x: &[f32], cols: usize) {
        let Some(first) = to.names().next() else { return };
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if !sites.contains_key(first) {
            let with_products = to.names().any(|name| self.with_products.contains(name));
            let mut weights: Vec<String> = to.names().map(str::to_owned).collect();
            // Parts of one tensor have its name.
            weights.dedup();
            let stats = Stats { sample_every: self.sample_every, ..Stats::new(cols, with_products) };
            sites.insert(first.to_owned(), Site { weights, stats });
        }
        let stats = &mut sites.get_mut(first).expect("was put there").stats;
        stats.add(x, self.pool);
        if let Some(unchanged) = self.unchanged.filter(|_| stats.products.is_some()) {
            unchanged.beside(first, x, |unchanged| stats.add_drift(x, unchanged, self.pool));
        }
    }
}

/// Keeps what it sees of some tokens, for a [`Collector`] that sees the same tokens next.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Inputs by the names of the first weights, as long as there are as many rows as tokens: experts are given a choice of them, and
    /// not the same.
    seen: Mutex<BTreeMap<String, Vec<f32>>>,
    n_tokens: AtomicUsize,
}

impl Recorder {
    /// From here on other tokens come, so many of them.
    pub fn begin(&self, n_tokens: usize) {
        self.n_tokens.store(n_tokens, Relaxed);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).values_mut().for_each(Vec::clear);
    }

    /// Has `f` look at what was kept of the site of `first`, if that is of the same tokens as `x`.
    fn beside(&self, first: &str, x: &[f32], f: impl FnOnce(&[f32])) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(unchanged) = seen.get(first).filter(|unchanged| unchanged.len() == x.len()) {
            f(unchanged);
        }
    }
}

impl Probe for Recorder {
    fn input(&self, to: Takers<'_>, x: &[f32], cols: usize) {
        let Some(first) = to.names().next().filter(|_| x.len() == self.n_tokens.load(Relaxed) * cols) else {
            return;
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = seen.entry(first.to_owned()).or_default();
        kept.clear();
        kept.extend_from_slice(x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_all_tokens() {
        let (pool, x) = (Pool::new(2), [1.0, -2.0, 0.5, 3.0, 0.0, -4.0]);
        let mut stats = Stats::new(2, true);
        stats.add(&x[..2], &pool);
        stats.add(&x[2..], &pool);
        assert_eq!((stats.n_tokens, stats.cols()), (3, 2));
        assert_eq!(stats.mean_abs(), [0.5, 3.0]);
        assert_eq!(stats.max_abs, [1.0, 4.0]);
        assert_eq!(stats.mean_squares(), [1.25 / 3.0, 29.0 / 3.0]);
        let (two_thirds, across) = (2.0 / 3.0, 2.0 / 3.0 * -0.5);
        let h = stats.hessian().unwrap();
        assert_eq!((h[0], h[1], h[3]), (1.25 * two_thirds, across, 29.0 * two_thirds));
        assert!(Stats::new(2, false).hessian().is_none());
    }

    #[test]
    fn a_sample_is_spread_over_all_tokens_however_they_come() {
        let pool = Pool::new(1);
        let every = Collector::new(&pool, []).sampling(4, 24).sample_every;
        // Of sequences of an even length, every place has its turn.
        assert_eq!(every, 7);
        let x: Vec<f32> = (0..48).map(|i| i as f32).collect();
        let sample = |parts: &[usize]| {
            let (mut stats, mut rest) = (Stats { sample_every: every, ..Stats::new(2, false) }, &x[..]);
            for &n in parts {
                let (part, tail) = rest.split_at(2 * n);
                stats.add(part, &pool);
                rest = tail;
            }
            stats
        };
        let mut stats = sample(&[24]);
        assert_eq!(stats.sample, [6.0, 7.0, 20.0, 21.0, 34.0, 35.0]);
        assert_eq!(sample(&[1, 2, 11, 10]).sample, stats.sample);
        stats.divide(&[2.0, 1.0]);
        assert_eq!(stats.sample[..3], [3.0, 7.0, 10.0]);
        assert!(Stats::new(2, false).sample.is_empty());
    }
}
