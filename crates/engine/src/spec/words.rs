//! [`NgramStore`] as a drafter: what this device's own answers said before, for all sequences.
//!
//! Only where somebody asked for it. Answers are learned when they have ended well, and written when the drafter goes.

use super::store::NgramStore;
use super::{Ask, Drafter, Kind, Plan, Target, plan};
use crate::error::{Error, Result};

pub static KIND: Kind = Kind {
    name: "words",
    argument: "",
    about: "what answers on this device said before, kept in a file of its own",
    source: "arXiv 2411.03786, arXiv 2304.04487",
    is_free: true,
    make,
};

#[derive(Debug)]
struct Words {
    store: NgramStore,
    is_new: bool,
}

fn make(plan: &Plan<'_>) -> Result<Box<dyn Drafter>> {
    let file = plan.words.ok_or_else(|| Error::Input("words: expected a file to keep them in".into()))?;
    let vocabulary = super::ngrams::Vocabulary::of(plan.target.tokenizer()?);
    let store = NgramStore::open(file.path, file.form, vocabulary, file.bytes_max)?;
    Ok(Box::new(Words { store, is_new: false }))
}

impl Drafter for Words {
    fn draft(&mut self, _: &Target<'_>, asks: &mut [Ask<'_>]) -> Result<()> {
        for Ask { tokens, n, drafts, .. } in asks {
            let n_context = self.store.guess(tokens, *n, drafts.chain_mut());
            drafts.class = n_context.min(plan::CLASSES - 1);
        }
        Ok(())
    }

    fn learn(&mut self, answer: &[u32]) {
        self.store.learn(answer);
        self.is_new = true;
    }

    fn save(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_new) { self.store.save() } else { Ok(()) }
    }

    fn n_bytes(&self) -> u64 {
        self.store.ngrams().n_bytes() as u64
    }
}
