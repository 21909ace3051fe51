//! Whether there is room on the disk for what is planned.

use std::path::Path;

use crate::error::{Error, Result};

/// Bytes that are left to the system and to others: folders, links and small files want some too.
const MARGIN_BYTES: u64 = 16 << 20;

/// Bytes that this user may still write where `path` lies or will lie; `None` where the system does not say.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|p| p.exists())?;
    of_file_system(there)
}

#[cfg(unix)]
fn of_file_system(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

#[cfg(not(unix))]
fn of_file_system(_: &Path) -> Option<u64> {
    None
}

/// That `needed` more bytes have room where `free` are free, if the system says how many. Pure.
///
/// # Errors
/// [`Error::NoRoom`] with the sum.
pub fn check(path: &Path, needed: u64, free: Option<u64>) -> Result<()> {
    match free {
        Some(free) if needed > 0 && needed > free.saturating_sub(MARGIN_BYTES) => {
            Err(Error::NoRoom { path: path.to_owned(), needed, free })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_foreseen() {
        let at = Path::new("x");
        assert!(check(at, 1 << 30, None).is_ok(), "a system that does not say is trusted");
        assert!(check(at, 1 << 30, Some((1 << 30) + MARGIN_BYTES)).is_ok());
        assert!(check(at, 0, Some(0)).is_ok(), "nothing to write needs no room");
        let said = check(at, 1 << 30, Some(1 << 30)).unwrap_err().to_string();
        assert!(said.contains("1073741824"), "{said}");
        assert!(check(at, u64::MAX, Some(u64::MAX)).is_err());
    }

    #[test]
    #[cfg(unix)]
    fn the_system_says_how_much_is_free_where_nothing_is_yet() {
        assert!(free_bytes(&std::env::temp_dir().join("not/there/yet")).is_some());
    }
}
