//! A newer revision of a file from the one that is here: what would cost the least to fetch, and how it is put together.
//!
//! Three ways beside fetching everything. An adapter stands for the change and leaves the file as it is. A [`patch`] is what differs
//! between two files, tensor by tensor, for revisions of one layout. [`chunks`] are hashes of pieces that the content itself
//! delimits, so that whoever has most pieces fetches only the ranges that are new. [`plan`] says which is smallest.
//!
//! Nothing here looks into weights: which bytes of two files belong together is a [`Piece`] that the caller names, or the same place in both.
//! Nothing here is trusted: the result's own hash decides, as with all that is fetched.

pub mod chunks;
pub mod patch;
pub mod reuse;

use std::ops::Range;

pub use patch::{apply, make};

/// Bytes of a new file and where their counterpart begins in the old one. Pieces rise and don't overlap; bytes of no piece are new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// In the new file.
    pub new: Range<u64>,
    /// In the old file.
    pub old: u64,
}

/// Two files whose bytes belong together place by place.
pub fn same_places(old_bytes: u64, new_bytes: u64) -> Vec<Piece> {
    vec![Piece { new: 0..old_bytes.min(new_bytes), old: 0 }]
}

/// Tensors of two files, each a name and where it lies, by name; those of other lengths are left out. What is before, between and
/// behind is the head of each file, where places are tried.
pub fn by_name<'a>(
    old: impl IntoIterator<Item = (&'a str, Range<u64>)>,
    new: impl IntoIterator<Item = (&'a str, Range<u64>)>,
    new_bytes: u64,
) -> Vec<Piece> {
    let old: std::collections::HashMap<&str, Range<u64>> = old.into_iter().collect();
    let mut named: Vec<Piece> = new
        .into_iter()
        .filter_map(|(name, new)| {
            let old = old.get(name)?;
            (!new.is_empty() && old.end.checked_sub(old.start) == new.end.checked_sub(new.start))
                .then_some(Piece { new, old: old.start })
        })
        .collect();
    named.sort_by_key(|piece| piece.new.start);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut at = 0;
    for piece in named.into_iter().filter(|piece| piece.new.end <= new_bytes) {
        if piece.new.start < at {
            continue;
        }
        // Padding and the head: as far from the tensor behind it as in the old file, as well as that goes.
        let gap = piece.new.start - at;
        let old_gap = gap.min(piece.old);
        if old_gap > 0 {
            pieces.push(Piece { new: piece.new.start - old_gap..piece.new.start, old: piece.old - old_gap });
        }
        at = piece.new.end;
        pieces.push(piece);
    }
    pieces
}

/// How a newer revision may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All of it.
    Whole,
    /// The ranges that are new, by [`chunks`].
    Ranges,
    /// What differs, by a [`patch`].
    Patch,
    /// An adapter beside the file that is here, which gives the answers of the new revision but not its file.
    Adapter,
}

impl Way {
    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "the whole file",
            Self::Ranges => "the ranges that changed",
            Self::Patch => "a patch",
            Self::Adapter => "an adapter",
        }
    }
}

/// What a way costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The way.
    pub way: Way,
    /// Bytes to fetch.
    pub bytes: u64,
}

/// What is published of a new revision, as far as it is known: bytes to fetch each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Published {
    /// The file.
    pub whole: u64,
    /// Its chunks' hashes and the ranges that are not here; `None` where there are no hashes or nothing to compare them with.
    pub ranges: Option<u64>,
    /// A patch from what is here.
    pub patch: Option<u64>,
    /// An adapter to what is here.
    pub adapter: Option<u64>,
}

/// All ways there are, the cheapest first; of two that cost the same, the simpler.
pub fn plan(published: &Published) -> Vec<Offer> {
    let Published { whole, ranges, patch, adapter } = *published;
    let ways =
        [(Way::Whole, Some(whole)), (Way::Ranges, ranges), (Way::Patch, patch), (Way::Adapter, adapter)];
    let mut offers: Vec<Offer> =
        ways.into_iter().filter_map(|(way, bytes)| Some(Offer { way, bytes: bytes? })).collect();
    offers.sort_by_key(|offer| offer.bytes);
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_way_comes_first_and_of_equals_the_simplest() {
        let ways = |published: Published| -> Vec<(Way, u64)> {
            plan(&published).into_iter().map(|offer| (offer.way, offer.bytes)).collect()
        };
        let whole = Published { whole: 100, ..Published::default() };
        assert_eq!(ways(whole), [(Way::Whole, 100)]);
        let all = Published { ranges: Some(40), patch: Some(7), adapter: Some(9), ..whole };
        assert_eq!(ways(all), [(Way::Patch, 7), (Way::Adapter, 9), (Way::Ranges, 40), (Way::Whole, 100)]);
        let equal = Published { ranges: Some(100), patch: Some(100), ..whole };
        assert_eq!(ways(equal)[0], (Way::Whole, 100));
    }

    #[test]
    fn tensors_are_paired_by_name_and_what_is_between_by_place() {
        let old = [("a", 100..200), ("b", 200..260), ("gone", 260..300)];
        let new = [("b", 110..170), ("a", 180..280), ("new", 280..290)];
        let piece = |new: Range<u64>, old| Piece { new, old };
        assert_eq!(
            by_name(old.clone(), new, 290),
            [piece(0..110, 90), piece(110..170, 200), piece(170..180, 90), piece(180..280, 100)]
        );
        // Lies about lengths and places.
        let wrong = [("a", 0..99), ("b", 250..310), ("gone", Range { start: 30, end: 20 })];
        assert_eq!(by_name(old, wrong, 300), []);
        assert_eq!(same_places(5, 9), [piece(0..5, 0)]);
    }
}
