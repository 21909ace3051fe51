//! Falcon-H1: attention and a state space mixer side by side in every layer. Files have the family's many factors
//! multiplied into their weights.

use super::Family;
use crate::mixer::{MixerPlan, mamba2, sum};

pub static FAMILY: Family = Family {
    name: "falcon-h1",
    covers: "Falcon-H1 0.5B, 1.5B, 1.5B-Deep, 3B, 7B, 34B",
    source: "arXiv 2507.22448; the transformers library, models/falcon_h1",
    adjust: |keys, config| {
        let recurrent = mamba2::Plan::read(keys)?;
        for layer in &mut config.layers {
            if let MixerPlan::Attention(attention) = &layer.mixer {
                let (dim, attention) = (config.dim, attention.clone());
                layer.mixer = MixerPlan::Sum(sum::Plan { dim, attention, recurrent });
            }
        }
        Ok(())
    },
    ..Family::BASE
};
