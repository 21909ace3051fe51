//! Temperature: divide the logits. Last of the stages, so it does not change which candidates the filters keep.

use super::{Act, SampleError, Stage};

pub static STAGE: Stage = Stage {
    name: "temperature",
    about: "divide the logits by T (1 is off, 0 takes the best token)",
    check: |p| {
        if p.temperature >= 0.0 && p.temperature < f32::INFINITY {
            return Ok(());
        }
        Err(SampleError::Param { name: "temperature", value: p.temperature, expected: "0 or above" })
    },
    // At 0 the sampler takes the best token before any filter runs.
    wants: |p| p.temperature != 1.0,
    act: Act::Scale(|p, list| {
        // The distances from the best are scaled, so that a tiny temperature can't make infinities that cancel.
        let max = super::max_logit(list);
        list.iter_mut().for_each(|c| c.logit = (c.logit - max) / p.temperature);
    }),
};

#[cfg(test)]
mod tests {
    use super::super::{Params, Sampler};

    #[test]
    fn a_tiny_temperature_is_greedy_without_trouble() {
        let params = Params { temperature: f32::MIN_POSITIVE, ..Params::GREEDY };
        let mut s = Sampler::new(params, 4).unwrap();
        for _ in 0..100 {
            assert_eq!(s.sample(&mut [1e30, 2e30, -1e30, f32::NEG_INFINITY]), Ok(1));
        }
    }
}
