//! Hashes of the pieces of a file, so that whoever has most of them fetches only what is new.
//!
//! The content itself delimits pieces (FastCDC, about 1 MiB each): bytes that were added or removed change the piece they are in and leave
//! all others what they are, wherever they lie now. So an edit of a model's metadata or vocabulary, which moves every weight, costs
//! a few pieces. Where weights changed all over this saves nothing; that is what [`super::patch`] is for.
//!
//! A list is published beside a file, 36 bytes for each piece. It promises nothing: a wrong one only costs a fetch, since the whole
//! file's hash decides.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;
use std::path::Path;

use fastcdc::v2020::StreamCDC;
use ring::digest::{SHA256, digest};

use crate::error::{Error, Result, at};

/// How a list begins; the digit is the version, which stands for the sizes of pieces too.
pub const MAGIC: &[u8; 8] = b"ingleCH1";
/// Bytes of a piece: at least, about, at most.
const SIZES: [usize; 3] = [256 << 10, 1 << 20, 4 << 20];
const ENTRY_BYTES: usize = 36;
/// A list may be so long: that of a file of several TB.
pub const LIST_BYTES_MAX: u64 = 256 << 20;

/// A piece's hash.
type Hash = [u8; 32];

/// The pieces of a file, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunks {
    pieces: Vec<(u32, Hash)>,
}

/// Where bytes of the new file come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// Which bytes.
    pub new: Range<u64>,
    /// Where the same lie in the file that is here; `None` for those to fetch.
    pub old: Option<u64>,
}

impl Chunks {
    /// Cuts the file at `path`. `go_on` hears of every piece's bytes and says whether to.
    ///
    /// # Errors
    /// What the system says, and [`Error::Interrupted`].
    pub fn of(path: &Path, go_on: &mut dyn FnMut(u64) -> bool) -> Result<Self> {
        let file = BufReader::with_capacity(1 << 18, at(path, File::open(path))?);
        let [least, usual, most] = SIZES;
        let mut pieces = Vec::new();
        for piece in StreamCDC::new(file, least, usual, most) {
            let piece = at(path, piece.map_err(std::io::Error::from))?;
            if !go_on(piece.data.len() as u64) {
                return Err(Error::Interrupted("stopped while it was compared".into()));
            }
            pieces.push((piece.data.len() as u32, hash(&piece.data)));
        }
        Ok(Self { pieces })
    }

    /// As it is published.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for (n, hash) in &self.pieces {
            bytes.extend(n.to_le_bytes());
            bytes.extend(hash);
        }
        bytes
    }

    /// Reads what was published for a file of `n_bytes`.
    ///
    /// # Errors
    /// Why it is no such list, in a few words.
    pub fn parse(bytes: &[u8], n_bytes: u64) -> std::result::Result<Self, String> {
        let entries = bytes.strip_prefix(MAGIC).ok_or("it does not begin as a list of this version")?;
        let (entries, rest) = entries.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err("it ends within an entry".into());
        }
        let pieces: Vec<(u32, Hash)> = entries
            .iter()
            .map(|entry| {
                let (size, hash) = entry.split_at(4);
                let size = u32::from_le_bytes(size.try_into().expect("four bytes"));
                (size, hash.try_into().expect("an entry's other 32"))
            })
            .collect();
        let sum: u64 = pieces.iter().map(|(n, _)| u64::from(*n)).sum();
        match pieces.iter().all(|(n, _)| (1..=SIZES[2] as u32).contains(n)) && sum == n_bytes {
            true => Ok(Self { pieces }),
            false => {
                Err(format!("its pieces make {sum} bytes, expected {n_bytes} in pieces of 4 MiB at most"))
            }
        }
    }

    /// What of this file lies in `old` too, from front to back; neighbours that come from neighbouring places are one stretch.
    pub fn stretches(&self, old: &Self) -> Vec<Stretch> {
        let mut at = 0;
        let mut places = HashMap::new();
        for (n, hash) in &old.pieces {
            places.entry((*n, hash)).or_insert(at);
            at += u64::from(*n);
        }
        let mut stretches: Vec<Stretch> = Vec::new();
        let mut at = 0;
        for (n, hash) in &self.pieces {
            let new = at..at + u64::from(*n);
            at = new.end;
            let old = places.get(&(*n, hash)).copied();
            match stretches.last_mut() {
                Some(last) if old == last.old.map(|from| from + (last.new.end - last.new.start)) => {
                    last.new.end = new.end;
                }
                _ => stretches.push(Stretch { new, old }),
            }
        }
        stretches
    }
}

/// What is left of `stretches` behind the first `n` bytes of the new file.
pub fn behind(stretches: &[Stretch], n: u64) -> Vec<Stretch> {
    let rest = stretches.iter().filter(|stretch| stretch.new.end > n).cloned();
    rest.map(|Stretch { new, old }| {
        let start = new.start.max(n);
        Stretch { old: old.map(|from| from + (start - new.start)), new: start..new.end }
    })
    .collect()
}

/// Bytes that are not here.
pub fn bytes_to_fetch(stretches: &[Stretch]) -> u64 {
    stretches.iter().filter(|s| s.old.is_none()).map(|s| s.new.end - s.new.start).sum()
}

fn hash(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(n).collect()
    }

    fn chunks(name: &str, bytes: &[u8]) -> Chunks {
        let path = std::env::temp_dir().join(format!("ingle-chunks-{name}-{}", std::process::id()));
        std::fs::write(&path, bytes).unwrap();
        let chunks = Chunks::of(&path, &mut |_| true).unwrap();
        std::fs::remove_file(path).unwrap();
        assert_eq!(Chunks::parse(&chunks.to_bytes(), bytes.len() as u64).as_ref(), Ok(&chunks));
        chunks
    }

    #[test]
    fn a_longer_head_costs_a_few_pieces_although_all_weights_moved() {
        let old = noise(40 << 20, 1);
        let new = [&noise(5001, 2)[..], &old[100..20 << 20], &noise(77, 3), &old[20 << 20..]].concat();
        let stretches = chunks("new", &new).stretches(&chunks("old", &old));
        let fetched = bytes_to_fetch(&stretches);
        assert!(fetched <= 12 << 20, "{fetched} bytes");
        let made: Vec<u8> = stretches
            .iter()
            .flat_map(|Stretch { new: range, old: from }| match from {
                Some(from) => &old[*from as usize..][..(range.end - range.start) as usize],
                None => &new[range.start as usize..range.end as usize],
            })
            .copied()
            .collect();
        assert!(made == new);
    }

    #[test]
    fn what_has_come_already_is_left_out() {
        let stretch = |new: Range<u64>, old| Stretch { new, old };
        let all = [stretch(0..10, Some(5)), stretch(10..20, None), stretch(20..30, Some(100))];
        assert_eq!(behind(&all, 0), all);
        assert_eq!(behind(&all, 4)[0], stretch(4..10, Some(9)));
        assert_eq!(behind(&all, 15), [stretch(15..20, None), stretch(20..30, Some(100))]);
        assert_eq!(behind(&all, 30), []);
    }

    #[test]
    fn of_the_same_file_nothing_is_fetched_and_of_another_everything() {
        let bytes = noise(5 << 20, 1);
        let same = chunks("a", &bytes);
        let n = bytes.len() as u64;
        assert_eq!(same.stretches(&same), [Stretch { new: 0..n, old: Some(0) }]);
        assert_eq!(same.stretches(&chunks("b", &noise(5 << 20, 2))), [Stretch { new: 0..n, old: None }]);
        assert_eq!(chunks("none", b"").stretches(&same), []);
    }

    #[test]
    fn lists_that_lie_are_refused() {
        let list = |pieces: &[u32]| {
            let pieces = pieces.iter().map(|&n| (n, [0; 32])).collect();
            Chunks { pieces }.to_bytes()
        };
        assert!(Chunks::parse(&list(&[5, 6]), 11).is_ok());
        for (bytes, n_bytes) in [
            (list(&[5, 6]), 12),
            (list(&[0, 11]), 11),
            (list(&[(4 << 20) + 1]), (4 << 20) + 1),
            (list(&[u32::MAX; 3]), 3 * u64::from(u32::MAX)),
            (list(&[5])[..30].to_vec(), 5),
            (b"ingleCH2".to_vec(), 0),
            (Vec::new(), 0),
        ] {
            assert!(Chunks::parse(&bytes, n_bytes).is_err(), "{n_bytes}");
        }
    }
}
