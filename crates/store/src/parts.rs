//! Which stretches of a large file are asked for by requests of their own. Pure.
//!
//! A file is cut into parts of some MB, which several connections fetch in order, each into a file of its own beside the
//! partial file; so the partial file, to which finished parts are appended, stays the beginning that other programs take it
//! for, its hash is made while bytes come, and what a killed program leaves is told by the lengths of files alone.

use std::ops::Range;

/// How large files are fetched.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// Connections for one file; 1 for one after the other.
    pub connections_max: usize,
    /// Files below this size come over one connection.
    pub file_bytes_min: u64,
    /// Bytes of a part of the smallest such files.
    pub part_bytes_min: u64,
}

impl Default for Parts {
    fn default() -> Self {
        Self { connections_max: 4, file_bytes_min: 64 << 20, part_bytes_min: 16 << 20 }
    }
}

/// A file has about this many parts, as long as they are not smaller or larger than is sensible.
const PARTS_USUAL: u64 = 128;
const PART_BYTES_MAX: u64 = 256 << 20;

impl Parts {
    /// Whether a file of `size` bytes comes in parts.
    pub fn are_worth_it(&self, size: u64) -> bool {
        self.connections_max > 1 && size >= self.file_bytes_min.max(1)
    }

    /// Bytes of each part of a file of `size` bytes.
    pub fn part_bytes(&self, size: u64) -> u64 {
        let smallest = self.part_bytes_min.max(1);
        (size / PARTS_USUAL).clamp(smallest, PART_BYTES_MAX.max(smallest))
    }

    /// Parts that may lie beside the partial file, finished or not: what a connection that falls behind holds up is bounded.
    pub fn n_ahead_max(&self) -> usize {
        2 * self.connections_max
    }
}

/// One stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Its first byte.
    pub start: u64,
    /// The byte behind its last.
    pub end: u64,
}

/// Cuts the bytes from `from` on of a file of `size` bytes: at multiples of `part_bytes`, and where what is `kept` of an earlier
/// run begins, as long as one of those is not within another.
pub fn plan(size: u64, from: u64, kept: &[Range<u64>], part_bytes: u64) -> Vec<Part> {
    let part_bytes = part_bytes.max(1);
    let starts_of_kept = kept.iter().map(|k| k.start).filter(|&start| start > from && start < size);
    let grid_first = (from / part_bytes + 1).saturating_mul(part_bytes);
    let mut starts: Vec<u64> = std::iter::successors(Some(grid_first), |at| at.checked_add(part_bytes))
        .take_while(|&at| at < size)
        .chain(starts_of_kept)
        .collect();
    // A cut within what is kept would have those bytes fetched again.
    starts.retain(|at| !kept.iter().any(|k| k.start < *at && *at < k.end));
    starts.sort_unstable();
    starts.dedup();
    let firsts = (from < size).then_some(from).into_iter().chain(starts.iter().copied());
    let ends = starts.iter().copied().chain([size]);
    firsts.zip(ends).map(|(start, end)| Part { start, end }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cuts(size: u64, from: u64, kept: &[(u64, u64)]) -> Vec<(u64, u64)> {
        let kept: Vec<Range<u64>> = kept.iter().map(|&(start, end)| start..end).collect();
        plan(size, from, &kept, 10).iter().map(|p| (p.start, p.end)).collect()
    }

    #[test]
    fn parts_lie_side_by_side_from_what_is_there_to_the_end() {
        assert_eq!(cuts(25, 0, &[]), [(0, 10), (10, 20), (20, 25)]);
        assert_eq!(cuts(30, 20, &[]), [(20, 30)]);
        assert_eq!(cuts(30, 7, &[]), [(7, 10), (10, 20), (20, 30)]);
        assert_eq!(cuts(30, 30, &[]), []);
        assert_eq!(cuts(0, 0, &[]), []);
    }

    #[test]
    fn what_an_earlier_run_kept_is_never_cut() {
        assert_eq!(cuts(30, 5, &[(10, 13)]), [(5, 10), (10, 20), (20, 30)]);
        assert_eq!(cuts(30, 0, &[(7, 8)]), [(0, 7), (7, 10), (10, 20), (20, 30)], "of another grid");
        assert_eq!(cuts(30, 0, &[(7, 23)]), [(0, 7), (7, 30)], "longer than a part");
        assert_eq!(cuts(30, 0, &[(40, 50)]), [(0, 10), (10, 20), (20, 30)], "beyond the end");
    }

    #[test]
    fn parts_grow_with_the_file() {
        let parts = Parts::default();
        assert!(!parts.are_worth_it(1 << 20) && parts.are_worth_it(1 << 30));
        assert_eq!(parts.part_bytes(1 << 30), 16 << 20);
        assert_eq!(parts.part_bytes(8 << 30), 64 << 20);
        assert_eq!(parts.part_bytes(1 << 40), 256 << 20);
        assert!(!Parts { connections_max: 1, ..parts }.are_worth_it(1 << 40));
    }
}
