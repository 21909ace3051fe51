//! Min-p: keep tokens at least `p` times as probable as the best one (Nguyen et al., arXiv:2407.01082).

use super::{Act, Candidate, Params, SampleError, Stage, max_logit};

pub static STAGE: Stage = Stage {
    name: "min_p",
    about: "keep tokens at least p times as probable as the best one (0 is off)",
    check: |p| {
        if (0.0..=1.0).contains(&p.min_p) {
            return Ok(());
        }
        Err(SampleError::Param { name: "min_p", value: p.min_p, expected: "0 to 1" })
    },
    wants: |p| p.min_p > 0.0,
    act: Act::Filter(apply),
};

fn apply(p: &Params, list: &mut Vec<Candidate>, _: &mut Vec<Candidate>) {
    let worst = max_logit(list) + f64::from(p.min_p).ln() as f32;
    list.retain(|c| c.logit >= worst);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_probable_enough() {
        let ln = |p: f32| p.ln();
        let row = [ln(0.5), ln(0.3), ln(0.15), ln(0.05)];
        let kept = |min_p| {
            let mut list: Vec<_> = row.iter().zip(0..).map(|(&logit, id)| Candidate { id, logit }).collect();
            apply(&Params { min_p, ..Params::GREEDY }, &mut list, &mut Vec::new());
            list.iter().map(|c| c.id).collect::<Vec<_>>()
        };
        assert_eq!(kept(0.05), [0, 1, 2, 3]);
        assert_eq!(kept(0.2), [0, 1, 2]);
        assert_eq!(kept(0.5), [0, 1]);
        assert_eq!(kept(1.0), [0]);
    }
}
