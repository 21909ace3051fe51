//! What a MODEL on the command line is: a `.gguf` path, a Hugging Face folder or `demo`; anything else ends with a sentence that helps.

use std::path::Path;

use ingle_engine::model_file::ModelFile;
#[cfg(feature = "demo")]
use ingle_kernel::bytes::Bytes;

use crate::exit::Failure;
use crate::near::nearest;

/// Opens the model that `reference` names.
pub fn open(reference: &str) -> Result<ModelFile, Failure> {
    if reference == DEMO {
        return open_demo();
    }
    let path = Path::new(reference);
    if path.is_dir() && !path.join("config.json").exists() {
        return Err(Failure::not_found(format!(
            "{reference}: a folder without config.json, expected a Hugging Face folder or the path of a .gguf file"
        )));
    }
    if path.exists() {
        return Ok(ModelFile::open(path)?);
    }
    Err(Failure::not_found(describe_missing(reference)))
}

const DEMO: &str = "demo";

#[cfg(feature = "demo")]
fn open_demo() -> Result<ModelFile, Failure> {
    Ok(ModelFile::from_bytes(DEMO, Bytes::new(ingle_demo::GGUF))?)
}

#[cfg(not(feature = "demo"))]
fn open_demo() -> Result<ModelFile, Failure> {
    Err(Failure::not_found("demo: this build has no built-in model; give the path of a .gguf file"))
}

fn describe_missing(reference: &str) -> String {
    let path = Path::new(reference);
    let is_file = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
    let parts: Vec<&str> = reference.split('/').collect();
    let is_hub = parts.len() == 2 && parts.iter().all(|p| !p.is_empty() && !p.starts_with(['.', '~']));
    if is_hub && !is_file && !Path::new(parts[0]).is_dir() {
        return format!(
            "{reference}: models on the hub can't be fetched by this version; download a .gguf file and give its path"
        );
    }
    if is_file || parts.len() > 1 {
        let similar = similar_file(path).map(|s| format!("; did you mean {s}?")).unwrap_or_default();
        return format!("{reference}: no such file{similar}");
    }
    let hint = nearest(reference, [DEMO]).map(|h| format!("; did you mean {h}?")).unwrap_or_default();
    format!(
        "no model called {reference}{hint}; give the path of a .gguf file, or {DEMO} for the built-in model"
    )
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
        for (reference, expected) in [
            ("demmo", "did you mean demo?"),
            ("qwen3", "give the path of a .gguf file"),
            ("someone/model:Q4_K_M", "download a .gguf file"),
            ("./missing.gguf", "no such file"),
            ("/a/b/c", "no such file"),
        ] {
            let said = describe_missing(reference);
            assert!(said.contains(expected), "{reference}: {said}");
        }
    }

    #[test]
    fn folders_and_missing_files_are_not_found() {
        for reference in [".", "no-such-model"] {
            assert_eq!(open(reference).unwrap_err().exit, crate::exit::Exit::NOT_FOUND);
        }
    }
}
