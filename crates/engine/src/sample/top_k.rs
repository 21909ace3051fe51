//! Top-k: keep the `k` best tokens (Fan et al., arXiv:1805.04833).
//!
//! A heap holds the `k` best seen so far with the worst on top; on a random row only about `k ln(n/k)` of `n` tokens get
//! past the top, so the pass costs little more than reading. Equal logits: the lower id is the better one.

use super::pool::Candidate;
use super::{Kind, Pool, Rng, Role, Setting, Stage, Step, TOKENS_MAX};

pub static STAGE: Stage = Stage {
    name: "top-k",
    aliases: &[],
    about: "keep the k best tokens",
    source: "arXiv:1805.04833",
    role: Role::Filter,
    settings: &[Setting {
        name: "top-k",
        kind: Kind::Count(0, TOKENS_MAX, |p| &mut p.top_k),
        default: &["40"],
        about: "Choose among the K best tokens; 0: all",
    }],
    wants: |p| p.top_k > 0,
    make: |p, _| Ok(Box::new(TopK(p.top_k))),
};

#[derive(Debug)]
struct TopK(usize);

impl Step for TopK {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        keep(pool, self.0);
    }
}

/// Keeps the `k` best.
pub fn keep(pool: &mut Pool<'_>, k: usize) {
    if k < pool.n_left() {
        let mut heap = std::mem::take(pool.scratch);
        best(pool.logits(), k, &mut heap);
        // The heap counts places; ids rise with them.
        let worst = Candidate { id: pool.id(heap[0].id as usize), logit: heap[0].logit };
        *pool.scratch = heap;
        pool.keep_until(worst);
    }
}

/// Fills `heap` with the `k` best of `logits`, the worst of them first and the rest in no order; ids are places.
pub fn best(logits: &[f32], k: usize, heap: &mut Vec<Candidate>) {
    const BLOCK: usize = 64;
    let k = k.min(logits.len());
    heap.clear();
    heap.extend(logits[..k].iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }));
    for i in (0..k / 2).rev() {
        sift_down(heap, i);
    }
    for (n, block) in logits[k..].chunks(BLOCK).enumerate() {
        // A later candidate has a higher id, so an equal logit does not displace.
        let top = heap[0].logit;
        if !block.iter().fold(false, |any, &l| any | (l > top)) {
            continue;
        }
        for (i, &logit) in block.iter().enumerate() {
            if logit > heap[0].logit {
                heap[0] = Candidate { id: (k + n * BLOCK + i) as u32, logit };
                sift_down(heap, 0);
            }
        }
    }
}

/// Restores "no child is worse than its parent" below `i`.
fn sift_down(heap: &mut [Candidate], mut i: usize) {
    loop {
        let Some(left) = heap.get(2 * i + 1) else { return };
        let worse = match heap.get(2 * i + 2) {
            Some(right) if right.rank(left).is_gt() => 2 * i + 2,
            _ => 2 * i + 1,
        };
        if heap[worse].rank(&heap[i]).is_le() {
            return;
        }
        heap.swap(i, worse);
        i = worse;
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::after;
    use super::super::tests::logits;
    use super::*;

    fn kept(row: &[f32], k: usize) -> Vec<u32> {
        after(row, |pool| keep(pool, k)).iter().map(|c| c.id).collect()
    }

    /// The slow twin: sort, cut, back to the order of ids.
    fn sorted(row: &[f32], k: usize) -> Vec<u32> {
        let mut list: Vec<_> = row.iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }).collect();
        list.sort_by(Candidate::rank);
        let mut ids: Vec<_> = list.iter().take(k).map(|c| c.id).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn agrees_with_sorting() {
        for seed in 0..20 {
            let mut row = logits(200, seed);
            if seed % 2 == 0 {
                row.iter_mut().for_each(|l| *l = l.round()); // many equal logits
            }
            for k in [1, 2, 3, 10, 199, 200, 1000] {
                assert_eq!(kept(&row, k), sorted(&row, k), "seed {seed}, k {k}");
            }
        }
    }

    #[test]
    fn it_works_on_what_another_filter_left() {
        let row = logits(200, 3);
        let left = after(&row, |pool| {
            pool.keep(|_| true, |id, _| id % 3 == 1);
            keep(pool, 5);
        });
        let thirds: Vec<f32> = row.iter().skip(1).step_by(3).copied().collect();
        let expected: Vec<u32> = sorted(&thirds, 5).iter().map(|i| 3 * i + 1).collect();
        assert_eq!(left.iter().map(|c| c.id).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn rising_and_falling_rows_are_no_special_case() {
        let up: Vec<f32> = (0..100).map(|i| i as f32).collect();
        assert_eq!(kept(&up, 3), [97, 98, 99]);
        let down: Vec<f32> = (0..100).map(|i| -(i as f32)).collect();
        assert_eq!(kept(&down, 3), [0, 1, 2]);
    }
}
