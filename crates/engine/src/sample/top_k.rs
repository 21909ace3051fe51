//! Top-k: keep the `k` best tokens.
//!
//! A heap holds the `k` best seen so far with the worst on top; on a random row only about `k ln(n/k)` of `n` tokens get
//! past the top, so the pass costs little more than reading. Equal logits: the lower id is the better one.

use super::{Act, Candidate, Params, Stage};

pub static STAGE: Stage = Stage {
    name: "top_k",
    about: "keep the k best tokens (0 is off)",
    check: |_| Ok(()),
    wants: |p| p.top_k > 0,
    act: Act::Filter(apply),
};

fn apply(p: &Params, list: &mut Vec<Candidate>, heap: &mut Vec<Candidate>) {
    if p.top_k >= list.len() {
        return;
    }
    heap.clear();
    heap.extend_from_slice(&list[..p.top_k]);
    for i in (0..p.top_k / 2).rev() {
        sift_down(heap, i);
    }
    for c in &list[p.top_k..] {
        // A later candidate has a higher id, so an equal logit does not displace.
        if c.logit > heap[0].logit {
            heap[0] = *c;
            sift_down(heap, 0);
        }
    }
    let worst = heap[0];
    list.retain(|c| c.rank(&worst).is_le());
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
    use super::super::tests::logits;
    use super::*;

    fn kept(row: &[f32], top_k: usize) -> Vec<u32> {
        let mut list: Vec<_> = row.iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }).collect();
        apply(&Params { top_k, ..Params::GREEDY }, &mut list, &mut Vec::new());
        list.iter().map(|c| c.id).collect()
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
    fn rising_and_falling_rows_are_no_special_case() {
        let up: Vec<f32> = (0..100).map(|i| i as f32).collect();
        assert_eq!(kept(&up, 3), [97, 98, 99]);
        let down: Vec<f32> = (0..100).map(|i| -(i as f32)).collect();
        assert_eq!(kept(&down, 3), [0, 1, 2]);
    }
}
