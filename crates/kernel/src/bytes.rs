//! Bytes someone else keeps alive: a window into a mapped file, a static or a buffer.
//!
//! Weights are used where they lie. `Bytes` is a shared owner plus a range, so a matrix can be a view of a mapped
//! file without a lifetime travelling through every type above it. Cloning is a reference count; nothing is copied.

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::simd::Packing;

/// A cheaply cloned, immutable window into memory that an owner keeps alive and unchanged.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn Owner>,
    range: Range<usize>,
}

/// Who keeps bytes alive.
pub trait Owner: Send + Sync {
    /// The bytes; the same slice each time.
    fn bytes(&self) -> &[u8];

    /// Whether bytes can leave memory and be had again.
    fn is_releasable(&self) -> bool {
        false
    }

    /// Says that what lies in `range` is not needed soon and may leave memory.
    fn release(&self, range: Range<usize>) {
        let _ = range;
    }

    /// `n` zeros for a copy of some of the bytes.
    fn room(&self, n: usize) -> Room {
        Box::new(vec![0; n])
    }

    /// What lies in `range` in another order, if a file has it so: [`Order::n_bytes`] bytes that begin with a cache line.
    fn kept(&self, range: Range<usize>, order: &Order) -> Option<Bytes> {
        let _ = (range, order);
        None
    }

    /// Says that what lies in `range` is wanted so.
    fn want(&self, range: Range<usize>, order: Order) {
        let _ = (range, order);
    }
}

/// The order of packed weights.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Name of the block format.
    pub format: &'static str,
    /// Rows that are there.
    pub n_rows: usize,
    /// Bytes of a row.
    pub row_bytes: usize,
    /// How they are packed.
    pub packing: Packing,
}

impl Order {
    /// Bytes of the packed rows: whole strips.
    pub fn n_bytes(&self) -> usize {
        self.n_rows.next_multiple_of(self.packing.rows) * self.row_bytes
    }
}

/// Memory of our own.
pub type Room = Box<dyn AsMutBytes>;

/// What lends its bytes to be read and written; the same slice each time.
pub trait AsMutBytes: AsRef<[u8]> + AsMut<[u8]> + Send + Sync {}

impl<T: AsRef<[u8]> + AsMut<[u8]> + Send + Sync> AsMutBytes for T {}

/// An owner of memory that stays.
struct Plain<T>(T);

impl<T: AsRef<[u8]> + Send + Sync> Owner for Plain<T> {
    fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

impl Bytes {
    /// All of what `owner` holds. The owner must return the same slice each time it is asked.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        Self::owned_by(Plain(owner))
    }

    /// All of what `owner` holds.
    pub fn owned_by(owner: impl Owner + 'static) -> Self {
        let len = owner.bytes().len();
        Self { owner: Arc::new(owner), range: 0..len }
    }

    /// Whether this window can leave memory and be had again.
    pub fn is_releasable(&self) -> bool {
        self.owner.is_releasable()
    }

    /// `n` zeros for a copy of this window.
    pub fn room(&self, n: usize) -> Room {
        self.owner.room(n)
    }

    /// This window in another order, if a file has it so.
    pub fn kept(&self, order: &Order) -> Option<Self> {
        let kept = self.owner.kept(self.range.clone(), order)?;
        let is_whole = kept.len() == order.n_bytes() && kept.as_ptr().align_offset(64) == 0;
        is_whole.then_some(kept)
    }

    /// Says that this window is wanted in another order.
    pub fn want(&self, order: Order) {
        self.owner.want(self.range.clone(), order);
    }

    /// Says that this window is not needed soon and may leave memory.
    pub fn release(&self) {
        self.owner.release(self.range.clone());
    }

    /// The sub-window `range`, or `None` when it does not lie inside this one.
    pub fn get(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.len() {
            return None;
        }
        let start = self.range.start + range.start;
        Some(Self { owner: self.owner.clone(), range: start..start + range.len() })
    }

    /// Number of bytes in the window.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether the window is empty.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.bytes()[self.range.clone()]
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_nest_and_refuse_what_lies_outside() {
        let all = Bytes::new(vec![0u8, 1, 2, 3, 4, 5]);
        let mid = all.get(1..5).unwrap();
        assert_eq!(&*mid.get(1..3).unwrap(), &[2, 3]);
        assert!(mid.get(3..5).is_none());
        #[expect(clippy::reversed_empty_ranges, reason = "a hostile range")]
        let backwards = mid.get(3..2);
        assert!(backwards.is_none());
    }
}
