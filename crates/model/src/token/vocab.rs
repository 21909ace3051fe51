//! The tokens themselves: one flat arena of bytes, a kind each, and two ways to find them.
//!
//! A vocabulary of 150,000 tokens has to be ready in a few milliseconds, so there is no map of strings: normal tokens are
//! found through an open-addressing table of ids whose keys stay in the arena, and the few special ones through a list
//! sorted by text, which is also the trie that finds them inside a prompt.

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
}

/// Ids are positions in the file's list; more than this is no vocabulary.
const TOKENS_MAX: usize = 1 << 24;
/// Special tokens are names; a longer one would make the search for them slow.
const SPECIAL_BYTES_MAX: usize = 1024;

/// Tokens in raw bytes: what each adds to a text when it is not structure.
#[derive(Debug)]
pub struct Vocab {
    arena: Vec<u8>,
    /// Where token `i` ends in the arena, at `i + 1`.
    ends: Vec<u32>,
    kinds: Vec<Kind>,
    index: Index,
    /// Control, unknown and user-defined tokens, sorted by text.
    special: Special,
    /// The user-defined ones alone.
    user_defined: Special,
}

impl Vocab {
    /// An empty vocabulary with room for `n_tokens`.
    pub fn with_capacity(n_tokens: usize, n_bytes: usize) -> Result<Self> {
        if n_tokens > TOKENS_MAX || u32::try_from(n_bytes).is_err() {
            return Err(Error::malformed(
                "metadata tokenizer.ggml.tokens",
                format!("{n_tokens} tokens of {n_bytes} bytes"),
                format!("at most {TOKENS_MAX} tokens of 4 GiB"),
            ));
        }
        let mut ends = Vec::with_capacity(n_tokens + 1);
        ends.push(0);
        Ok(Self {
            arena: Vec::with_capacity(n_bytes),
            ends,
            kinds: Vec::with_capacity(n_tokens),
            index: Index::default(),
            special: Special::default(),
            user_defined: Special::default(),
        })
    }

    /// Adds the next token. `write` appends its bytes and must not append more than the file has for it.
    pub fn push(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.arena);
        self.ends.push(self.arena.len() as u32);
        self.kinds.push(kind);
    }

    /// Builds the index over the tokens that `writes_text` accepts. Of two with the same bytes the first is found.
    pub fn index(&mut self, writes_text: impl Fn(Kind) -> bool) -> Result<()> {
        let mut index = Index::for_tokens(self.len());
        for id in 0..self.len() as u32 {
            if writes_text(self.kinds[id as usize]) && !self.bytes(id).is_empty() {
                index.insert(id, |id| self.bytes(id))?;
            }
        }
        self.index = index;
        self.index_special()
    }

    /// Makes `ids` control tokens, whatever the file calls them.
    pub fn make_control(&mut self, ids: &[u32]) -> Result<()> {
        for &id in ids {
            self.kinds[id as usize] = Kind::Control;
        }
        self.index_special()
    }

    fn index_special(&mut self) -> Result<()> {
        let with = |kinds: &[Kind]| {
            let mut ids: Vec<u32> =
                (0..self.len() as u32).filter(|&id| kinds.contains(&self.kinds[id as usize])).collect();
            // A text is UTF-8, so a token that is not can't occur in it.
            ids.retain(|&id| !self.bytes(id).is_empty() && std::str::from_utf8(self.bytes(id)).is_ok());
            if let Some(&id) = ids.iter().find(|&&id| self.bytes(id).len() > SPECIAL_BYTES_MAX) {
                return Err(Error::malformed(
                    format!("metadata tokenizer.ggml.tokens: special token {id}"),
                    format!("{} bytes", self.bytes(id).len()),
                    format!("at most {SPECIAL_BYTES_MAX}"),
                ));
            }
            ids.sort_by_key(|&id| (self.bytes(id), id));
            ids.dedup_by(|b, a| self.bytes(*a) == self.bytes(*b));
            let mut starts = [false; 256];
            ids.iter().for_each(|&id| starts[self.bytes(id)[0] as usize] = true);
            Ok(Special { ids, starts })
        };
        let special = with(&[Kind::Control, Kind::Unknown, Kind::UserDefined])?;
        let user_defined = with(&[Kind::UserDefined])?;
        (self.special, self.user_defined) = (special, user_defined);
        Ok(())
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The bytes of token `id`, which must be in the vocabulary.
    pub fn bytes(&self, id: u32) -> &[u8] {
        &self.arena[self.ends[id as usize] as usize..self.ends[id as usize + 1] as usize]
    }

    /// The kind of token `id`, which must be in the vocabulary.
    pub fn kind(&self, id: u32) -> Kind {
        self.kinds[id as usize]
    }

    /// The indexed token that writes exactly `bytes`. Control tokens are never found.
    pub fn find(&self, bytes: &[u8]) -> Option<u32> {
        self.index.find(bytes, |id| self.bytes(id)).filter(|&id| self.kind(id) != Kind::Control)
    }

    /// The special token written exactly so.
    pub fn find_special(&self, text: &[u8]) -> Option<u32> {
        let ids = &self.special.ids;
        ids.binary_search_by_key(&text, |&id| self.bytes(id)).ok().map(|i| ids[i])
    }

    /// The first special token in `text` at or after byte `from`, the longest where several begin: where it begins, its
    /// length and id. With `which` as [`Which::UserDefined`] only those count.
    pub fn next_special(&self, text: &[u8], from: usize, which: Which) -> Option<(usize, usize, u32)> {
        let special = match which {
            Which::All => &self.special,
            Which::UserDefined => &self.user_defined,
        };
        if special.ids.is_empty() {
            return None;
        }
        (from..text.len())
            .filter(|&at| special.starts[text[at] as usize])
            .find_map(|at| self.longest_special(&special.ids, &text[at..]).map(|(n, id)| (at, n, id)))
    }

    /// Walks the sorted list as a trie: `ids` narrows to those that share the first `depth` bytes with `text`.
    fn longest_special(&self, mut ids: &[u32], text: &[u8]) -> Option<(usize, u32)> {
        let mut best = None;
        for (depth, &byte) in text.iter().enumerate() {
            let at_depth = |id: &u32| self.bytes(*id).get(depth).copied();
            let start = ids.partition_point(|id| at_depth(id) < Some(byte));
            let end = ids.partition_point(|id| at_depth(id) <= Some(byte));
            ids = &ids[start..end];
            let &id = ids.first()?;
            // The shortest sorts first, so only the first can end here.
            if self.bytes(id).len() == depth + 1 {
                best = Some((depth + 1, id));
                if ids.len() == 1 {
                    break;
                }
            }
        }
        best
    }
}

/// Which special tokens a text is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Control, unknown and user-defined ones.
    All,
    /// User-defined ones.
    UserDefined,
}

#[derive(Debug)]
struct Special {
    ids: Vec<u32>,
    /// Which bytes one begins with.
    starts: [bool; 256],
}

impl Default for Special {
    fn default() -> Self {
        Self { ids: Vec::new(), starts: [false; 256] }
    }
}

/// The most slots a search may visit. At half load a good hash stays under 100; more is a vocabulary made to collide.
pub const PROBES_MAX: usize = 1024;

/// Ids by the hash of their bytes, with linear probing.
#[derive(Debug, Default)]
struct Index {
    /// High half of the hash and id; [`FREE`] marks a slot that is not taken. Power-of-two length.
    slots: Vec<(u32, u32)>,
}

const FREE: u32 = u32::MAX;

impl Index {
    fn for_tokens(n: usize) -> Self {
        Self { slots: vec![(0, FREE); (n * 2).next_power_of_two().max(2)] }
    }

    fn insert<'a>(&mut self, id: u32, bytes: impl Fn(u32) -> &'a [u8]) -> Result<()> {
        let key = bytes(id);
        let (tag, mut at) = self.start(key);
        for _ in 0..PROBES_MAX {
            let (slot_tag, slot_id) = self.slots[at];
            if slot_id == FREE {
                self.slots[at] = (tag, id);
                return Ok(());
            }
            if slot_tag == tag && bytes(slot_id) == key {
                return Ok(());
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        Err(Error::malformed("metadata tokenizer.ggml.tokens", "tokens made to collide", "a real vocabulary"))
    }

    fn find<'a>(&self, key: &[u8], bytes: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let (tag, mut at) = self.start(key);
        for _ in 0..PROBES_MAX {
            let (slot_tag, id) = self.slots[at];
            if id == FREE {
                return None;
            }
            if slot_tag == tag && bytes(id) == key {
                return Some(id);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    fn start(&self, key: &[u8]) -> (u32, usize) {
        let hash = hash(key);
        ((hash >> 32) as u32, hash as usize & (self.slots.len() - 1))
    }
}

/// Multiply and fold, eight bytes at a time; cheap, not collision-proof, hence [`PROBES_MAX`].
fn hash(bytes: &[u8]) -> u64 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    let state = words.iter().fold(bytes.len() as u64, |state, &word| mix(state ^ u64::from_le_bytes(word)));
    mix(state ^ u64::from_le_bytes(last))
}

/// The two halves of a 128-bit product, folded.
pub fn mix(word: u64) -> u64 {
    let product = u128::from(word ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocab(tokens: &[(&str, Kind)]) -> Vocab {
        let mut v = Vocab::with_capacity(tokens.len(), 0).unwrap();
        for (text, kind) in tokens {
            v.push(*kind, |arena| arena.extend_from_slice(text.as_bytes()));
        }
        v.index(|kind| kind == Kind::Normal).unwrap();
        v
    }

    #[test]
    fn finds_every_normal_token_and_nothing_else() {
        let words: Vec<String> = (0..5000).map(|i| format!("token number {i}")).collect();
        let mut tokens: Vec<_> = words.iter().map(|w| (w.as_str(), Kind::Normal)).collect();
        tokens.push(("<s>", Kind::Control));
        let v = vocab(&tokens);
        for (id, word) in words.iter().enumerate() {
            assert_eq!(v.find(word.as_bytes()), Some(id as u32));
        }
        assert_eq!(v.find(b"<s>"), None);
        assert_eq!(v.find_special(b"<s>"), Some(5000));
        assert_eq!(v.find(b""), None);
    }

    #[test]
    fn of_special_tokens_the_leftmost_longest_is_found() {
        let v = vocab(&[
            ("<a", Kind::Control),
            ("<a>", Kind::Control),
            ("<ab", Kind::UserDefined),
            ("<unk>", Kind::Unknown),
            ("x", Kind::Normal),
        ]);
        assert_eq!(v.next_special(b"x<a><ab", 0, Which::All), Some((1, 3, 1)));
        assert_eq!(v.next_special(b"x<a><ab", 2, Which::All), Some((4, 3, 2)));
        assert_eq!(v.next_special(b"x<a><ab", 0, Which::UserDefined), Some((4, 3, 2)));
        assert_eq!(v.next_special(b"<", 0, Which::All), None);
        assert_eq!(v.next_special(b"<unk", 0, Which::All), None);
    }

    #[test]
    fn refuses_a_special_token_that_is_too_long() {
        let long = "x".repeat(SPECIAL_BYTES_MAX + 1);
        let mut v = Vocab::with_capacity(1, 0).unwrap();
        v.push(Kind::Control, |arena| arena.extend_from_slice(long.as_bytes()));
        assert!(v.index(|_| true).unwrap_err().to_string().contains("at most 1024"));
    }

    #[test]
    fn a_repeated_token_is_found_by_its_first_id() {
        let v = vocab(&[("a", Kind::Normal), ("b", Kind::Normal), ("a", Kind::Normal)]);
        assert_eq!(v.find(b"a"), Some(0));
    }
}
