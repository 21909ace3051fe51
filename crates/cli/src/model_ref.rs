//! What a MODEL on the command line is: a `.gguf` path, a Hugging Face folder, `demo`, a name, or a reference to something
//! that was fetched.
//!
//! What lies on the disk under exactly that path comes first, then names and the hub's cache. Nothing here opens a
//! connection; a model that is not here ends with the sentence that fetches it.

use std::path::Path;

use ingle_engine::model_file::ModelFile;
use ingle_engine::near::nearest;
#[cfg(feature = "demo")]
use ingle_kernel::bytes::Bytes;
use ingle_store::library::Meaning;
use ingle_store::names::Names;
use ingle_store::reference::behind_hub;
use ingle_store::short_names::{self, SHORT_NAMES, ShortName};

use crate::beside;
use crate::env::Env;
use crate::exit::Failure;
use crate::{pulling, updating};

/// The built-in model.
pub const DEMO: &str = "demo";

/// Opens the model that `reference` names.
pub fn open(reference: &str, env: &Env) -> Result<ModelFile, Failure> {
    if reference == DEMO {
        return open_demo();
    }
    if is_on_disk(reference) {
        return open_path(Path::new(reference), reference);
    }
    if let Some(path) = updating::path_of(reference, env)? {
        return open_path(&path, reference);
    }
    match meaning(reference, env)? {
        Meaning::Here(path) => open_path(&path, reference),
        Meaning::Absent(_) => Err(Failure::not_found(absent(reference))),
        Meaning::Unknown => {
            let names = pulling::library(env).names.read()?;
            Err(Failure::not_found(unknown(reference, &names)))
        }
    }
}

/// What a text means that is neither `demo` nor on the disk as it stands. A path into a folder that is here is a path, even
/// where it looks like `user/repo`.
pub fn meaning(text: &str, env: &Env) -> Result<Meaning, Failure> {
    let is_below_folder = text.split_once('/').is_some_and(|(first, _)| Path::new(first).is_dir());
    if is_path(text) || (is_below_folder && !text.contains(':')) {
        return Ok(Meaning::Unknown);
    }
    Ok(pulling::library(env).find(text)?)
}

/// Whether `text` is there as it stands, so that it means nothing else.
pub fn is_on_disk(text: &str) -> bool {
    text == DEMO || Path::new(text).exists()
}

/// Whether `text` can only be a path: it begins like one, or is a `.gguf` file that no hub or address is named for.
pub fn is_path(text: &str) -> bool {
    let is_gguf = Path::new(text).extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    let is_remote = text.contains(':') || behind_hub(text).is_some();
    text.starts_with(['.', '/', '~']) || (is_gguf && !is_remote)
}

fn open_path(path: &Path, reference: &str) -> Result<ModelFile, Failure> {
    if path.is_dir() && !path.join("config.json").exists() {
        return Err(Failure::not_found(format!(
            "{reference}: a folder without config.json, expected a Hugging Face folder or the path of a .gguf file"
        )));
    }
    beside::with_template(ModelFile::open(path)?, path, reference)
}

/// Opens the built-in model.
#[cfg(feature = "demo")]
pub fn open_demo() -> Result<ModelFile, Failure> {
    Ok(ModelFile::from_bytes(DEMO, Bytes::new(ingle_demo::GGUF))?)
}

/// That there is none.
#[cfg(not(feature = "demo"))]
pub fn open_demo() -> Result<ModelFile, Failure> {
    Err(Failure::not_found("demo: this build has no built-in model; give the path of a .gguf file"))
}

/// The sentence for a model that could be fetched.
fn absent(reference: &str) -> String {
    let from = match short_names::find(reference) {
        Some(hub) => format!(" from {hub} on the hub"),
        None => String::new(),
    };
    format!("{reference}: this model is not here yet; `ingle pull {reference}` fetches it{from}")
}

/// The sentence for a text that means nothing.
fn unknown(reference: &str, names: &Names) -> String {
    if is_path(reference) || reference.contains('/') {
        let similar = similar_file(Path::new(reference)).map(|s| format!("; did you mean {s}?"));
        return format!("{reference}: no such file{}", similar.unwrap_or_default());
    }
    let families = SHORT_NAMES.iter().flat_map(|s| [s.name, s.family()]);
    let known = [DEMO].into_iter().chain(families).chain(names.keys().map(String::as_str));
    let sizes: Vec<&str> = sizes_of(reference).map(|s| s.name).collect();
    let hint = match nearest(reference, known) {
        _ if !sizes.is_empty() => format!("; there is {}", sizes.join(", ")),
        Some(near) => format!("; did you mean {near}?"),
        None => String::new(),
    };
    format!(
        "no model called {reference}{hint}; give the path of a .gguf file, user/repo on the hub, or {DEMO} for the built-in model"
    )
}

/// The lines of the family that `reference` asks for in a size there is not.
fn sizes_of(reference: &str) -> impl Iterator<Item = &'static ShortName> {
    let family = reference.split_once(':').map(|(family, _)| family.to_lowercase());
    SHORT_NAMES.iter().filter(move |s| Some(s.family()) == family.as_deref())
}

/// The model file in the same folder whose name is nearest.
fn similar_file(path: &Path) -> Option<String> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names: Vec<String> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.to_lowercase().ends_with(".gguf"))
        .collect();
    let near = nearest(path.file_name()?.to_str()?, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near).display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unknown_reference_gets_a_next_step() {
        let names = Names::from([("mine".to_owned(), ingle_store::names::Named::Hub("a/b".into()))]);
        for (reference, expected) in [
            ("demmo", "did you mean demo?"),
            ("qwen33", "did you mean qwen3?"),
            ("mime", "did you mean mine?"),
            ("qwen3:9b", "there is qwen3:0.6b"),
            ("something else", "give the path of a .gguf file"),
            ("./missing.gguf", "no such file"),
            ("/a/b/c", "no such file"),
        ] {
            let said = unknown(reference, &names);
            assert!(said.contains(expected), "{reference}: {said}");
        }
    }

    #[test]
    fn paths_are_told_from_references() {
        for text in ["./a", "/a/b", "~/a", "a.gguf", "a/b.gguf", "a/b/c.GGUF"] {
            assert!(is_path(text), "{text}");
        }
        for text in ["a/b", "a/b:c.gguf", "qwen3:0.6b", "https://a/b.gguf", "hf.co/a/b/blob/main/c.gguf"] {
            assert!(!is_path(text), "{text}");
        }
    }

    #[test]
    fn an_absent_model_is_said_with_the_command_that_fetches_it() {
        let said = absent("qwen3");
        assert!(said.contains("`ingle pull qwen3`") && said.contains("Qwen/Qwen3-0.6B-GGUF:Q8_0"), "{said}");
    }
}
