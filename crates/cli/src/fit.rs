//! Whether a model that is about to be fetched will fit the memory: what the beginning of its file says, or else its size.
//!
//! A GGUF file begins with its shapes. So many of its first bytes are fetched as those take, which the download then goes on
//! behind; in a file of zeros of the whole size they are read as any model is. Files of other kinds, and those in several
//! parts, are judged by their size alone.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use ingle_engine::memory::available_bytes;
use ingle_engine::model_file::ModelFile;
use serde::Serialize;

use crate::env::{Env, say};
use crate::exit::Failure;
use crate::verbs::{human_bytes, show};

/// First bytes that are looked at, one after the other until they are enough; vocabularies take some MB.
const BEGINNINGS: [u64; 4] = [1 << 20, 8 << 20, 24 << 20, 48 << 20];
/// Files below this size are fetched as soon as looked at.
const FILE_BYTES_MIN: u64 = 4 << 20;

/// What a model needs and what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fit {
    /// Bytes it needs.
    pub needed_bytes: u64,
    /// Positions that this is for, where the file's beginning says enough to tell.
    pub ctx: Option<usize>,
    /// Bytes that are free, if the system says.
    pub available_bytes: Option<u64>,
    /// `false` where it needs more than is free.
    pub fits: bool,
}

impl Fit {
    /// Pure.
    fn of(needed_bytes: u64, ctx: Option<usize>, available_bytes: Option<u64>) -> Self {
        let fits = available_bytes.is_none_or(|available| needed_bytes <= available);
        Self { needed_bytes, ctx, available_bytes, fits }
    }

    fn sentence(&self) -> String {
        let needed = human_bytes(self.needed_bytes);
        let needs = match self.ctx {
            Some(ctx) => format!("{needed} of memory for a context of {ctx}"),
            None => format!("at least {needed} of memory"),
        };
        match (self.available_bytes, self.fits) {
            (Some(free), true) => format!("it needs {needs}, and {} are free", human_bytes(free)),
            (Some(free), false) => format!(
                "it needs {needs}, but only {} are free: it will not fit; a smaller quantisation or context may",
                human_bytes(free)
            ),
            (None, _) => format!("it needs {needs}"),
        }
    }
}

/// Says, before a model of `bytes` is fetched, whether it will fit; asks whether to go on where it won't and someone is there.
/// `begin` gives a file with at least so many of the model's first bytes, if it is one file.
pub fn before(
    bytes: u64,
    is_one_file: bool,
    begin: &dyn Fn(u64) -> Option<PathBuf>,
    env: &Env,
) -> Result<Fit, Failure> {
    let read = (is_one_file && bytes >= FILE_BYTES_MIN).then(|| by_header(bytes, begin, env)).flatten();
    let (needed, ctx) = read.map_or((bytes, None), |(needed, ctx)| (needed, Some(ctx)));
    let fit = Fit::of(needed, ctx, available_bytes());
    say(fit.sentence());
    if !fit.fits && env.can_ask() && !env.ask("Fetch it all the same?", false)? {
        return Err(Failure::interrupted());
    }
    Ok(fit)
}

/// Bytes and context by the arithmetic of `ingle show`, from as much of the file's beginning as that takes.
fn by_header(size: u64, begin: &dyn Fn(u64) -> Option<PathBuf>, env: &Env) -> Option<(u64, usize)> {
    let draft = env.dirs.cache.join(format!("beginning-{}.gguf", std::process::id()));
    let found = BEGINNINGS.iter().take_while(|&&n| n / 2 < size).find_map(|&n| {
        let beginning = begin(n)?;
        spread(&beginning, n, size, &draft).ok()?;
        show::memory_of(&ModelFile::open(&draft).ok()?, env)
    });
    // A draft that was never made is none to remove.
    let _ = std::fs::remove_file(&draft);
    found
}

/// Makes a file of `size` bytes with the first `n` of `beginning`, and holes behind them.
fn spread(beginning: &Path, n: u64, size: u64, draft: &Path) -> io::Result<()> {
    std::fs::create_dir_all(draft.parent().unwrap_or(draft))?;
    let mut file = File::create(draft)?;
    io::copy(&mut File::open(beginning)?.take(n), &mut file)?;
    file.set_len(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_with_both_numbers() {
        let fit = Fit::of(3 << 30, Some(4096), Some(1 << 30));
        assert!(!fit.fits);
        let said = fit.sentence();
        assert!(said.contains("3.0 GiB") && said.contains("4096") && said.contains("only 1.0 GiB"), "{said}");
        assert!(Fit::of(1 << 30, None, Some(1 << 30)).sentence().starts_with("it needs at least 1.0 GiB"));
        assert!(Fit::of(u64::MAX, None, None).fits, "a system that does not say is trusted");
    }
}
