//! May this connection be opened? A pure question, asked before a name is even looked up.

use crate::url::{Origin, Scheme};

/// On whose behalf a connection is opened. Every request states one; the ledger keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Asking the hub which files a model has.
    ModelListing,
    /// Fetching a model's file.
    ModelFile,
    /// Asking for the pass that a registry wants to see.
    RegistryPass,
    /// Asking a repository of releases what is new.
    ReleaseMetadata,
    /// Asking an endpoint for an answer.
    Answer,
    /// Asking a server of this program on this machine what it runs.
    LocalServer,
}

impl Purpose {
    /// As the ledger and `--json` say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ModelListing => "model listing",
            Self::ModelFile => "model file",
            Self::RegistryPass => "registry pass",
            Self::ReleaseMetadata => "release metadata",
            Self::Answer => "answer",
            Self::LocalServer => "local server",
        }
    }
}

/// What is allowed.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Nothing is allowed, and this is what asked for it (`--offline`, `INGLE_OFFLINE`).
    pub offline: Option<String>,
    /// Origins that may be spoken to without TLS, since the user named them so.
    pub plain_text: Vec<Origin>,
}

impl Policy {
    /// Whether a connection to `origin` may be opened.
    ///
    /// # Errors
    /// The reason, as a piece of a sentence.
    pub fn check(&self, origin: &Origin) -> Result<(), String> {
        if let Some(asked) = &self.offline {
            return Err(format!("{asked} allows no connection"));
        }
        if origin.scheme == Scheme::Http && !self.plain_text.contains(origin) {
            return Err("only https is allowed; an endpoint set to http is the one exception".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Url;

    #[test]
    fn offline_refuses_everything_and_plain_text_needs_to_be_named() {
        let origin = |text| Url::parse(text).unwrap().origin;
        let named = Policy { offline: None, plain_text: vec![origin("http://localhost:80")] };
        assert!(named.check(&origin("https://anything")).is_ok());
        assert!(named.check(&origin("http://localhost")).is_ok());
        assert!(named.check(&origin("http://localhost:81")).is_err());
        assert!(Policy::default().check(&origin("http://localhost")).is_err());
        let offline = Policy { offline: Some("--offline".into()), ..named };
        for text in ["https://anything", "http://localhost"] {
            assert!(offline.check(&origin(text)).unwrap_err().contains("--offline"));
        }
    }
}
