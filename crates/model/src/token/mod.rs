//! Text to token ids and back, from the metadata of a GGUF file.
//!
//! Reading order: [`Tokenizer`] here finds special tokens in a text and gives the stretches between to the model's encoder
//! ([`MODELS`]: `bpe`, `spm`); `splitters` cut text for byte-level BPE; `merge` is the loop both share; `vocab` holds the
//! tokens; `detokenize` goes back. Nothing here adds BOS or EOS by itself: [`Tokenizer::adds_bos`] says what the model
//! wants, the caller does it.

mod bpe;
mod categories;
mod detokenize;
mod merge;
pub mod splitters;
mod spm;
mod table;
mod vocab;

pub use detokenize::{Detokenizer, Place, Render};
pub use vocab::Kind;

use crate::error::{Error, Result};
use crate::file::Contents;
use crate::file::value::Strings;
use vocab::{Vocab, Which};

/// How a kind of tokenizer is loaded, under its name in `tokenizer.ggml.model`.
pub struct Model {
    /// The name.
    pub name: &'static str,
    load: fn(&Contents, &Tokens) -> Result<(Vocab, Box<dyn Encoder>)>,
}

/// The shelf of tokenizer models.
pub static MODELS: &[&Model] = &[&bpe::GPT2, &spm::LLAMA];

/// A piece without a cut is at most this long; a longer one is cut here, which bounds memory and changes ids only for
/// megabytes of text without a space.
const PIECE_BYTES_MAX: usize = 4 << 20;

/// Turns plain text into ids.
trait Encoder: Send + Sync + std::fmt::Debug {
    /// Appends the ids of `text`: what stands between two special tokens, the beginning and the end.
    fn encode(&self, vocab: &Vocab, text: &str, out: &mut Vec<u32>);

    /// Whether a text begins with a space that was not written.
    fn adds_space(&self) -> bool {
        false
    }

    /// Whether BOS comes first when the file does not say.
    fn adds_bos(&self) -> bool;
}

/// What special tokens written in a text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parse {
    /// Tokens: `<|im_end|>` is one id. For prompts that a template made.
    Special,
    /// Text like any other, so that what a user writes can't become structure. User-defined tokens still match.
    Text,
}

/// What a special token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Role {
    Bos,
    Eos,
    /// End of turn.
    Eot,
    /// End of message, a tool call to follow.
    Eom,
    Unknown,
    Separator,
    Pad,
    Mask,
    /// Fill in the middle: before the text that stands in front of the gap.
    FimPre,
    /// Before the text that stands behind the gap.
    FimSuf,
    /// Before what fills the gap.
    FimMid,
    FimPad,
    /// Before a repository's name.
    FimRep,
    /// Before a file's name.
    FimSep,
}

/// A role's metadata keys (`tokenizer.ggml.KEY_token_id`) and, for files that lack them, the names such tokens have.
struct RoleNames {
    role: Role,
    keys: &'static [&'static str],
    names: &'static [&'static str],
}

const fn role(role: Role, keys: &'static [&'static str], names: &'static [&'static str]) -> RoleNames {
    RoleNames { role, keys, names }
}

static ROLES: [RoleNames; 14] = [
    role(Role::Bos, &["bos"], &[]),
    role(Role::Eos, &["eos"], &[]),
    role(
        Role::Eot,
        &["eot"],
        &[
            "<|eot_id|>",
            "<|im_end|>",
            "<|end|>",
            "<end_of_turn>",
            "<turn|>",
            "<|endoftext|>",
            "<|end_of_text|>",
            "<EOT>",
            "_<EOT>",
            "[EOT]",
            "<｜end▁of▁sentence｜>",
            "<end_of_utterance>",
        ],
    ),
    role(Role::Eom, &["eom"], &["<|eom_id|>"]),
    role(Role::Unknown, &["unknown"], &[]),
    // The key is spelt so in the format.
    role(Role::Separator, &["seperator"], &[]),
    role(Role::Pad, &["padding"], &[]),
    role(Role::Mask, &["mask"], &[]),
    role(
        Role::FimPre,
        &["fim_pre", "prefix"],
        &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
    ),
    role(
        Role::FimSuf,
        &["fim_suf", "suffix"],
        &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
    ),
    role(
        Role::FimMid,
        &["fim_mid", "middle"],
        &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
    ),
    role(Role::FimPad, &["fim_pad"], &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>"]),
    role(
        Role::FimRep,
        &["fim_rep"],
        &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
    ),
    role(Role::FimSep, &["fim_sep"], &["<|file_sep|>"]),
];

/// Roles whose tokens end generation.
const ENDING_ROLES: [Role; 6] = [Role::Eos, Role::Eot, Role::Eom, Role::FimPad, Role::FimRep, Role::FimSep];

/// Names of tokens that end generation, whatever else the file says of them.
static ENDING_NAMES: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
];

/// A vocabulary and how text becomes ids of it. Shared freely between threads.
#[derive(Debug)]
pub struct Tokenizer {
    model: &'static str,
    pre: Option<String>,
    vocab: Vocab,
    encoder: Box<dyn Encoder>,
    /// By [`Role`].
    roles: [Option<u32>; ROLES.len()],
    /// Sorted ids that end generation.
    ending: Vec<u32>,
    adds_bos: bool,
    adds_eos: bool,
}

impl Tokenizer {
    /// Reads `tokenizer.ggml.*`. Needs no tensors: vocabulary-only files do.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a tokenizer model or pre-tokenizer that is not on its shelf; [`Error::Malformed`] when a
    /// key is missing, has the wrong type or length, or a token is not UTF-8.
    pub fn from_gguf(file: &Contents) -> Result<Self> {
        const MODEL: &str = "tokenizer.ggml.model";
        let name = file.str(MODEL)?.ok_or_else(|| {
            Error::malformed(format!("metadata {MODEL}"), "nothing", "the kind of tokenizer")
        })?;
        let model = MODELS.iter().find(|model| model.name == name).ok_or_else(|| {
            Error::unsupported(format!("metadata {MODEL}"), name, MODELS.iter().map(|model| model.name))
        })?;
        let (mut vocab, encoder) = (model.load)(file, &Tokens::read(file)?)?;
        let (roles, mut ending) = find_roles(file, &vocab)?;
        // A token that ends a turn is structure also where the file calls it text.
        vocab.make_control(&ending)?;
        ending.extend(roles[Role::Eos as usize]);
        ending.sort_unstable();
        ending.dedup();
        Ok(Self {
            model: model.name,
            pre: file.str("tokenizer.ggml.pre")?.map(str::to_owned),
            adds_bos: file.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(encoder.adds_bos()),
            adds_eos: file.bool("tokenizer.ggml.add_eos_token")?.unwrap_or(false),
            vocab,
            encoder,
            roles,
            ending,
        })
    }

    /// Appends the ids of `text`, never adding BOS or EOS.
    pub fn encode(&self, text: &str, parse: Parse, out: &mut Vec<u32>) {
        let which = match parse {
            Parse::Special => Which::All,
            Parse::Text => Which::UserDefined,
        };
        let mut at = 0;
        loop {
            let special = self.vocab.next_special(text.as_bytes(), at, which);
            let end = special.map_or(text.len(), |(start, _, _)| start);
            if end > at {
                self.encoder.encode(&self.vocab, &text[at..end], out);
            }
            let Some((start, n, id)) = special else { return };
            out.push(id);
            at = start + n;
        }
    }

    /// The text of `ids` taken as a whole.
    pub fn decode(&self, ids: &[u32], render: Render) -> String {
        let mut out = String::new();
        let mut detokenizer = Detokenizer::new(render, Place::Start);
        ids.iter().for_each(|&id| detokenizer.push(self, id, &mut out));
        detokenizer.flush(&mut out);
        out
    }

    /// The bytes that token `id` adds to a text, not always whole characters; none for control and unknown tokens. `None`
    /// outside the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        Some(match self.kind(id)? {
            Kind::Control | Kind::Unknown => &[],
            Kind::Normal | Kind::UserDefined | Kind::Unused | Kind::Byte => self.vocab.bytes(id),
        })
    }

    /// [`Self::token_bytes`], with the names of control and unknown tokens.
    pub fn token_name(&self, id: u32) -> Option<&[u8]> {
        self.kind(id).map(|_| self.vocab.bytes(id))
    }

    /// What kind of token `id` is; `None` outside the vocabulary.
    pub fn kind(&self, id: u32) -> Option<Kind> {
        ((id as usize) < self.vocab.len()).then(|| self.vocab.kind(id))
    }

    /// The token that writes exactly `text` (a space, not `▁` or `Ġ`) or is called so (`<|im_end|>`).
    pub fn id_of(&self, text: &str) -> Option<u32> {
        id_of(&self.vocab, text)
    }

    /// Number of tokens.
    pub fn n_vocab(&self) -> usize {
        self.vocab.len()
    }

    /// The token of `role`.
    pub fn special(&self, role: Role) -> Option<u32> {
        self.roles[role as usize]
    }

    /// Begin of sequence.
    pub fn bos(&self) -> Option<u32> {
        self.special(Role::Bos)
    }

    /// End of sequence.
    pub fn eos(&self) -> Option<u32> {
        self.special(Role::Eos)
    }

    /// End of turn.
    pub fn eot(&self) -> Option<u32> {
        self.special(Role::Eot)
    }

    /// Padding.
    pub fn pad(&self) -> Option<u32> {
        self.special(Role::Pad)
    }

    /// Whether the model wants BOS before a text.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos && self.bos().is_some()
    }

    /// Whether the model wants EOS after a text.
    pub fn adds_eos(&self) -> bool {
        self.adds_eos && self.eos().is_some()
    }

    /// Whether encoding puts a space before a text.
    pub fn adds_space(&self) -> bool {
        self.encoder.adds_space()
    }

    /// Whether generation ends with `id`.
    pub fn is_eog(&self, id: u32) -> bool {
        self.ending.binary_search(&id).is_ok()
    }

    /// The ids that end generation, ascending.
    pub fn ending(&self) -> &[u32] {
        &self.ending
    }

    /// `tokenizer.ggml.model`.
    pub fn model_name(&self) -> &'static str {
        self.model
    }

    /// `tokenizer.ggml.pre`, as the file has it.
    pub fn pre_name(&self) -> Option<&str> {
        self.pre.as_deref()
    }
}

fn id_of(vocab: &Vocab, text: &str) -> Option<u32> {
    vocab.find_special(text.as_bytes()).or_else(|| vocab.find(text.as_bytes()))
}

/// The token of each role, and those that end generation by role or name.
fn find_roles(file: &Contents, vocab: &Vocab) -> Result<([Option<u32>; ROLES.len()], Vec<u32>)> {
    let mut roles = [None; ROLES.len()];
    for RoleNames { role, keys, names } in &ROLES {
        let found = &mut roles[*role as usize];
        for key in *keys {
            *found = found.or(special_id(file, key, vocab.len())?);
        }
        *found = found.or_else(|| names.iter().find_map(|name| id_of(vocab, name)));
    }
    let mut ending: Vec<u32> = ENDING_NAMES.iter().filter_map(|name| id_of(vocab, name)).collect();
    ending.extend(
        ENDING_ROLES.iter().filter(|&&role| role != Role::Eos).filter_map(|&role| roles[role as usize]),
    );
    // Where a message ends with <|return|> or <|call|>, <|end|> only ends a part of it.
    let has = |name| id_of(vocab, name).is_some_and(|id| ending.contains(&id));
    if has("<|return|>") && has("<|call|>") || has("<|flush|>") && has("<|calls|>") {
        let part = id_of(vocab, "<|end|>").filter(|&id| roles[Role::Eos as usize] != Some(id));
        ending.retain(|&id| Some(id) != part);
    }
    Ok((roles, ending))
}

/// `tokenizer.ggml.KEY_token_id`. One outside the vocabulary counts as absent, as in files that write -1.
fn special_id(file: &Contents, key: &str, n_tokens: usize) -> Result<Option<u32>> {
    let id = file.uint(&format!("tokenizer.ggml.{key}_token_id"))?;
    Ok(id.filter(|&id| id < n_tokens as u64).map(|id| id as u32))
}

/// `tokenizer.ggml.tokens` and `token_type`, as the file has them.
struct Tokens<'a> {
    texts: Strings<'a>,
    kinds: Option<Vec<i64>>,
}

impl<'a> Tokens<'a> {
    fn read(file: &'a Contents) -> Result<Self> {
        let texts = file
            .strings("tokenizer.ggml.tokens")?
            .ok_or_else(|| Error::malformed("metadata tokenizer.ggml.tokens", "nothing", "the vocabulary"))?;
        let kinds = file.ints("tokenizer.ggml.token_type")?;
        if let Some(kinds) = kinds.as_ref().filter(|kinds| kinds.len() != texts.len()) {
            return Err(Error::malformed(
                "metadata tokenizer.ggml.token_type",
                format!("{} types", kinds.len()),
                format!("{}, one for each token", texts.len()),
            ));
        }
        Ok(Self { texts, kinds })
    }

    fn len(&self) -> usize {
        self.texts.len()
    }

    fn n_bytes(&self) -> usize {
        self.texts.clone().map(<[u8]>::len).sum()
    }

    fn have_kinds(&self) -> bool {
        self.kinds.is_some()
    }

    fn iter(&self) -> impl Iterator<Item = (Result<&'a str>, Kind)> {
        self.texts.clone().enumerate().map(|(i, bytes)| {
            let text = std::str::from_utf8(bytes).map_err(|_| {
                Error::malformed(
                    format!("metadata tokenizer.ggml.tokens: token {i}"),
                    "invalid UTF-8",
                    "UTF-8",
                )
            });
            (text, self.kinds.as_ref().map_or(Kind::Normal, |kinds| Kind::from_gguf(kinds[i])))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokenizer_is_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Tokenizer>();
    }
}
