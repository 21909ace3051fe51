//! Prompts that ask a model to fill a gap in a text: what stands before it and behind it, and other files of the repository.
//!
//! The order is llama.cpp's, which models of code are trained on (arXiv 2207.14255, 2409.12186):
//! `[rep]name [sep]file ... [sep]this file [pre]before[suf]behind[mid]`. What does not fit is refused; or, where the request allows
//! it, left out: whole files first, the first ones first, then what is farthest from the gap, of what stands before it three times
//! what stands behind it staying.

use ingle_model::token::{Parse, Role, Tokenizer};

use crate::refusal::Refusal;
use crate::served::Served;

/// What the repository and the file with the gap are called where nobody says it, as llama.cpp has it.
const REPOSITORY: &str = "myproject\n";
const FILE: &str = "filename\n";
/// Between files where the vocabulary has no token for it.
const BETWEEN_FILES: &str = "\n\n--- snippet ---\n\n";

/// Tokens that say what is what.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    before: u32,
    behind: u32,
    gap: u32,
    repository: Option<u32>,
    file: Option<u32>,
}

/// What is around a gap.
#[derive(Debug, Default)]
pub struct Gap {
    /// What stands before it.
    pub before: String,
    /// What stands behind it.
    pub behind: String,
    /// Other files, names and texts.
    pub files: Vec<(String, String)>,
}

/// A prompt, and what it left out.
#[derive(Debug)]
pub struct Prompt {
    /// Its ids.
    pub ids: Vec<u32>,
    /// Tokens that were left out.
    pub n_dropped: usize,
}

impl Marks {
    /// Those of a vocabulary; `None` where it lacks one of the three that are needed.
    pub fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let of = |role| tokenizer.special(role);
        let (before, behind, gap) = (of(Role::FimPre)?, of(Role::FimSuf)?, of(Role::FimMid)?);
        Some(Self { before, behind, gap, repository: of(Role::FimRep), file: of(Role::FimSep) })
    }
}

/// The prompt for `gap` of at most `n_max` tokens, of which what does not fit is left out; `None` for all of it. `field` is whose
/// fault it is when the model can't fill gaps.
pub fn prompt(served: &Served, gap: &Gap, field: &str, n_max: Option<usize>) -> Result<Prompt, Refusal> {
    let tokenizer = served.loaded().tokenizer()?;
    let marks = Marks::of(tokenizer).ok_or_else(|| {
        let why = "has no tokens for filling in the middle (fim_pre, fim_suf, fim_mid), expected a model that was trained for it";
        Refusal::field(field, format!("{field}: model {:?} {why}", served.name))
    })?;
    let encode = |text: &str, to: &mut Vec<u32>| {
        tokenizer.encode(text, Parse::Text, to).map_err(|e| served.loaded().file.model_error(e))
    };
    let encoded = |text: &str| {
        let mut ids = Vec::new();
        encode(text, &mut ids).map(|()| ids)
    };
    let (before, behind) = (encoded(&gap.before)?, encoded(&gap.behind)?);
    let mut head: Vec<u32> = tokenizer.before().to_vec();
    let mut last: Vec<u32> = Vec::new();
    let mut files = Vec::with_capacity(gap.files.len());
    if !gap.files.is_empty() {
        if let Some(repository) = marks.repository {
            head.push(repository);
            encode(REPOSITORY, &mut head)?;
        }
        for (name, text) in &gap.files {
            let mut ids = Vec::new();
            match marks.file {
                Some(file) => {
                    ids.push(file);
                    encode(&format!("{name}\n"), &mut ids)?;
                }
                None => encode(BETWEEN_FILES, &mut ids)?,
            }
            encode(text, &mut ids)?;
            files.push(ids);
        }
        if let Some(file) = marks.file {
            last.push(file);
            encode(FILE, &mut last)?;
        }
    }
    let n_fixed = head.len() + last.len() + 3;
    let lengths: Vec<usize> = files.iter().map(Vec::len).collect();
    let room = n_max.map_or(usize::MAX, |n| n.saturating_sub(n_fixed));
    let kept = keep(&lengths, before.len(), behind.len(), room);
    let mut ids = head;
    files[kept.first_file..].iter().for_each(|file| ids.extend(file));
    ids.extend(last);
    ids.push(marks.before);
    ids.extend(&before[before.len() - kept.n_before..]);
    ids.push(marks.behind);
    ids.extend(&behind[..kept.n_behind]);
    ids.push(marks.gap);
    let n_all = n_fixed + lengths.iter().sum::<usize>() + before.len() + behind.len();
    Ok(Prompt { n_dropped: n_all - ids.len(), ids })
}

/// What stays of a prompt.
#[derive(Debug, PartialEq, Eq)]
struct Kept {
    first_file: usize,
    n_before: usize,
    n_behind: usize,
}

/// What stays of files, of what stands before the gap and of what stands behind it, so many tokens each, in `room`.
fn keep(files: &[usize], n_before: usize, n_behind: usize, room: usize) -> Kept {
    let mut n = files.iter().sum::<usize>() + n_before + n_behind;
    let mut first_file = 0;
    while n > room && first_file < files.len() {
        n -= files[first_file];
        first_file += 1;
    }
    if n <= room {
        return Kept { first_file, n_before, n_behind };
    }
    let n_behind = n_behind.min((room / 4).max(room.saturating_sub(n_before)));
    Kept { first_file, n_before: n_before.min(room - n_behind), n_behind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_first_and_then_what_is_far_from_the_gap() {
        let kept = |first_file, n_before, n_behind| Kept { first_file, n_before, n_behind };
        assert_eq!(keep(&[5, 5], 10, 10, 30), kept(0, 10, 10));
        assert_eq!(keep(&[5, 5], 10, 10, 29), kept(1, 10, 10));
        assert_eq!(keep(&[5, 5], 10, 10, 20), kept(2, 10, 10));
        assert_eq!(keep(&[5], 10, 10, 16), kept(1, 10, 6), "less stands before it than it may have");
        assert_eq!(keep(&[], 90, 90, 16), kept(0, 12, 4));
        assert_eq!(keep(&[], 90, 2, 16), kept(0, 14, 2));
        assert_eq!(keep(&[1], 3, 3, 0), kept(1, 0, 0));
    }
}
