//! The tokens themselves: one flat arena of bytes, a kind each, and a way to find them.
//!
//! A vocabulary of 150,000 tokens has to be ready in a few milliseconds, so there is no map of strings: tokens are found
//! through an open-addressing table of ids whose keys stay in the arena. Decoding needs no such table, so it is a second
//! thing, [`Indexed`], made when a text is first encoded. Special tokens inside a text are `added`'s business.

use std::ops::Deref;
use std::sync::Arc;

use super::table::{Table, VALUES_MAX, hash};
use crate::error::{Error, Result};

/// `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Normal,
    /// Stands for text that no token can write.
    Unknown,
    /// Structure, never text: begin, end, roles.
    Control,
    /// Text that is always matched as a whole.
    UserDefined,
    /// Has an id and no meaning.
    Unused,
    /// One byte.
    Byte,
}

impl Kind {
    /// The kind with GGUF's number; what is not known is `Normal`.
    pub fn from_gguf(number: i64) -> Self {
        match number {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }

    /// GGUF's number of the kind.
    pub fn to_gguf(self) -> i32 {
        match self {
            Self::Normal => 1,
            Self::Unknown => 2,
            Self::Control => 3,
            Self::UserDefined => 4,
            Self::Unused => 5,
            Self::Byte => 6,
        }
    }
}

/// Tokens in raw bytes: what each is matched as, and what it adds to a text when it is not structure.
#[derive(Debug)]
pub struct Vocab {
    /// What errors call it.
    part: &'static str,
    keys: Arena,
    kinds: Vec<Kind>,
    /// What each writes, where that is something else.
    texts: Option<Arena>,
}

impl Vocab {
    /// An empty vocabulary with room for `n_tokens`, called `part` in errors.
    pub fn with_capacity(part: &'static str, n_tokens: usize, n_bytes: usize) -> Result<Self> {
        if n_tokens > VALUES_MAX || u32::try_from(n_bytes).is_err() {
            return Err(Error::malformed(
                part,
                format!("{n_tokens} tokens of {n_bytes} bytes"),
                format!("at most {VALUES_MAX} tokens of 4 GiB"),
            ));
        }
        let (keys, kinds) = (Arena::with_capacity(n_tokens, n_bytes), Vec::with_capacity(n_tokens));
        Ok(Self { part, keys, kinds, texts: None })
    }

    /// Adds the next token. `write` appends its bytes and must not append more than the file has for it.
    pub fn push(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        self.keys.push(write);
        self.kinds.push(kind);
    }

    /// Gives every token what it writes: `write(id, key, kind, out)` appends it.
    ///
    /// # Errors
    /// [`Error::Malformed`] when all together is longer than 4 GiB.
    pub fn render(&mut self, mut write: impl FnMut(u32, &[u8], Kind, &mut Vec<u8>)) -> Result<()> {
        let mut texts = Arena::with_capacity(self.len(), self.keys.bytes.len());
        for id in 0..self.len() as u32 {
            texts.push(|out| write(id, self.bytes(id), self.kind(id), out));
            if u32::try_from(texts.bytes.len()).is_err() {
                return Err(Error::malformed(self.part, "decoded tokens of more than 4 GiB", "a vocabulary"));
            }
        }
        self.texts = Some(texts);
        Ok(())
    }

    /// Makes `ids` control tokens, whatever the file calls them.
    pub fn make_control(&mut self, ids: &[u32]) {
        ids.iter().for_each(|&id| self.kinds[id as usize] = Kind::Control);
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The bytes that token `id`, which must be in the vocabulary, is matched as.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.keys.get(id)
    }

    /// The bytes that token `id`, which must be in the vocabulary, writes.
    pub fn text(&self, id: u32) -> &[u8] {
        self.texts.as_ref().unwrap_or(&self.keys).get(id)
    }

    /// The kind of token `id`, which must be in the vocabulary.
    pub fn kind(&self, id: u32) -> Kind {
        self.kinds[id as usize]
    }

    /// The first token called each of `names`, of those whose kind `is_matched` accepts: one pass, for the few names that
    /// are asked for before there is an index.
    pub fn named<'n>(&self, names: &[&'n str], is_matched: fn(Kind) -> bool) -> Vec<(&'n str, u32)> {
        let mut begins = [false; 256];
        names.iter().filter_map(|name| name.bytes().next()).for_each(|byte| begins[byte as usize] = true);
        let mut found: Vec<(&str, u32)> = Vec::new();
        for id in 0..self.len() as u32 {
            let bytes = self.bytes(id);
            if bytes.first().is_some_and(|&byte| begins[byte as usize])
                && is_matched(self.kind(id))
                && let Some(name) = names.iter().find(|name| name.as_bytes() == bytes)
                && found.iter().all(|(other, _)| other != name)
            {
                found.push((name, id));
            }
        }
        found
    }

    /// The longest token, in bytes.
    pub fn bytes_max(&self) -> usize {
        (0..self.len() as u32).map(|id| self.bytes(id).len()).max().unwrap_or(0)
    }
}

/// A vocabulary whose tokens can be found.
#[derive(Debug)]
pub struct Indexed {
    vocab: Arc<Vocab>,
    /// Ids by what they are matched as.
    ids: Table,
    repeats: bool,
}

impl Deref for Indexed {
    type Target = Vocab;

    fn deref(&self) -> &Vocab {
        &self.vocab
    }
}

impl Indexed {
    /// An index over the tokens that `is_matched` accepts, all normal ones among them. Of two with the same bytes the first is found.
    ///
    /// # Errors
    /// [`Error::Malformed`] for tokens made to collide.
    pub fn new(vocab: Arc<Vocab>, is_matched: impl Fn(u32, Kind) -> bool) -> Result<Self> {
        let mut ids = Table::with_room_for(vocab.len());
        let mut repeats = false;
        for id in 0..vocab.len() as u32 {
            let bytes = vocab.bytes(id);
            if is_matched(id, vocab.kind(id)) && !bytes.is_empty() {
                let is_new = ids
                    .insert(hash(bytes), id, |other| vocab.bytes(other) == bytes)
                    .map_err(|_| Error::malformed(vocab.part, "tokens made to collide", "a vocabulary"))?;
                repeats |= !is_new;
            }
        }
        Ok(Self { vocab, ids, repeats })
    }

    /// The vocabulary, to be shared.
    pub fn vocab(&self) -> &Arc<Vocab> {
        &self.vocab
    }

    /// Makes `ids` control tokens, whatever the file calls them.
    ///
    /// # Panics
    /// When the vocabulary is shared already.
    pub fn make_control(&mut self, ids: &[u32]) {
        Arc::get_mut(&mut self.vocab).expect("it is still being made").make_control(ids);
    }

    /// The token that is exactly `bytes`. Control tokens are never found.
    pub fn find(&self, bytes: &[u8]) -> Option<u32> {
        self.find_any(bytes).filter(|&id| self.kind(id) != Kind::Control)
    }

    /// The token that is exactly `bytes`, of whatever kind.
    pub fn find_any(&self, bytes: &[u8]) -> Option<u32> {
        self.ids.find(hash(bytes), |id| self.bytes(id) == bytes)
    }

    /// Whether `id` is the token that its bytes are found as. Every normal token is, unless another is written alike.
    pub fn is_found(&self, id: u32) -> bool {
        !self.repeats && self.kind(id) == Kind::Normal || self.find_any(self.bytes(id)) == Some(id)
    }
}

/// Byte strings end to end.
#[derive(Debug)]
struct Arena {
    bytes: Vec<u8>,
    /// Where string `i` ends, at `i + 1`.
    ends: Vec<u32>,
}

impl Arena {
    fn with_capacity(n: usize, n_bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(n + 1);
        ends.push(0);
        Self { bytes: Vec::with_capacity(n_bytes), ends }
    }

    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(self.bytes.len() as u32);
    }

    fn get(&self, i: u32) -> &[u8] {
        &self.bytes[self.ends[i as usize] as usize..self.ends[i as usize + 1] as usize]
    }
}

#[cfg(test)]
impl Indexed {
    /// A vocabulary of normal tokens.
    pub fn of(texts: &[&str]) -> Self {
        let mut vocab = Vocab::with_capacity("tokens", texts.len(), 0).unwrap();
        texts.iter().for_each(|text| vocab.push(Kind::Normal, |out| out.extend(text.as_bytes())));
        Self::new(Arc::new(vocab), |_, _| true).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocab(tokens: &[(&str, Kind)]) -> Vocab {
        let mut v = Vocab::with_capacity("tokens", tokens.len(), 0).unwrap();
        for (text, kind) in tokens {
            v.push(*kind, |arena| arena.extend_from_slice(text.as_bytes()));
        }
        v
    }

    fn is_normal(kind: Kind) -> bool {
        kind == Kind::Normal
    }

    #[test]
    fn finds_every_normal_token_and_nothing_else() {
        let words: Vec<String> = (0..5000).map(|i| format!("token number {i}")).collect();
        let mut tokens: Vec<_> = words.iter().map(|w| (w.as_str(), Kind::Normal)).collect();
        tokens.push(("<s>", Kind::Control));
        let v = Indexed::new(Arc::new(vocab(&tokens)), |_, kind| is_normal(kind)).unwrap();
        for (id, word) in words.iter().enumerate() {
            assert_eq!(v.find(word.as_bytes()), Some(id as u32));
        }
        assert_eq!(v.find(b"<s>"), None);
        assert_eq!(v.find(b""), None);
        assert!(v.is_found(0) && !v.is_found(5000));
    }

    #[test]
    fn a_repeated_token_is_found_by_its_first_id() {
        let tokens = [("a", Kind::Normal), ("b", Kind::Normal), ("a", Kind::Normal)];
        let v = Indexed::new(Arc::new(vocab(&tokens)), |_, kind| is_normal(kind)).unwrap();
        assert_eq!(v.find(b"a"), Some(0));
        assert!(v.is_found(0) && !v.is_found(2));
    }

    #[test]
    fn a_name_is_found_without_an_index() {
        let tokens =
            [("<a>", Kind::Control), ("<b", Kind::Normal), ("<a>", Kind::Normal), ("<a>", Kind::Normal)];
        assert_eq!(vocab(&tokens).named(&["<b>", "<a>", ""], is_normal), [("<a>", 2)]);
    }

    #[test]
    fn what_a_token_writes_can_differ_from_what_it_is_matched_as() {
        let mut v = vocab(&[("##s", Kind::Normal), ("s", Kind::Normal)]);
        assert_eq!(v.text(0), b"##s");
        v.render(|_, key, _, out| out.extend_from_slice(key.strip_prefix(b"##").unwrap_or(b" s"))).unwrap();
        assert_eq!((v.text(0), v.text(1), v.bytes(1)), (&b"s"[..], &b" s"[..], &b"s"[..]));
    }
}
