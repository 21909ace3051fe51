//! What was measured of steps and of guesses, kept from one run to the next in a small text.
//!
//! It is a file of its own for each model, tier and number of threads. A line is a factor of a step's cost, or how often a drafter's guesses of a
//! class were chosen; a line that says something else is passed over, as is a file that is too long: what is not known is measured again.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::plan::{CLASSES, State};

/// The first line.
const HEAD: &str = "ingle speculation 1";
/// More than any file has.
const BYTES_MAX: u64 = 1 << 16;

/// Takes what the file at `path` knows of steps, and of the drafters called `names`, into `state`.
pub fn recall(path: &Path, names: &[String], state: &mut State) {
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text));
    let mut lines = text.lines();
    if read.is_err() || lines.next() != Some(HEAD) {
        return;
    }
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["step", n_rows, factor] => {
                if let (Ok(n_rows), Ok(factor)) = (n_rows.parse(), factor.parse()) {
                    state.costs.remember(n_rows, factor);
                }
            }
            ["chosen", name, class, hits, tries] => {
                let source = names.iter().position(|known| known == name);
                let class = class.parse().ok().filter(|&class: &usize| class < CLASSES);
                if let (Some(source), Some(class), Ok(hits), Ok(tries)) =
                    (source, class, hits.parse(), tries.parse())
                {
                    state.sources[source].chances[class].remember(hits, tries);
                }
            }
            _ => {}
        }
    }
}

/// Writes what `state` knows, for [`recall`].
///
/// # Errors
/// When the file can't be written; what was there is still there then.
pub fn keep(path: &Path, names: &[String], state: &State) -> io::Result<()> {
    let mut text = format!("{HEAD}\n");
    // Writing to a text does not fail.
    for (n_rows, factor) in state.costs.factors() {
        let _ = writeln!(text, "step {n_rows} {factor:.4}");
    }
    for (name, source) in names.iter().zip(&state.sources) {
        for (class, chances) in source.chances.iter().enumerate() {
            let (hits, tries) = chances.kept();
            if tries > 0.0 {
                let _ = writeln!(text, "chosen {name} {class} {hits:.2} {tries:.2}");
            }
        }
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let part = path.with_added_extension(format!("part{}", std::process::id()));
    fs::write(&part, text).and_then(|()| fs::rename(&part, path)).inspect_err(|_| _ = fs::remove_file(&part))
}

#[cfg(test)]
mod tests {
    use super::super::plan::Source;
    use super::*;

    #[test]
    fn what_was_kept_is_there_again_and_nonsense_is_passed_over() {
        let folder = std::env::temp_dir().join(format!("ingle-experience-{}", std::process::id()));
        let path = folder.join("deeper").join("model.txt");
        let names = ["lookup".to_owned(), "exit:2".to_owned()];
        let new = || {
            let mut state = State::default();
            state.sources.extend([Source::free(), Source::costing(0.3)]);
            state
        };
        let mut state = new();
        state.costs.measured(1, 100.0);
        state.costs.measured(4, 130.0);
        (0..20).for_each(|_| state.sources[1].chances[0].judged(3, true));
        keep(&path, &names, &state).unwrap();
        keep(&path, &names, &state).unwrap();
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let mut later = new();
        recall(&path, &names, &mut later);
        later.costs.measured(1, 200.0);
        assert_eq!(later.costs.of(4), 260.0);
        let (hits, tries) = later.sources[1].chances[0].kept();
        assert!((hits / tries - 0.75).abs() < 1e-9 && tries <= 8.0);

        let mut other = new();
        recall(&path, &names[..1], &mut other);
        assert_eq!(other.sources, new().sources, "another drafter's experience");
        for text in [
            "",
            "x",
            "ingle speculation 1\nstep\nstep a b\nstep 99999 1\nchosen exit:2 99 1 1\nchosen exit:2 0 NaN 3\n\u{1F996}",
        ] {
            fs::write(&path, text).unwrap();
            let mut nothing = new();
            recall(&path, &names, &mut nothing);
            assert_eq!(nothing, new(), "{text:?}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
