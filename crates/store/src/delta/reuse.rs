//! A pull that uses what is here of an older revision.
//!
//! Only where the repository publishes how: beside `FILE` a patch from an older content of that file, `FILE.from-HASH.ingle-delta` (the first 16
//! digits of its SHA-256), or the list of its chunks, `FILE.ingle-chunks`. What that gives is put where the file is
//! gathered, and the ordinary fetch goes on behind it and judges the whole by its hash. So a broken or wrong one costs its bytes and nothing
//! else, and an interrupted one is a beginning like any other, which the next pull may go on with by any way.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::chunks::{self, Chunks, Stretch};
use super::{Offer, Published, Way, patch, plan};
use crate::error::{Error, Result, at};
use crate::fetch::{Event, Target, Watch, fetch, fetch_beginning};
use crate::hash::Digest;
use crate::listing::{self, RemoteFile};
use crate::partial::remove_if_there;
use crate::pull::{Job, Puller};

/// How names of patches end.
pub const PATCH_ENDING: &str = ".ingle-delta";
/// How names of lists of chunks end.
pub const CHUNKS_ENDING: &str = ".ingle-chunks";
/// Smaller files are fetched before anything would be compared.
const WORTH_BYTES: u64 = 1 << 20;
/// Tries in a row that bring nothing, for a range.
const TRIES: usize = 4;

/// What a patch from a content with this hash to the file at `path` is called.
pub fn patch_name(path: &str, old: &Digest) -> String {
    format!("{path}.from-{}{PATCH_ENDING}", &old.to_string()[..16])
}

/// What the list of the chunks of the file at `path` is called.
pub fn chunks_name(path: &str) -> String {
    format!("{path}{CHUNKS_ENDING}")
}

impl Puller<'_> {
    /// Puts what an older revision of `file` gives where it is gathered; nothing where that is not published, not worth it, or fails.
    ///
    /// # Errors
    /// When the user stopped it, or a policy forbids to ask.
    pub(crate) fn reuse(
        &self,
        job: &Job,
        file: &RemoteFile,
        target: &Target<'_>,
        watch: Watch<'_>,
    ) -> Result<()> {
        let begun = target.partial.metadata().map_or(0, |meta| meta.len());
        let left = file.size.saturating_sub(begun);
        if left < WORTH_BYTES || !matches!(file.digest, Digest::Sha256(_)) {
            return Ok(());
        }
        let olds = self.cache.older(&job.asked.repo, &file.path);
        let published = |name: String| job.listing.files.iter().find(|f| f.path == name);
        let patches =
            olds.iter().filter_map(|(old, digest)| Some((old, published(patch_name(&file.path, digest))?)));
        let by_patch = patches.min_by_key(|(_, patch)| patch.size);
        let list = published(chunks_name(&file.path)).filter(|_| !olds.is_empty());
        let patch_bytes = by_patch.map(|(_, patch)| patch.size);
        let stretches = match list {
            // Not worth asking for where the list alone is more than the patch, or than what is left.
            Some(list) if list.size < left && patch_bytes.is_none_or(|bytes| bytes > list.size) => {
                let found = lenient(self.compare(job, file, list, &olds[0].0, watch))?;
                found.map(|stretches| chunks::behind(&stretches, begun))
            }
            _ => None,
        };
        let ranges = list.zip(stretches.as_ref());
        let ways = plan(&Published {
            whole: left,
            ranges: ranges.map(|(list, stretches)| list.size + chunks::bytes_to_fetch(stretches)),
            patch: patch_bytes,
            adapter: None,
        });
        for Offer { way, bytes } in ways {
            let done = match (way, by_patch, &stretches) {
                (Way::Patch, Some((old, patch)), _) => {
                    watch(Event::Reused { file: &file.path, way: way.name(), bytes, size: left });
                    lenient(self.by_patch(job, patch, old, file, target, watch))?
                }
                (Way::Ranges, _, Some(stretches)) => {
                    watch(Event::Reused { file: &file.path, way: way.name(), bytes, size: left });
                    lenient(self.by_ranges(stretches, &olds[0].0, target, watch))?
                }
                _ => return Ok(()),
            };
            if done.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fetches a small or large file of the listing to where blobs are gathered.
    fn fetch_beside(&self, job: &Job, wanted: &RemoteFile, watch: Watch<'_>) -> Result<PathBuf> {
        let url = listing::file_address(&self.hub.endpoint, &job.listing, wanted)?;
        let partial = self.cache.partial(&job.asked.repo, &wanted.digest);
        fetch(self.client, &self.target(wanted, &url, &partial), &self.retry, &self.parts, watch)?;
        Ok(partial)
    }

    fn by_patch(
        &self,
        job: &Job,
        patch: &RemoteFile,
        old: &Path,
        file: &RemoteFile,
        target: &Target<'_>,
        watch: Watch<'_>,
    ) -> Result<()> {
        let fetched = self.fetch_beside(job, patch, watch)?;
        let mut done = 0;
        let mut tell = |n| {
            done += n;
            watch(Event::Bytes { file: target.name, done, size: file.size });
            !self.client.is_interrupted()
        };
        let bytes = at(&fetched, File::open(&fetched))?;
        // Beside what has come already, which a patch that does not hold leaves as it was.
        let patched = target.partial.with_added_extension("patched");
        let applied = patch::apply(old, bytes, (&file.digest, file.size), &patched, &mut tell)
            .and_then(|_| at(target.partial, std::fs::rename(&patched, target.partial)));
        // One that was applied, or can't be, is of no more use; one that was stopped is.
        if !matches!(applied, Err(Error::Interrupted(_))) {
            remove_if_there(&fetched)?;
        }
        applied
    }

    /// What of `file` lies in `old`, by the published list.
    fn compare(
        &self,
        job: &Job,
        file: &RemoteFile,
        list: &RemoteFile,
        old: &Path,
        watch: Watch<'_>,
    ) -> Result<Vec<Stretch>> {
        if list.size > chunks::LIST_BYTES_MAX {
            return Err(wrong(list, format!("{} bytes", list.size)));
        }
        let fetched = self.fetch_beside(job, list, watch)?;
        let bytes = at(&fetched, std::fs::read(&fetched))?;
        remove_if_there(&fetched)?;
        let new = Chunks::parse(&bytes, file.size).map_err(|why| wrong(list, why))?;
        Ok(new.stretches(&Chunks::of(old, &mut |_| !self.client.is_interrupted())?))
    }

    fn by_ranges(
        &self,
        stretches: &[Stretch],
        old: &Path,
        target: &Target<'_>,
        watch: Watch<'_>,
    ) -> Result<()> {
        let mut old_file = at(old, File::open(old))?;
        for Stretch { new, old: from } in stretches {
            let size = target.size.unwrap_or(new.end);
            watch(Event::Bytes { file: target.name, done: new.start, size });
            if self.client.is_interrupted() {
                return Err(ingle_net::Error::Interrupted.into());
            }
            match from {
                Some(from) => {
                    let out = OpenOptions::new().append(true).create(true).open(target.partial);
                    let mut out = at(target.partial, out)?;
                    at(old, old_file.seek(SeekFrom::Start(*from)))?;
                    let n = new.end - new.start;
                    let copied = at(target.partial, io::copy(&mut (&mut old_file).take(n), &mut out))?;
                    if copied != n {
                        return at(old, Err(io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                // What does not come is fetched with the rest, and so is all behind it.
                None if !self.range_comes(target, new.start, new.end) => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    fn range_comes(&self, target: &Target<'_>, mut start: u64, end: u64) -> bool {
        let mut n_failed = 0;
        while start < end && n_failed < TRIES && !self.client.is_interrupted() {
            match fetch_beginning(self.client, target, end) {
                Some(len) if len > start => (start, n_failed) = (len, 0),
                _ => n_failed += 1,
            }
        }
        start >= end
    }
}

/// What came of a shortcut; `None` where it failed in a way that leaves the long way open.
fn lenient<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(e @ (Error::Interrupted(_) | Error::DiskFull { .. })) => Err(e),
        Err(Error::Net(e @ (ingle_net::Error::Interrupted | ingle_net::Error::Blocked { .. }))) => {
            Err(e.into())
        }
        Err(_) => Ok(None),
    }
}

fn wrong(list: &RemoteFile, found: String) -> Error {
    let expected = "the list of a file's chunks".to_owned();
    Error::Mismatch { file: list.path.clone(), part: "chunks".into(), found, expected }
}
