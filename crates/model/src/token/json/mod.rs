//! Tokenizers from a tokenizer.json, the tokenizers library's format, with the tokenizer_config.json beside it.
//!
//! `read` is the file as it is written; `components` turns its normaliser, pre-tokenizer and decoder into stations, whose
//! settings `part` reads, and `around` its post-processor; `model` fills the vocabulary and the encoder; `config` knows
//! tokenizer_config.json. Here they are put together, with the added tokens. `export` writes the same as GGUF's keys.
//!
//! A component that is not known is refused by name: one that was skipped would change ids quietly. Left out on purpose:
//! truncation and padding, dropout, sampling; and CTC, whose models are no language models.

mod around;
mod components;
mod config;
pub mod export;
mod model;
mod part;
mod read;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::added::{Added, AddedToken};
use super::normalise;
use super::roles::{self, Role, find_roles};
use super::vocab::Kind;
use super::{MakeTables, Stations, Tokenizer};
use crate::error::{Error, Result};
use around::{Around, around};
use components::Components;
use config::Config;
use model::{Entry, Tokens};
use read::{Added as AddedJson, File};

/// The whole tokenizer.
pub fn load(tokenizer: &[u8], config: Option<&[u8]>) -> Result<Tokenizer> {
    let file: File = serde_json::from_slice(tokenizer)
        .map_err(|e| Error::malformed("tokenizer.json", e, "what the tokenizers library writes"))?;
    let config = config.map(Config::parse).transpose()?.unwrap_or_default();
    let components = Components::read(&file, file.model.may_see_bytes())?;

    let mut tokens = Tokens::read(&file.model)?;
    let ids = place_added(&mut tokens, &file.added_tokens)?;
    // Decoding writes an added token as it was normalised.
    for (token, &id) in file.added_tokens.iter().zip(&ids).filter(|(token, _)| token.normalized) {
        let normalised = normalise::apply(&components.normalisers, &token.content);
        if normalised != token.content {
            tokens.entries[id as usize].shown = Some(normalised.into_owned());
        }
    }
    let (verbatim, normalised) = added_tokens(&file.added_tokens, &ids, &components)?;
    let model = model::build(&file.model, tokens, components)?;

    let named = |name: &str| {
        let added = verbatim.find(name).or_else(|| normalised.find(name));
        added.or_else(|| model.tables.vocab.find_any(name.as_bytes()))
    };
    let (roles, mut ending) = find_roles(|key| Ok(config.token(key).and_then(named)), named)?;
    ending.extend(roles[Role::Eos as usize]);
    ending.sort_unstable();
    ending.dedup();
    let Around { mut before, mut between, mut after } = around(&file, named)?.unwrap_or_else(|| {
        let wanted = |adds: bool, role: Role| roles[role as usize].filter(|_| adds).into_iter().collect();
        let after: Vec<u32> = wanted(config.add_eos_token, Role::Eos);
        Around { before: wanted(config.add_bos_token, Role::Bos), between: after.clone(), after }
    });
    for ids in [&mut before, &mut between, &mut after] {
        ids.retain(|&id| (id as usize) < model.tables.vocab.len());
    }
    // Where nothing else says which they are, what is put around a text is.
    let mut roles = roles;
    let bos = roles[Role::Bos as usize].or(before.first().copied());
    let eos = roles[Role::Eos as usize].or(after.last().copied());
    (roles[Role::Bos as usize], roles[Role::Eos as usize]) = (bos, eos);

    let model::Model { normalisers, mut tables, decoder, name } = model;
    let is_byte = |id: &u32| tables.vocab.kind(*id) == Kind::Byte;
    let control: Vec<u32> = ending.iter().copied().filter(|id| !is_byte(id)).collect();
    tables.vocab.make_control(&control);
    let vocab = tables.vocab.vocab().clone();
    // They are made from the text of the file, which is not kept, so they are made now.
    let tables = LazyLock::new(Box::new(|| Ok(tables)) as MakeTables);
    let stations = Stations { added: verbatim, normalisers, added_normalised: normalised, tables, decoder };
    Ok(Tokenizer { model: name, pre: None, vocab, stations, roles, ending, before, between, after })
}

/// Gives every added token its id: the one the model has for its text, or else the next behind the model's, as the library
/// does whatever the file says.
fn place_added(tokens: &mut Tokens, added: &[AddedJson]) -> Result<Vec<u32>> {
    let mut known: HashMap<&str, Option<u32>> =
        added.iter().map(|token| (token.content.as_str(), None)).collect();
    for (id, entry) in (0u32..).zip(&tokens.entries) {
        if let Some(place) = entry.in_model.then(|| known.get_mut(&*entry.text)).flatten() {
            *place = Some(id);
        }
    }
    let mut next = tokens.n_in_model as u32;
    let mut ids = Vec::with_capacity(added.len());
    for token in added {
        let place = known.get_mut(token.content.as_str()).expect("all are there");
        let id = match *place {
            Some(id) => id,
            None => {
                let id = next;
                next += 1;
                let entry = tokens.at(id)?;
                if entry.in_model {
                    return Err(Error::malformed(
                        format!("tokenizer.json: added token {:?}", token.content),
                        format!("no place: the model calls its token {id} {:?}", entry.text),
                        "a vocabulary without holes",
                    ));
                }
                *entry = Entry { text: token.content.clone().into(), ..Entry::default() };
                id
            }
        };
        *place = Some(id);
        tokens.at(id)?.kind = if token.special { Kind::Control } else { Kind::UserDefined };
        ids.push(id);
    }
    Ok(ids)
}

/// What is found in the text as written, and what in the normalised text.
fn added_tokens(added: &[AddedJson], ids: &[u32], components: &Components) -> Result<(Added, Added)> {
    let (mut verbatim, mut normalised) = (Vec::new(), Vec::new());
    for (token, &id) in added.iter().zip(ids) {
        let text = match token.normalized {
            true => normalise::apply(&components.normalisers, &token.content).into_owned(),
            false => token.content.clone(),
        };
        let list = if token.normalized { &mut normalised } else { &mut verbatim };
        list.push(AddedToken {
            text,
            id,
            is_text: !token.special,
            single_word: token.single_word,
            takes_left: token.lstrip,
            takes_right: token.rstrip,
        });
    }
    const PART: &str = "tokenizer.json: added_tokens";
    Ok((Added::new(PART, verbatim)?, Added::new(PART, normalised)?))
}
