//! What has to be done for each file, given what the disk holds. Pure.

use crate::listing::RemoteFile;

/// What the disk holds of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OnDisk {
    /// Size of the file in the snapshot, links followed.
    pub in_snapshot: Option<u64>,
    /// Size of the blob.
    pub blob: Option<u64>,
    /// Size of the part fetched earlier.
    pub partial: Option<u64>,
}

/// What to do for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is there.
    Keep,
    /// Its bytes are there, under its hash; link them into the snapshot.
    Link,
    /// Fetch the bytes from this one on, then link.
    Fetch {
        /// Bytes of an earlier attempt to keep.
        from: u64,
    },
}

/// Decides for one file. A file of another size than the listing's is not the file.
pub fn step(file: &RemoteFile, disk: OnDisk) -> Step {
    if disk.in_snapshot == Some(file.size) {
        return Step::Keep;
    }
    if disk.blob == Some(file.size) {
        return Step::Link;
    }
    let from = disk.partial.filter(|&kept| kept <= file.size).unwrap_or(0);
    Step::Fetch { from }
}

/// Bytes that will come over the network.
pub fn bytes_to_fetch(files: &[RemoteFile], steps: &[Step]) -> u64 {
    let missing = files.iter().zip(steps).map(|(file, step)| match step {
        Step::Keep | Step::Link => 0,
        Step::Fetch { from } => file.size - from,
    });
    missing.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Digest;

    #[test]
    fn only_what_is_missing_is_fetched() {
        let file = RemoteFile { path: "a".into(), size: 10, digest: Digest::Sha256([0; 32]) };
        let disk = |in_snapshot, blob, partial| OnDisk { in_snapshot, blob, partial };
        for (disk, expected) in [
            (disk(None, None, None), Step::Fetch { from: 0 }),
            (disk(Some(10), None, None), Step::Keep),
            (disk(Some(9), Some(10), None), Step::Link),
            (disk(None, Some(9), Some(4)), Step::Fetch { from: 4 }),
            (disk(None, None, Some(10)), Step::Fetch { from: 10 }),
            (disk(None, None, Some(11)), Step::Fetch { from: 0 }),
        ] {
            assert_eq!(step(&file, disk), expected, "{disk:?}");
        }
        let steps = [Step::Keep, Step::Fetch { from: 4 }];
        assert_eq!(bytes_to_fetch(&[file.clone(), file], &steps), 6);
    }
}
