//! The candidates of one choice.
//!
//! At first they are the whole row, where a token's id is its place; the first filter moves what it keeps to the row's
//! front and from then on the ids stand beside. So a filter reads the model's numbers once, where they lie, and no list of
//! the vocabulary is ever built. Candidates are always in rising order of id.

use super::{Rng, SampleError, race};

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
    pub(super) fn rank(&self, other: &Self) -> std::cmp::Ordering {
        // Adding 0.0 makes -0.0 and 0.0 equal under `total_cmp`.
        (other.logit + 0.0).total_cmp(&(self.logit + 0.0)).then(self.id.cmp(&other.id))
    }
}

/// Logits that are looked at together: a block without a survivor costs a few vector comparisons.
const BLOCK: usize = 64;

/// The candidates of one choice; never empty.
#[derive(Debug)]
pub struct Pool<'a> {
    /// `(n_left)`
    logits: &'a mut [f32],
    /// `(n_left)`, or anything while `whole`.
    ids: &'a mut Vec<u32>,
    whole: bool,
    /// Room for a stage's work.
    pub(super) scratch: &'a mut Vec<Candidate>,
}

impl<'a> Pool<'a> {
    /// All tokens of a row. `ids` and `scratch` lend their memory.
    pub(super) fn new(row: &'a mut [f32], ids: &'a mut Vec<u32>, scratch: &'a mut Vec<Candidate>) -> Self {
        Self { logits: row, ids, whole: true, scratch }
    }

    /// How many there are.
    pub fn n_left(&self) -> usize {
        self.logits.len()
    }

    /// Their logits, in rising order of id. `(n_left)`
    pub fn logits(&self) -> &[f32] {
        self.logits
    }

    /// The same, to be changed.
    pub fn logits_mut(&mut self) -> &mut [f32] {
        self.logits
    }

    /// The id of the `i`th.
    pub fn id(&self, i: usize) -> u32 {
        if self.whole { i as u32 } else { self.ids[i] }
    }

    /// The highest logit.
    pub fn max(&self) -> f32 {
        max(self.logits)
    }

    /// Changes the logit of token `id`, if it is a candidate.
    pub fn adjust(&mut self, id: u32, change: impl FnOnce(f32) -> f32) {
        let at = if self.whole { Some(id as usize) } else { self.ids.binary_search(&id).ok() };
        if let Some(logit) = at.and_then(|at| self.logits.get_mut(at)) {
            *logit = change(*logit);
        }
    }

    /// Calls `f(id, logit)` for those whose logit passes `maybe`, which is tried on whole blocks.
    pub(super) fn scan(&self, maybe: impl Fn(f32) -> bool, mut f: impl FnMut(u32, f32)) {
        let mut places = [0; BLOCK];
        for (n, block) in self.logits.chunks(BLOCK).enumerate() {
            let n_places = passing(block, &maybe, &mut places);
            for &i in &places[..n_places] {
                f(self.id(n * BLOCK + usize::from(i)), block[usize::from(i)]);
            }
        }
    }

    /// Keeps those whose logit passes `maybe`, which is tried on whole blocks, and which pass `keep(id, logit)`.
    pub(super) fn keep(&mut self, maybe: impl Fn(f32) -> bool, mut keep: impl FnMut(u32, f32) -> bool) {
        let n = self.logits.len();
        if self.whole {
            self.ids.clear();
        }
        let (mut kept, mut places) = (0, [0; BLOCK]);
        for start in (0..n).step_by(BLOCK) {
            let n_places = passing(&self.logits[start..n.min(start + BLOCK)], &maybe, &mut places);
            for &i in &places[..n_places] {
                let at = start + usize::from(i);
                let (id, logit) = (self.id(at), self.logits[at]);
                if keep(id, logit) {
                    self.logits[kept] = logit;
                    if self.whole {
                        self.ids.push(id);
                    } else {
                        self.ids[kept] = id;
                    }
                    kept += 1;
                }
            }
        }
        assert!(kept > 0, "no stage drops every candidate");
        self.ids.truncate(kept);
        self.whole = false;
        self.logits = &mut std::mem::take(&mut self.logits)[..kept];
    }

    /// Keeps those with a logit of at least `cut`.
    pub(super) fn keep_above(&mut self, cut: f32) {
        self.keep(|l| l >= cut, |_, _| true);
    }

    /// Keeps `last` and the better ones.
    pub(super) fn keep_until(&mut self, last: Candidate) {
        self.keep(|l| l >= last.logit, |id, logit| Candidate { id, logit }.rank(&last).is_le());
    }

    /// The best one, the lowest id among equals.
    ///
    /// # Errors
    /// When a logit is NaN or plus infinity, or all are minus infinity.
    pub(super) fn best(&self) -> Result<Candidate, SampleError> {
        let (at, logit) = best(self.logits).map_err(|(at, value)| match at {
            Some(at) => SampleError::NotFinite { id: self.id(at), value },
            None => SampleError::NothingLeft,
        })?;
        Ok(Candidate { id: self.id(at), logit })
    }

    /// Picks in proportion to the weights, with one random number; also gives the pick's probability.
    ///
    /// # Errors
    /// As [`Self::best`].
    pub(super) fn draw(&self, rng: &mut Rng) -> Result<(u32, f64), SampleError> {
        let max = self.best()?.logit;
        let (first, total) = race::first(self.logits, max, |place| self.id(place), rng.next_u64());
        Ok((self.id(first.place), first.weight as f64 / total as f64))
    }
}

/// Writes the places in a block of what passes and returns how many there are.
fn passing(block: &[f32], maybe: impl Fn(f32) -> bool, places: &mut [u8; BLOCK]) -> usize {
    let mut n = 0;
    if block.iter().fold(false, |any, &l| any | maybe(l)) {
        // Without a branch for each: which ones pass can't be predicted.
        for (i, &l) in block.iter().enumerate() {
            places[n] = i as u8;
            n += usize::from(maybe(l));
        }
    }
    n
}

/// The highest of some logits, minus infinity when there is none. NaN is passed over.
pub(super) fn max(logits: &[f32]) -> f32 {
    // Lanes of its own for each remainder, so that it vectorises.
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = logits.chunks_exact(16);
    let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |m, &l| if l > m { l } else { m });
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(m, &l)| *m = if l > *m { l } else { *m });
    }
    lanes.into_iter().fold(rest, f32::max)
}

/// Place and value of the best logit, the first among equals; or place and value of the first that is not a number or plus
/// infinity, or no place when all are minus infinity.
pub(super) fn best(logits: &[f32]) -> Result<(usize, f32), (Option<usize>, f32)> {
    let max = max(logits);
    // A healthy row costs two passes that vectorise.
    let healthy = max < f32::INFINITY && logits.iter().fold(true, |ok, l| ok & !l.is_nan());
    if !healthy {
        let at = logits.iter().position(|l| l.is_nan() || *l == f32::INFINITY).expect("one is not finite");
        return Err((Some(at), logits[at]));
    }
    match logits.iter().position(|&l| l == max) {
        Some(at) if max > f32::NEG_INFINITY => Ok((at, max)),
        _ => Err((None, max)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Applies `f` to the pool of `row` and gives what is left.
    pub fn after(row: &[f32], f: impl FnOnce(&mut Pool<'_>)) -> Vec<Candidate> {
        let (mut row, mut ids, mut scratch) = (row.to_vec(), Vec::new(), Vec::new());
        let mut pool = Pool::new(&mut row, &mut ids, &mut scratch);
        f(&mut pool);
        (0..pool.n_left()).map(|i| Candidate { id: pool.id(i), logit: pool.logits()[i] }).collect()
    }

    #[test]
    fn filters_compose_and_ids_stay_with_their_logits() {
        let row: Vec<f32> = (0..200).map(|i| ((i * 37) % 101) as f32).collect();
        let left = after(&row, |pool| {
            pool.keep_above(40.0);
            pool.adjust(3, |l| l + 1000.0); // 10: dropped
            pool.adjust(2, |l| l + 1.0); // 74: kept
            pool.adjust(5000, |_| f32::NAN);
            pool.keep(|l| l < 90.0, |id, _| id % 2 == 0);
        });
        let expected: Vec<_> = (0..200u32)
            .zip(&row)
            .filter(|&(id, &l)| (40.0..90.0).contains(&l) && id % 2 == 0)
            .map(|(id, &l)| Candidate { id, logit: if id == 2 { l + 1.0 } else { l } })
            .collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn the_highest_is_found_at_every_place_and_length() {
        for n in 1..70 {
            for at in 0..n {
                let mut row = vec![-1.0; n];
                row[at] = -0.5;
                assert_eq!(best(&row), Ok((at, -0.5)));
                row[at] = f32::NAN;
                assert!(matches!(best(&row), Err((Some(found), _)) if found == at));
            }
        }
    }
}
