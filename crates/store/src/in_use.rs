//! Whether a running program uses a file: it holds a shared lock on each model file it has mapped, and a lock of its own on
//! each one it fetches. Both end with the program, however it ends.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::Path;

use crate::error::{Error, Result};

/// Files that nobody else uses, for as long as this lives.
#[derive(Debug)]
pub struct Claim {
    _files: Vec<File>,
}

/// Claims the files at `paths`; those that are not there or know no locks are nobody's.
///
/// # Errors
/// [`Error::InUse`] for the first that another program uses; `what` is the model's name.
pub fn claim<'a>(what: &str, paths: impl IntoIterator<Item = &'a Path>) -> Result<Claim> {
    let mut files = Vec::new();
    let mut claimed = BTreeSet::new();
    for path in paths {
        // Two names of one content are one file, which can be claimed once.
        if !claimed.insert(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())) {
            continue;
        }
        let Ok(file) = File::open(path) else { continue };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse { what: what.to_owned(), path: path.to_owned() });
            }
            _ => files.push(file),
        }
    }
    Ok(Claim { _files: files })
}

/// A use of a file: nobody can claim it as long as this lives.
#[derive(Debug)]
pub struct Use {
    _file: File,
}

/// Begins a use of the file at `path`, where it is there and knows locks.
pub fn hold(path: &Path) -> Option<Use> {
    let file = File::open(path).ok()?;
    file.try_lock_shared().is_ok().then_some(Use { _file: file })
}

/// Whether another program, or another part of this one, holds a lock on the file.
pub fn is_in_use(path: &Path) -> bool {
    claim("", [path]).is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_lock_is_a_use_and_ends_with_its_holder() {
        let path = std::env::temp_dir().join(format!("ingle-in-use-{}", std::process::id()));
        fs::write(&path, "x").unwrap();
        let reader = hold(&path).unwrap();
        assert!(hold(&path).is_some(), "uses don't keep each other out");
        let said = claim("m", [path.as_path()]).unwrap_err().to_string();
        assert!(said.starts_with("m: ") && said.contains("in use"), "{said}");
        drop(reader);
        let held = claim("m", [path.as_path(), Path::new("/not/there")]).unwrap();
        assert!(is_in_use(&path));
        drop(held);
        assert!(!is_in_use(&path));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn a_file_with_two_names_is_claimed_once() {
        let path = std::env::temp_dir().join(format!("ingle-two-names-{}", std::process::id()));
        let link = path.with_extension("link");
        fs::write(&path, "x").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let held = claim("m", [path.as_path(), &link, &path]).unwrap();
        assert!(is_in_use(&link));
        drop(held);
        [path, link].iter().for_each(|path| fs::remove_file(path).unwrap());
    }
}
