//! The shelf of media types: what becomes of a layer of each.

/// What a layer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A file of the model, under the name that its annotation says, or else this one.
    File(&'static str),
    /// An archive of such files.
    Tar,
    /// Something a model runs without, and which is not fetched.
    Beside,
    /// Something without which the model would be another, and which can't be taken in; and what to do.
    Refused(&'static str),
}

/// One media type.
#[derive(Debug, Clone, Copy)]
pub struct Media {
    /// As manifests say it, without parameters.
    pub name: &'static str,
    /// What becomes of such a layer.
    pub role: Role,
}

/// The weights of an image that is one GGUF file.
pub const WEIGHTS: &str = "model.gguf";
/// Ollama's template, in the language of Go's text/template.
pub const GO_TEMPLATE: &str = "template.go";
/// A chat template in Jinja.
pub const TEMPLATE: &str = "chat_template.jinja";
/// Settings as JSON: `{"temperature": 0.6, "stop": ["..."]}`.
pub const PARAMS: &str = "params.json";
/// The system message.
pub const SYSTEM: &str = "system.txt";
/// The owner's terms.
pub const LICENSE: &str = "LICENSE";

const COMPRESSED: &str = "compressed archives are not taken in; ask its maker for raw or tar layers";

const fn media(name: &'static str, role: Role) -> Media {
    Media { name, role }
}

/// Every media type that is known.
#[rustfmt::skip]
pub static MEDIA: &[Media] = &[
    media("application/vnd.ollama.image.model", Role::File(WEIGHTS)),
    media("application/vnd.ollama.image.template", Role::File(GO_TEMPLATE)),
    media("application/vnd.ollama.image.params", Role::File(PARAMS)),
    media("application/vnd.ollama.image.system", Role::File(SYSTEM)),
    media("application/vnd.ollama.image.license", Role::File(LICENSE)),
    media("application/vnd.ollama.image.projector", Role::Beside),
    media("application/vnd.ollama.image.messages", Role::Beside),
    media("application/vnd.ollama.image.prompt", Role::Beside),
    media("application/vnd.ollama.image.adapter", Role::Refused("it is an adapter for another model; fetch that one, and give the adapter with --adapter")),
    media("application/vnd.ollama.image.tensor", Role::Refused("its tensors are layers of their own; there is no GGUF file")),
    media("application/vnd.cncf.model.weight.v1.raw", Role::File(WEIGHTS)),
    media("application/vnd.cncf.model.weight.v1.gguf", Role::File(WEIGHTS)),
    media("application/vnd.cncf.model.weight.v1.safetensors", Role::File("model.safetensors")),
    media("application/vnd.cncf.model.weight.v1.tar", Role::Tar),
    media("application/vnd.cncf.model.weight.v1.tar+gzip", Role::Refused(COMPRESSED)),
    media("application/vnd.cncf.model.weight.v1.tar+zstd", Role::Refused(COMPRESSED)),
    media("application/vnd.cncf.model.weight.config.v1.raw", Role::File("config.json")),
    media("application/vnd.cncf.model.weight.config.v1.tar", Role::Tar),
    media("application/vnd.cncf.model.weight.config.v1.tar+gzip", Role::Refused(COMPRESSED)),
    media("application/vnd.cncf.model.weight.config.v1.tar+zstd", Role::Refused(COMPRESSED)),
    media("application/vnd.docker.ai.gguf.v3", Role::File(WEIGHTS)),
    media("application/vnd.docker.ai.safetensors", Role::File("model.safetensors")),
    media("application/vnd.docker.ai.model.file", Role::File("config.json")),
    media("application/vnd.docker.ai.chat.template.jinja", Role::File(TEMPLATE)),
    media("application/vnd.docker.ai.license", Role::File(LICENSE)),
    media("application/vnd.docker.ai.vllm.config.tar", Role::Tar),
    media("application/vnd.docker.ai.dir.tar", Role::Tar),
    media("application/vnd.docker.ai.mmproj", Role::Beside),
];

/// Beginnings of media types of what a model runs without.
const BESIDE: [&str; 3] = [
    "application/vnd.cncf.model.doc.",
    "application/vnd.cncf.model.code.",
    "application/vnd.cncf.model.dataset.",
];

/// What becomes of a layer of this media type; `None` for one that nobody here has heard of.
pub fn role_of(media_type: &str) -> Option<Role> {
    let name = media_type.split(';').next().unwrap_or_default().trim();
    let known = MEDIA.iter().find(|m| m.name.eq_ignore_ascii_case(name)).map(|m| m.role);
    known.or_else(|| BESIDE.iter().any(|b| name.starts_with(b)).then_some(Role::Beside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_media_type_is_listed_once_and_found_with_parameters_too() {
        for (i, entry) in MEDIA.iter().enumerate() {
            assert!(MEDIA[..i].iter().all(|m| m.name != entry.name), "{} twice", entry.name);
            assert_eq!(role_of(&format!("{}; type=x", entry.name)), Some(entry.role));
        }
        assert_eq!(role_of("application/vnd.cncf.model.doc.v1.tar+gzip"), Some(Role::Beside));
        assert_eq!(role_of("application/vnd.oci.image.layer.v1.tar"), None);
    }
}
