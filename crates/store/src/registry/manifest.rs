//! What a registry says an image is made of. Pure: bytes in, layers out.
//!
//! It comes from outside: hashes must be hashes, names may not leave their folder, counts and sizes are bounded.

use serde::Deserialize;

use super::images::is_manifest;
use super::media::{LICENSE, Role, role_of};
use crate::choose::{Choice, choose};
use crate::error::{Error, Result};
use crate::hash::{Digest, Hasher};
use crate::listing::is_safe_path;
use crate::reference::Want;

/// Bytes of a manifest that are read at most.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Layers of one image.
const LAYERS_MAX: usize = 2000;
/// What we say we understand.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
                          application/vnd.oci.image.index.v1+json";
/// Annotations that say under which path a layer's file lies, the first that is there.
const PATHS: [&str; 3] =
    ["org.cncf.model.filepath", "org.cnai.model.filepath", "org.opencontainers.image.title"];

/// An image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Of the manifest's own bytes.
    pub digest: Digest,
    /// What is to be fetched.
    pub layers: Vec<Layer>,
}

/// One layer that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// What its content hashes to.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// The file's path in the image; `None` for an archive, which says the paths itself.
    pub path: Option<String>,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An image.
    Image(Manifest),
    /// A list of images, of which this one is meant.
    Index(Digest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    artifact_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// Reads the answer to a request for the manifest of `what`.
///
/// # Errors
/// [`Error::Mismatch`] when it is no manifest, [`Error::NotFound`] when its model can't be used.
pub fn parse(what: &str, bytes: &[u8]) -> Result<Answer> {
    let wrong = |part: &str, found: String, expected: &str| Error::Mismatch {
        file: format!("the manifest of {what}"),
        part: part.to_owned(),
        found,
        expected: expected.to_owned(),
    };
    let form: Form =
        serde_json::from_slice(bytes).map_err(|e| wrong("JSON", e.to_string(), "an object with layers"))?;
    let digest_of = |text: &str| {
        let digest = text.strip_prefix("sha256:").and_then(Digest::sha256);
        digest.ok_or_else(|| wrong("digest", format!("{text:?}"), "sha256: and 64 hex digits"))
    };
    if form.layers.is_empty() {
        // An artifact of several forms: one that says it is a model's, or else the first.
        let is_model = |d: &&Descriptor| d.artifact_type.contains(".model.");
        let meant = form.manifests.iter().find(is_model).or(form.manifests.first());
        let meant = meant.ok_or_else(|| wrong("layers", "none".into(), "at least one"))?;
        return digest_of(&meant.digest).map(Answer::Index);
    }
    if form.layers.len() > LAYERS_MAX {
        let found = format!("{} layers", form.layers.len());
        return Err(wrong("layers", found, &format!("at most {LAYERS_MAX}")));
    }
    let mut layers: Vec<Layer> = Vec::new();
    for layer in &form.layers {
        let kind: String = layer.media_type.chars().take(100).collect();
        let unusable =
            |why: &str| Error::NotFound { what: what.to_owned(), why: format!("layer {kind:?}: {why}") };
        let path = match role_of(&layer.media_type) {
            Some(Role::File(usual)) => Some(path_of(layer, usual, &layers).map_err(|p| {
                wrong(
                    "path of a layer",
                    format!("{p:?}"),
                    "a path that stays in its folder and is not the manifest's",
                )
            })?),
            Some(Role::Tar) => None,
            Some(Role::Beside) => continue,
            Some(Role::Refused(why)) => return Err(unusable(why)),
            None => return Err(unusable("nobody here knows what it is; expected a model's")),
        };
        if path.is_some() && layers.iter().any(|l| l.path == path) {
            return Err(wrong(
                "path of a layer",
                format!("{:?} twice", path.unwrap_or_default()),
                "each once",
            ));
        }
        layers.push(Layer { digest: digest_of(&layer.digest)?, size: layer.size, path });
    }
    if layers.iter().try_fold(0u64, |sum, l| sum.checked_add(l.size)).is_none() {
        return Err(wrong("sizes", "a sum beyond 64 bits".into(), "less"));
    }
    let mut hasher = Hasher::new(None, bytes.len() as u64);
    hasher.update(bytes);
    Ok(Answer::Image(Manifest { digest: hasher.finish(), layers }))
}

/// The path that the layer's annotation says, or the usual one; a second licence gets a number.
fn path_of(layer: &Descriptor, usual: &str, before: &[Layer]) -> std::result::Result<String, String> {
    let annotations = layer.annotations.as_ref();
    let said = annotations.and_then(|a| PATHS.iter().find_map(|name| a.get(*name)));
    if let Some(said) = said {
        let said = said.strip_prefix("./").unwrap_or(said);
        return if is_safe_path(said) && !is_manifest(said) {
            Ok(said.to_owned())
        } else {
            Err(said.to_owned())
        };
    }
    let is_taken = |path: &str| before.iter().any(|l| l.path.as_deref() == Some(path));
    if usual != LICENSE || !is_taken(usual) {
        return Ok(usual.to_owned());
    }
    Ok((2..).map(|n| format!("{usual}-{n}")).find(|path| !is_taken(path)).unwrap_or_default())
}

/// Which of an image's files a program opens: the index of a GGUF file, or `None` for a folder of safetensors.
///
/// # Errors
/// What there is instead, as a piece of a sentence.
pub fn entry(paths: &[&str]) -> std::result::Result<Option<usize>, String> {
    let Choice { files, is_folder, .. } = choose(paths, &Want::Default)?;
    Ok(files.first().copied().filter(|_| !is_folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn layer(media_type: &str, more: &str) -> String {
        format!(r#"{{"mediaType": "{media_type}", "digest": "sha256:{HEX}", "size": 3{more}}}"#)
    }

    fn manifest(layers: &[String]) -> String {
        format!(r#"{{"schemaVersion": 2, "layers": [{}]}}"#, layers.join(", "))
    }

    fn paths(text: &str) -> Vec<Option<String>> {
        match parse("x", text.as_bytes()).unwrap() {
            Answer::Image(manifest) => manifest.layers.into_iter().map(|l| l.path).collect(),
            Answer::Index(digest) => panic!("{digest}"),
        }
    }

    #[test]
    fn layers_get_the_names_of_their_kinds() {
        let ollama = ["model", "template", "license", "license", "params", "projector"];
        let layers = ollama.map(|kind| layer(&format!("application/vnd.ollama.image.{kind}"), ""));
        let expected = ["model.gguf", "template.go", "LICENSE", "LICENSE-2", "params.json"];
        assert_eq!(paths(&manifest(&layers)), expected.map(|p| Some(p.to_owned())));
        let title = r#", "annotations": {"org.cncf.model.filepath": "./d/m.gguf"}"#;
        let pack = [
            layer("application/vnd.cncf.model.weight.v1.raw", title),
            layer("application/vnd.cncf.model.weight.config.v1.tar", ""),
            layer("application/vnd.cncf.model.doc.v1.raw", ""),
        ];
        assert_eq!(paths(&manifest(&pack)), [Some("d/m.gguf".to_owned()), None]);
    }

    #[test]
    fn what_can_not_be_used_is_said() {
        let at = |path: &str| {
            let title = format!(r#", "annotations": {{"org.opencontainers.image.title": "{path}"}}"#);
            layer("application/vnd.docker.ai.gguf.v3", &title)
        };
        let model = layer("application/vnd.ollama.image.model", "");
        for (text, words) in [
            ("7".to_owned(), "JSON"),
            ("{}".to_owned(), "expected at least one"),
            (manifest(&[model.replace("sha256:ba", "sha256:../ba")]), "64 hex digits"),
            (manifest(&[model.replace("sha256:", "md5:")]), "64 hex digits"),
            (manifest(&[model.clone(), model.clone()]), "twice"),
            (manifest(&[at("../../x.gguf")]), "stays in its folder"),
            (manifest(&[at("/etc/x.gguf")]), "stays in its folder"),
            (manifest(&[at("manifest.json")]), "not the manifest's"),
            (manifest(&[layer("application/vnd.ollama.image.adapter", "")]), "--adapter"),
            (manifest(&[layer("application/vnd.cncf.model.weight.v1.tar+zstd", "")]), "compressed"),
            (manifest(&[layer("application/vnd.oci.image.layer.v1.tar", "")]), "nobody here knows"),
            (manifest(&[model.replace("3}", "18446744073709551615}"), at("b.gguf")]), "64 bits"),
        ] {
            let said = parse("x", text.as_bytes()).unwrap_err().to_string();
            assert!(said.contains(words), "{words:?} is not in {said:?}");
        }
    }

    #[test]
    fn of_several_images_the_models_is_meant() {
        let other = HEX.replace("ba78", "0000");
        let index = format!(
            r#"{{"manifests": [{{"digest": "sha256:{other}", "size": 1}}, {{"digest": "sha256:{HEX}", "size": 1,
            "artifactType": "application/vnd.cncf.model.manifest.v1+json"}}]}}"#
        );
        assert_eq!(parse("x", index.as_bytes()).unwrap(), Answer::Index(Digest::sha256(HEX).unwrap()));
    }
}
