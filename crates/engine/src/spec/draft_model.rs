//! A smaller model as drafter: it reads what the large one reads and guesses what that will say.
//!
//! Its cache follows the sequence: what both have in common stays, what it lacks is fed before it guesses, long prompts in steps between which the
//! answer goes on without guesses. It computes on the same threads, and its memory is counted before it is taken. Its vocabulary may be
//! another one (`translation`).

use std::sync::Arc;

use ingle_model::decoder::{Scratch, Span};
use ingle_model::kv::{self, Kv, Room};

use super::plan::LANES_MAX;
use super::rollout::{Player, Words, play};
use super::translation::Translation;
use super::{Ask, DRAFTS_MAX, Drafter, Kind, Plan, Target};
use crate::error::{Error, Result};
use crate::memory;
use crate::model_file::Loaded;
use crate::session::chunk_of;

pub static KIND: Kind = Kind {
    name: "draft",
    argument: "MODEL",
    about: "a smaller model that reads along",
    source: "arXiv 2211.17192",
    is_free: false,
    make,
};

#[derive(Debug)]
struct DraftModel {
    loaded: Arc<Loaded>,
    words: Translation,
    scratch: Scratch,
    lanes: Vec<Lane>,
    n_bytes: u64,
}

/// One sequence.
#[derive(Debug)]
struct Lane {
    kv: Kv,
    /// What the cache holds, in this model's tokens.
    tokens: Vec<u32>,
}

fn make(plan: &Plan<'_>) -> Result<Box<dyn Drafter>> {
    let loaded = plan.draft.ok_or_else(|| Error::Input("draft: expected a model, draft:MODEL".into()))?;
    let config = &loaded.model.config;
    let format = kv::format(config, plan.session.kv).map_err(|e| loaded.file.model_error(e))?;
    let room = Room::new(config, format, plan.ctx, plan.n_lanes, 0);
    let kv = Kv::within(&room, config);
    if kv.recurs() {
        let name = loaded.file.name();
        return Err(Error::Input(format!(
            "{name}: it has layers that recur, which can't draft; use another model"
        )));
    }
    let chunk = chunk_of(config, &plan.session).max((DRAFTS_MAX + 1) * plan.n_lanes.min(LANES_MAX));
    let contexts = kv::n_bytes(config, format, plan.ctx).saturating_mul(plan.n_lanes as u64);
    let scratch = (Scratch::bytes_per_token(config) * chunk) as u64;
    let n_bytes = contexts.saturating_add(scratch).saturating_add(loaded.packed_bytes());
    // What the model that judges will take may not be touched yet.
    let judge = &plan.target.model.config;
    let format = kv::format(judge, plan.session.kv).map_err(|e| plan.target.file.model_error(e))?;
    let taken = kv::n_bytes(judge, format, plan.ctx).saturating_mul(plan.n_lanes as u64);
    let taken = taken.saturating_add(plan.target.packed_bytes());
    let available = memory::available_bytes().unwrap_or(u64::MAX).saturating_sub(taken);
    if n_bytes > available {
        let what =
            format!("{} to draft: {} contexts of {} tokens", loaded.file.name(), plan.n_lanes, plan.ctx);
        return Err(Error::Memory { what, needed: n_bytes, available });
    }
    let lane = |_| Lane { kv: Kv::within(&room, config), tokens: Vec::with_capacity(plan.ctx) };
    Ok(Box::new(DraftModel {
        words: Translation::new(plan.target, loaded)?,
        scratch: Scratch::new(config, chunk, loaded.n_threads()),
        lanes: (0..plan.n_lanes).map(lane).collect(),
        n_bytes: n_bytes + loaded.file.n_bytes(),
        loaded: loaded.clone(),
    }))
}

impl Drafter for DraftModel {
    fn draft(&mut self, _: &Target<'_>, asks: &mut [Ask<'_>]) -> Result<()> {
        let Self { loaded, words, scratch, lanes, .. } = self;
        let run = loaded.runtime(&[]);
        let mut all = Vec::new();
        for ask in &*asks {
            let mut ids = Vec::with_capacity(ask.tokens.len() + DRAFTS_MAX);
            ask.tokens.iter().for_each(|&id| words.feed(id, &mut ids));
            all.push(ids);
        }
        let mut players = Vec::with_capacity(asks.len());
        let mut lanes: Vec<Option<&mut Lane>> = lanes.iter_mut().map(Some).collect();
        let mut guessed = Vec::with_capacity(asks.len());
        for (ask, ids) in asks.iter_mut().zip(all) {
            let Some(Lane { kv, tokens }) = lanes[ask.lane].take() else { continue };
            let same = tokens.iter().zip(&ids).take_while(|(a, b)| a == b).count();
            let len = kv.truncate(same.min(ids.len().saturating_sub(1)));
            tokens.truncate(len);
            if ids.len() + ask.n > kv.capacity() {
                continue;
            }
            let mut feed = &ids[len..];
            ask.n_read = feed.len();
            // What does not fit the step of guesses is read first, so much at a time.
            if feed.len() > 1 + DRAFTS_MAX {
                let n = (feed.len() - 1).min(scratch.tokens_max()).min(kv.step_max());
                let span = Span::wanting(1, kv, &feed[..n]);
                let read = loaded.model.forward(&run, &mut [span], scratch);
                read.map_err(|source| loaded.file.model_error(source))?;
                tokens.extend_from_slice(&feed[..n]);
                feed = &feed[n..];
            }
            if feed.len() > 1 + DRAFTS_MAX {
                continue;
            }
            let feed = feed.to_vec();
            tokens.clear();
            tokens.extend_from_slice(&ids);
            guessed.push((ask.lane, tokens));
            players.push(Player {
                kv,
                feed,
                rehearsal: ask.answer.rehearse(),
                drafts: ask.drafts,
                n: ask.n,
                n_others: ask.n_others,
            });
        }
        let n_layers = loaded.model.config.layers.len();
        let played = play((&loaded.model, n_layers), &run, scratch, words, players);
        // The last guess was not fed.
        for (lane, tokens) in guessed {
            let ask = asks.iter().find(|ask| ask.lane == lane).expect("one of those asked");
            ask.drafts.chain().iter().for_each(|&id| words.feed(id, tokens));
        }
        for Lane { kv, tokens } in &mut self.lanes {
            tokens.truncate(kv.len());
        }
        played.map_err(|source| loaded.file.model_error(source))
    }

    fn n_bytes(&self) -> u64 {
        self.n_bytes
    }
}
