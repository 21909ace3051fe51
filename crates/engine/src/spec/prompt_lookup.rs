//! [`Lookup`] as a drafter: one for each sequence.

use super::lookup::{CLASSES, Ground, Lookup};
use super::{Ask, Drafter, Kind, Plan, Target, plan};
use crate::error::Result;

pub static KIND: Kind = Kind {
    name: "lookup",
    argument: "",
    about: "what followed the last time that prompt and answer went as they go now",
    source: "prompt-lookup-decoding (2023), arXiv 2304.04487",
    is_free: true,
    make,
};

const _: () = assert!(CLASSES.len() <= plan::CLASSES);

#[derive(Debug)]
struct PromptLookup {
    lanes: Vec<Lookup>,
    n_bytes: u64,
}

fn make(plan: &Plan<'_>) -> Result<Box<dyn Drafter>> {
    let lanes = (0..plan.n_lanes).map(|_| Lookup::new(plan.ctx)).collect();
    let n_bytes = (plan.n_lanes * Lookup::n_bytes(plan.ctx)) as u64;
    Ok(Box::new(PromptLookup { lanes, n_bytes }))
}

impl Drafter for PromptLookup {
    fn draft(&mut self, _: &Target<'_>, asks: &mut [Ask<'_>]) -> Result<()> {
        for Ask { lane, tokens, n, drafts, .. } in asks {
            let lookup = &mut self.lanes[*lane];
            lookup.follow(tokens);
            let ground = lookup.guess(&[], *n, drafts.chain_mut());
            drafts.class = ground.class();
            debug_assert!(ground != Ground::Nothing || drafts.is_empty());
        }
        Ok(())
    }

    fn n_bytes(&self) -> u64 {
        self.n_bytes
    }
}
