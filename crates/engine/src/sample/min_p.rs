//! Min-p: keep tokens at least `p` times as probable as the best one (Nguyen et al., arXiv:2407.01082).

use super::{Kind, Pool, Rng, Role, Setting, Stage, Step};

pub static STAGE: Stage = Stage {
    name: "min-p",
    aliases: &[],
    about: "keep tokens at least p times as probable as the best one",
    source: "arXiv:2407.01082",
    role: Role::Filter,
    settings: &[Setting {
        name: "min-p",
        kind: Kind::Number(0.0, 1.0, |p| &mut p.min_p),
        default: &["0.05"],
        about: "Choose among tokens at least P times as probable as the best; 0: all",
    }],
    wants: |p| p.min_p > 0.0,
    make: |p, _| Ok(Box::new(MinP(f64::from(p.min_p).ln() as f32))),
};

/// The logarithm of `p`.
#[derive(Debug)]
struct MinP(f32);

impl Step for MinP {
    fn apply(&mut self, pool: &mut Pool<'_>, _: &mut Rng) {
        pool.keep_above(pool.max() + self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::tests::after;
    use super::super::tests::logits;
    use super::super::{Params, Room};
    use super::*;

    fn kept(row: &[f32], min_p: f32) -> Vec<u32> {
        let mut step = (STAGE.make)(&Params { min_p, ..Params::GREEDY }, &Room::plain(row.len())).unwrap();
        after(row, |pool| step.apply(pool, &mut Rng::new(0))).iter().map(|c| c.id).collect()
    }

    #[test]
    fn keeps_what_is_probable_enough() {
        let row = [0.5f32, 0.3, 0.15, 0.05].map(f32::ln);
        assert_eq!(kept(&row, 0.05), [0, 1, 2, 3]);
        assert_eq!(kept(&row, 0.2), [0, 1, 2]);
        assert_eq!(kept(&row, 0.5), [0, 1]);
        assert_eq!(kept(&row, 1.0), [0]);
    }

    #[test]
    fn agrees_with_the_definition() {
        for seed in 0..20 {
            let row = logits(300, seed);
            let best = row.iter().copied().fold(f32::MIN, f32::max);
            for p in [1e-6, 0.01, 0.1, 0.9f32] {
                let enough = |&id: &u32| f64::from(row[id as usize] - best).exp() >= f64::from(p);
                assert_eq!(kept(&row, p), (0..300).filter(enough).collect::<Vec<_>>(), "seed {seed}, p {p}");
            }
        }
    }
}
