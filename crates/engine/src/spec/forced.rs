//! What an answer's form leaves no choice about: names of fields, brackets, the rest of a word that has begun.

use super::{Ask, Drafter, Kind, Plan, Target};
use crate::error::Result;

pub static KIND: Kind = Kind {
    name: "form",
    argument: "",
    about: "what the answer's grammar or schema leaves no choice about",
    source: "guidance's fast-forward tokens",
    is_free: true,
    make,
};

#[derive(Debug)]
struct Forced;

fn make(_: &Plan<'_>) -> Result<Box<dyn Drafter>> {
    Ok(Box::new(Forced))
}

impl Drafter for Forced {
    fn draft(&mut self, _: &Target<'_>, asks: &mut [Ask<'_>]) -> Result<()> {
        for ask in asks {
            ask.answer.forced(ask.n, ask.drafts.chain_mut())?;
        }
        Ok(())
    }
}
