//! The file under construction: everything that has come so far, and its hash.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use ingle_net::{Client, Response};

use crate::error::{Error, Result, at};
use crate::fetch::{Event, Fetched, Stop, Target, Watch};
use crate::hash::{Digest, Hasher};

const BUFFER_BYTES: usize = 256 << 10;

/// The file under construction: `len` bytes, all of them hashed, the cursor behind them.
pub(crate) struct Partial<'a> {
    path: &'a Path,
    file: File,
    pub(crate) len: u64,
    hasher: Hasher,
    digest: Option<&'a Digest>,
    /// Some of its bytes come from an earlier run, and may be anybody's.
    is_inherited: bool,
    /// Bytes of later parts, which lie beside it.
    pub(crate) beside: u64,
}

impl<'a> Partial<'a> {
    /// Opens or creates it, and hashes what it holds.
    pub(crate) fn open(client: &Client, target: &Target<'a>) -> Result<Self> {
        let path = target.partial;
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = at(path, options)?;
        let hasher = Hasher::new(target.digest, target.size.unwrap_or(0));
        let mut partial =
            Self { path, file, len: 0, hasher, digest: target.digest, is_inherited: false, beside: 0 };
        let kept = at(path, partial.file.metadata())?.len();
        let is_usable = match (target.size, target.digest, target.tag_file) {
            (Some(size), ..) if kept > size => false,
            (_, Some(_), _) => true,
            (_, None, tag) => tag.is_some_and(Path::exists),
        };
        if kept > 0 && !is_usable {
            partial.restart(target.size)?;
        } else if kept > 0 {
            partial.rehash(client)?;
            partial.is_inherited = true;
        }
        Ok(partial)
    }

    fn rehash(&mut self, client: &Client) -> Result<()> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let n = at(self.path, self.file.read(&mut buffer))?;
            if n == 0 {
                return Ok(());
            }
            if client.is_interrupted() {
                return Err(ingle_net::Error::Interrupted.into());
            }
            self.hasher.update(&buffer[..n]);
            self.len += n as u64;
        }
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &'a Path {
        self.path
    }

    /// From now on some of its bytes are of an earlier run.
    pub(crate) fn inherits(&mut self) {
        self.is_inherited = true;
    }

    /// Appends what it lacks of the bytes from `start` to `end` of the whole file of `size` bytes, which lie in `path`.
    pub(crate) fn take(&mut self, path: &Path, start: u64, end: u64, size: u64) -> Result<()> {
        let mut part = at(path, File::open(path))?;
        at(path, part.seek(io::SeekFrom::Start(self.len - start)))?;
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.len < end {
            let room = usize::try_from(end - self.len).unwrap_or(usize::MAX).min(buffer.len());
            match at(path, part.read(&mut buffer[..room]))? {
                0 => return at(path, Err(io::ErrorKind::UnexpectedEof.into())),
                n => self.append(&buffer[..n], size)?,
            }
        }
        Ok(())
    }

    /// Begins anew, for a file of `size` bytes.
    pub(crate) fn restart(&mut self, size: Option<u64>) -> Result<()> {
        at(self.path, self.file.set_len(0))?;
        at(self.path, self.file.rewind())?;
        self.hasher = Hasher::new(self.digest, size.unwrap_or(0));
        self.len = 0;
        self.is_inherited = false;
        Ok(())
    }

    /// Reads the body up to `size` bytes in all; whatever a server sends beyond them is not read.
    pub(crate) fn receive(
        &mut self,
        client: &Client,
        target: &Target<'_>,
        response: Response,
        size: u64,
        watch: Watch<'_>,
    ) -> std::result::Result<u64, Stop> {
        let url = response.url.origin.to_string();
        let mut reader = response.into_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        while self.len < size {
            watch(Event::Bytes { file: target.name, done: self.len, size });
            let room = usize::try_from(size - self.len).unwrap_or(usize::MAX).min(buffer.len());
            let broke = |reason: String| {
                if client.is_interrupted() {
                    return Stop::Final(ingle_net::Error::Interrupted.into());
                }
                Stop::Later(ingle_net::Error::Connection { url: url.clone(), reason }.into(), None)
            };
            match reader.read(&mut buffer[..room]) {
                Ok(0) => {
                    return Err(broke(format!("the connection ended after {} of {size} bytes", self.len)));
                }
                Ok(n) => self.append(&buffer[..n], size)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broke(format!("{e} after {} of {size} bytes", self.len))),
            }
        }
        watch(Event::Bytes { file: target.name, done: size, size });
        Ok(size)
    }

    fn append(&mut self, bytes: &[u8], size: u64) -> Result<()> {
        if let Err(e) = self.file.write_all(bytes) {
            // What a failed write left behind is not hashed: cut it off, so that the file stays a beginning.
            let _ = self.file.set_len(self.len);
            return Err(disk_error(self.path, e, size - self.len));
        }
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Checks the hash of the whole file and syncs it; `None` when it was wrong because of inherited bytes, which are gone now.
    pub(crate) fn verify(&mut self, target: &Target<'_>, size: u64) -> Result<Option<Fetched>> {
        let found = self.hasher.clone().finish();
        match target.digest {
            Some(expected) if *expected != found => {
                if self.is_inherited {
                    self.restart(Some(size))?;
                    return Ok(None);
                }
                remove_if_there(self.path)?;
                Err(Error::Mismatch {
                    file: target.name.to_owned(),
                    part: format!("{} (the file is deleted)", expected.algorithm()),
                    found: found.to_string(),
                    expected: expected.to_string(),
                })
            }
            _ => {
                at(self.path, self.file.sync_all())?;
                Ok(Some(Fetched { size, digest: found }))
            }
        }
    }

    /// An interruption, said with what was kept.
    pub(crate) fn explain(&self, error: Error, target: &Target<'_>, size: Option<u64>) -> Error {
        match error {
            Error::Net(ingle_net::Error::Interrupted) => {
                let of = size.map(|size| format!(" of {size}")).unwrap_or_default();
                let name = target.name;
                Error::Interrupted(format!(
                    "{name}: interrupted; {}{of} bytes are kept, and the same command goes on behind them",
                    self.len + self.beside
                ))
            }
            error => error,
        }
    }
}

/// A failed write, where `needed` bytes were still to come.
pub(crate) fn disk_error(path: &Path, source: io::Error, needed: u64) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Error::DiskFull { path: path.to_owned(), needed }
        }
        _ => Error::Io { path: path.to_owned(), source },
    }
}

/// Removes a file that may not be there.
pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => at(path, Err(e)),
        _ => Ok(()),
    }
}
