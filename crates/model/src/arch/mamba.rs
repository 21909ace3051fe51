//! Mamba: a state space mixer in every layer and nothing else. FalconMamba norms what the mixer makes of its input.

use super::Family;
use crate::mixer::{MixerPlan, mamba};

pub static FAMILY: Family = Family {
    name: "mamba",
    covers: "Mamba 130M to 2.8B, FalconMamba-7B",
    source: "arXiv 2312.00752; the transformers library, models/mamba, models/falcon_mamba",
    adjust: |keys, config| {
        let plan = mamba::Plan::read(keys)?;
        config.layers.iter_mut().for_each(|layer| layer.mixer = MixerPlan::Mamba(plan));
        config.use_no_rope();
        Ok(())
    },
    ..Family::BASE
};
