//! What a model will take, from its header alone: nothing is loaded to know it.
//!
//! Weights lie in the file as many bytes as its tensors have; caches and buffers follow from shapes. The tables of a vocabulary
//! are estimated from its numbers of tokens and merges and the bytes of their texts. [`Need::offers`] lists ways to load a model, the wished one
//! first, then with less, in the order in which that is least missed: smaller caches of what answers have been through, keys and
//! values in fewer bits, a shorter context. Another quantisation of the same model comes behind all of these: its own offers.

use ingle_model::config::Config;
use ingle_model::decoder::Scratch;
use ingle_model::encoder;
use ingle_model::file::{Contents, Value};
use ingle_model::kv;

use super::Ledger;
use crate::embed::is_encoder;
use crate::model_file::ModelFile;
use crate::session::{SessionOptions, chunk_of};

/// Shorter contexts are not offered.
const CTX_MIN: usize = 512;
/// Tokens of a step of a model that reads.
const STEP_TOKENS: usize = 512;
/// Bytes that tables of a vocabulary take for each entry of a list, beside the list itself: as measured, rounded up
/// (`engine/tests/residency/vocabulary.rs`).
const ENTRY_BYTES: [(&str, u64); 2] = [(".tokens", 320), (".merges", 112)];

/// What the header of a model says.
#[derive(Debug, Clone)]
pub struct Need {
    name: String,
    mapped: u64,
    made: u64,
    vocabulary: u64,
    /// `None` where only the bytes of weights are known.
    config: Option<Config>,
    is_encoder: bool,
    /// Whether its weights lie in the program itself, where they stay.
    is_built_in: bool,
}

/// How a model is wished for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Positions of each context.
    pub ctx: usize,
    /// Format of keys and values.
    pub kv: String,
    /// Answers at the same time.
    pub n_lanes: usize,
    /// Tokens of a prompt that share a step; `None` for the default.
    pub chunk: Option<usize>,
    /// Bytes of what answers have been through; `None` for as much as the contexts take.
    pub prefix_bytes: Option<u64>,
    /// Whether single tokens find their weights packed, in memory of our own.
    pub packs: bool,
}

/// What may become less, where memory is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct May {
    /// What is kept of what answers have been through.
    pub shrink_caches: bool,
    /// The bits of keys and values.
    pub lower_kv: bool,
    /// The context.
    pub shorten_ctx: bool,
}

/// A way to load a model.
#[derive(Debug, Clone)]
pub struct Offer {
    /// How.
    pub wish: Wish,
    /// What it takes.
    pub ledger: Ledger,
    /// What became less, as it is told; empty where it is as wished.
    pub less: String,
}

impl Need {
    /// Of `file`, of which only metadata is looked at.
    pub fn of(file: &ModelFile) -> Self {
        let contents = file.contents();
        let sum = |of: fn(&ingle_model::file::Tensor) -> usize| {
            contents.tensors().iter().fold(0u64, |sum, tensor| sum.saturating_add(of(tensor) as u64))
        };
        let made = sum(|tensor| tensor.n_made_bytes());
        Self {
            name: file.name().to_owned(),
            mapped: sum(|tensor| tensor.n_bytes()).saturating_sub(made),
            made,
            vocabulary: vocabulary_bytes(contents),
            config: Config::read(contents).ok(),
            is_encoder: is_encoder(file),
            is_built_in: file.files().is_empty(),
        }
    }

    /// Bytes of weights in the file.
    pub fn mapped(&self) -> u64 {
        self.mapped
    }

    /// Bytes of weights that are made when the model is loaded.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Bytes of the tables that the vocabulary becomes, as estimated.
    pub fn vocabulary(&self) -> u64 {
        self.vocabulary
    }

    /// Positions that a model was trained for; `None` where that is not known.
    pub fn ctx_train(&self) -> Option<usize> {
        self.config.as_ref().map(|config| config.ctx_train)
    }

    /// What it takes to have it so.
    ///
    /// # Errors
    /// When the model can't keep keys and values in that format.
    pub fn ledger(&self, wish: &Wish) -> ingle_model::Result<Ledger> {
        let (mapped, packed, stays) = match (self.is_built_in, wish.packs && !self.is_encoder) {
            (true, _) => (0, 0, self.mapped),
            (false, true) => (0, self.mapped, 0),
            (false, false) => (self.mapped, 0, 0),
        };
        let dirty = self.made.saturating_add(self.vocabulary).saturating_add(stays);
        let weights = Ledger { mapped, packed, dirty, ..Ledger::default() };
        let Some(config) = &self.config else { return Ok(weights) };
        if self.is_encoder {
            let scratch =
                (encoder::Scratch::bytes_per_token(config) as u64).saturating_mul(STEP_TOKENS as u64);
            return Ok(Ledger { scratch, ..weights });
        }
        let format = kv::format(config, &wish.kv)?;
        let session = SessionOptions { ctx: Some(wish.ctx), kv: &wish.kv, chunk: wish.chunk };
        let chunk = chunk_of(config, &session).max(wish.n_lanes);
        let kv = kv::n_bytes(config, format, wish.ctx).saturating_mul(wish.n_lanes as u64);
        Ok(Ledger {
            kv,
            prefix: wish.prefix_bytes.unwrap_or(kv),
            scratch: (Scratch::bytes_per_token(config) as u64).saturating_mul(chunk as u64),
            ..weights
        })
    }

    /// Ways to load it, by a wish and by what of it may become less: each takes less than the one before.
    ///
    /// # Errors
    /// When the model can't be had as wished at all.
    pub fn offers(&self, wish: &Wish, may: May) -> ingle_model::Result<Vec<Offer>> {
        let mut offers = vec![Offer { ledger: self.ledger(wish)?, wish: wish.clone(), less: String::new() }];
        let mut wish = wish.clone();
        let add = |offers: &mut Vec<Offer>, wish: &Wish, less: &[String]| {
            // A format that these heads don't allow is none to offer.
            let Ok(ledger) = self.ledger(wish) else { return };
            if offers.last().is_some_and(|last| ledger.total() < last.ledger.total()) {
                offers.push(Offer { wish: wish.clone(), ledger, less: less.join(", ") });
            }
        };
        let mut less = Vec::new();
        if may.shrink_caches {
            let full = offers[0].ledger.prefix;
            for (bytes, told) in
                [(full / 4, "a quarter of the cache for prompts"), (0, "no cache for prompts")]
            {
                wish.prefix_bytes = Some(bytes);
                less = vec![told.to_owned()];
                add(&mut offers, &wish, &less);
            }
        }
        if may.lower_kv {
            let wished = wish.kv.clone();
            let before = less.clone();
            for format in
                kv::FORMATS.iter().skip_while(|format| !format.eq_ignore_ascii_case(&wished)).skip(1)
            {
                wish.kv = (*format).to_owned();
                less = before.iter().cloned().chain([format!("keys and values in {format}")]).collect();
                add(&mut offers, &wish, &less);
            }
            // The last one that these heads allow.
            wish.kv.clone_from(&offers[offers.len() - 1].wish.kv);
        }
        if may.shorten_ctx {
            let (wished, before) = (wish.ctx, less.clone());
            while wish.ctx / 2 >= CTX_MIN {
                wish.ctx /= 2;
                let told = format!("a context of {} instead of {wished}", wish.ctx);
                less = before.iter().cloned().chain([told]).collect();
                add(&mut offers, &wish, &less);
            }
        }
        Ok(offers)
    }

    /// The path as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Tables of the vocabulary, once texts were encoded and a form of an answer was compiled.
fn vocabulary_bytes(contents: &Contents) -> u64 {
    let arrays = contents.keys().filter(|(key, _)| key.starts_with("tokenizer."));
    arrays.fold(0, |sum: u64, (key, value)| match value {
        Value::Array { len, bytes, .. } => {
            let each =
                ENTRY_BYTES.iter().find(|(name, _)| key.ends_with(name)).map_or(0, |(_, bytes)| *bytes);
            sum.saturating_add(bytes.len() as u64).saturating_add((*len as u64).saturating_mul(each))
        }
        _ => sum,
    })
}

#[cfg(test)]
mod tests {
    use ingle_kernel::bytes::Bytes;

    use super::*;

    const MAY: May = May { shrink_caches: true, lower_kv: true, shorten_ctx: true };

    fn demo() -> Need {
        Need::of(&ModelFile::from_bytes("demo", Bytes::new(ingle_demo::GGUF)).unwrap())
    }

    fn wish() -> Wish {
        Wish { ctx: 4096, kv: "f16".into(), n_lanes: 4, chunk: None, prefix_bytes: None, packs: false }
    }

    #[test]
    fn offers_become_less_in_the_stated_order() {
        let offers = demo().offers(&wish(), MAY).unwrap();
        let less: Vec<&str> = offers.iter().map(|offer| &*offer.less).collect();
        assert_eq!(
            less,
            [
                "",
                "a quarter of the cache for prompts",
                "no cache for prompts",
                "no cache for prompts, keys and values in q8_0",
                "no cache for prompts, keys and values in q4_0",
                "no cache for prompts, keys and values in q4_0, a context of 2048 instead of 4096",
                "no cache for prompts, keys and values in q4_0, a context of 1024 instead of 4096",
                "no cache for prompts, keys and values in q4_0, a context of 512 instead of 4096",
            ]
        );
        assert!(offers.windows(2).all(|two| two[0].ledger.total() > two[1].ledger.total()));
        for offer in &offers {
            assert_eq!(offer.ledger, demo().ledger(&offer.wish).unwrap(), "{}", offer.less);
        }
        assert_eq!(offers[7].wish.ctx, 512);
    }

    #[test]
    fn what_was_fixed_stays() {
        let may = May { shrink_caches: false, lower_kv: false, shorten_ctx: true };
        let offers = demo().offers(&wish(), may).unwrap();
        assert!(offers.iter().all(|offer| offer.wish.kv == "f16" && offer.wish.prefix_bytes.is_none()));
        assert_eq!(offers.len(), 4);
        let none = May { shorten_ctx: false, ..may };
        assert_eq!(demo().offers(&wish(), none).unwrap().len(), 1);
    }

    #[test]
    fn a_ledger_is_what_the_engine_reserves() {
        let (need, wish) = (demo(), Wish { prefix_bytes: Some(1000), ..wish() });
        let ledger = need.ledger(&wish).unwrap();
        let config = need.config.as_ref().unwrap();
        let format = kv::format(config, "f16").unwrap();
        assert_eq!(ledger.kv, 4 * kv::n_bytes(config, format, 4096));
        assert_eq!(ledger.prefix, 1000);
        assert!(need.ledger(&Wish { kv: "q9".into(), ..wish.clone() }).is_err());
        assert_eq!(
            (ledger.mapped, ledger.packed),
            (0, 0),
            "what is built in is in the program and stays there"
        );
        let path = std::env::temp_dir().join(format!("ingle-need-{}.gguf", std::process::id()));
        std::fs::write(&path, ingle_demo::GGUF).unwrap();
        let in_file = Need::of(&ModelFile::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let mapped = in_file.ledger(&wish).unwrap();
        assert_eq!((mapped.mapped, mapped.total()), (in_file.mapped(), ledger.total()));
        let packed = in_file.ledger(&Wish { packs: true, ..wish }).unwrap();
        assert_eq!((packed.mapped, packed.packed, packed.total()), (0, in_file.mapped(), ledger.total()));
    }
}
