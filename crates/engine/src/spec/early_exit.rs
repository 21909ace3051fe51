//! The model's own first layers as its drafter: no second file, and no memory but the buffers of a step.
//!
//! The hidden states behind the first `k` layers go to the head as if they were the last (LayerSkip, arXiv 2404.16710; Draft & Verify, arXiv 2309.08168). The layers' keys and
//! values of all that is sure are there already, so a guess costs `k` layers and the head.

use ingle_model::decoder::Scratch;

use super::plan::LANES_MAX;
use super::rollout::{Player, Same, play};
use super::{Ask, DRAFTS_MAX, Drafter, Kind, Plan, Target};
use crate::error::{Error, Result};

pub static KIND: Kind = Kind {
    name: "exit",
    argument: "K",
    about: "the model's own first K layers and its head",
    source: "arXiv 2404.16710",
    is_free: false,
    make,
};

#[derive(Debug)]
struct EarlyExit {
    n_layers: usize,
    scratch: Scratch,
    n_bytes: u64,
}

fn make(plan: &Plan<'_>) -> Result<Box<dyn Drafter>> {
    let config = &plan.target.model.config;
    let n_all = config.layers.len();
    let n_layers =
        plan.n_layers.ok_or_else(|| Error::Input("exit: expected a number of layers, exit:K".into()))?;
    if !(1..n_all).contains(&n_layers) {
        let last = n_all.saturating_sub(1);
        return Err(Error::Input(format!(
            "exit:{n_layers}: this model has {n_all} layers, expected 1 to {last}"
        )));
    }
    let n_tokens = (DRAFTS_MAX + 1) * plan.n_lanes.min(LANES_MAX);
    let n_bytes = (Scratch::bytes_per_token(config) * n_tokens) as u64;
    let scratch = Scratch::new(config, n_tokens, plan.target.n_threads());
    Ok(Box::new(EarlyExit { n_layers, scratch, n_bytes }))
}

impl Drafter for EarlyExit {
    fn draft(&mut self, target: &Target<'_>, asks: &mut [Ask<'_>]) -> Result<()> {
        let before: Vec<usize> = asks.iter().map(|ask| ask.kv.len()).collect();
        let players = asks.iter_mut().filter_map(|ask| {
            let feed = ask.tokens[ask.kv.len()..].to_vec();
            (feed.len() <= 1 + DRAFTS_MAX).then(|| Player {
                feed,
                kv: ask.kv,
                rehearsal: ask.answer.rehearse(),
                drafts: ask.drafts,
                n: ask.n,
                n_others: ask.n_others,
            })
        });
        let (loaded, players) = (target.loaded, players.collect());
        let run = loaded.runtime(target.adapters);
        let played = play((&loaded.model, self.n_layers), &run, &mut self.scratch, &mut Same, players);
        for (ask, before) in asks.iter_mut().zip(before) {
            ask.kv.truncate(before);
        }
        played.map_err(|source| loaded.file.model_error(source))
    }

    fn n_bytes(&self) -> u64 {
        self.n_bytes
    }
}
