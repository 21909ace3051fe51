//! Mamba-2: a state space mixer in every layer and nothing else.

use super::Family;
use crate::mixer::{MixerPlan, mamba2};

pub static FAMILY: Family = Family {
    name: "mamba2",
    covers: "Mamba-2 130M to 2.7B, Mamba-Codestral-7B",
    source: "arXiv 2405.21060; the transformers library, models/mamba2",
    adjust: |keys, config| {
        let plan = mamba2::Plan::read(keys)?;
        config.layers.iter_mut().for_each(|layer| layer.mixer = MixerPlan::Mamba2(plan));
        config.use_no_rope();
        Ok(())
    },
    ..Family::BASE
};
