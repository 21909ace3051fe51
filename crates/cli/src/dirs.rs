//! Where things live: the XDG folders, with the customary places when the variables are not set.

use std::path::{Path, PathBuf};

/// The folders of one user.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// `config.toml`.
    pub config: PathBuf,
    /// History, and words of answers where they are kept.
    pub state: PathBuf,
    /// What can be made again.
    pub cache: PathBuf,
    /// Names given to models, and models that are in no cache.
    pub data: PathBuf,
    /// The hub's cache, shared with other programs.
    pub hub_cache: PathBuf,
    /// The hub's own folder, where its programs keep the token.
    pub hub_home: PathBuf,
    /// Where Ollama keeps layers, whose content is used where it lies.
    pub ollama_blobs: Vec<PathBuf>,
}

impl Dirs {
    /// From the environment, given as a function so that tests need not change the process's own.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let home =
            var("HOME").or_else(|| var("USERPROFILE")).map_or_else(|| PathBuf::from("."), PathBuf::from);
        // The specification: a relative path is to be ignored.
        let xdg = |name: &str| var(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let given = |name: &str| var(name).filter(|v| !v.is_empty()).map(|v| expand_home(&v, &home));
        let hub_home = given("HF_HOME").unwrap_or_else(|| {
            xdg("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("huggingface")
        });
        Self {
            data: xdg("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share")).join("ingle"),
            hub_cache: given("HF_HUB_CACHE")
                .or_else(|| given("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| hub_home.join("hub")),
            hub_home,
            ollama_blobs: match given("OLLAMA_MODELS") {
                Some(models) => vec![models.join("blobs")],
                None => [home.as_path(), Path::new("/usr/share/ollama")]
                    .map(|home| home.join(".ollama/models/blobs"))
                    .to_vec(),
            },
            cache: xdg("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("ingle"),
            config: xdg("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("ingle"),
            state: xdg("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("ingle"),
        }
    }
}

/// `~/x` is below the home folder, as the hub's own programs read it.
fn expand_home(text: &str, home: &Path) -> PathBuf {
    text.strip_prefix("~/").map_or_else(|| PathBuf::from(text), |rest| home.join(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_come_before_home_and_relative_ones_are_ignored() {
        let home = std::env::temp_dir();
        let vars = |name: &str| match name {
            "HOME" => Some(home.display().to_string()),
            "XDG_CONFIG_HOME" => Some(home.join("c").display().to_string()),
            "XDG_STATE_HOME" => Some("relative".to_owned()),
            _ => None,
        };
        let dirs = Dirs::from_vars(vars);
        assert_eq!(dirs.config, home.join("c/ingle"));
        assert_eq!(dirs.state, home.join(".local/state/ingle"));
        assert_eq!(dirs.data, home.join(".local/share/ingle"));
        assert_eq!(dirs.hub_cache, home.join(".cache/huggingface/hub"));
    }

    #[test]
    fn the_hubs_variables_say_where_its_cache_is() {
        let dirs = |set: &[(&str, &str)]| {
            let home = [("HOME", "/h")];
            Dirs::from_vars(|name| {
                home.iter().chain(set).find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned())
            })
        };
        for (set, expected) in [
            (&[("HF_HOME", "/x")][..], "/x/hub"),
            (&[("HF_HOME", "~/x"), ("HF_HUB_CACHE", "")], "/h/x/hub"),
            (&[("HF_HOME", "/x"), ("HF_HUB_CACHE", "/y")], "/y"),
            (&[("XDG_CACHE_HOME", "/c")], "/c/huggingface/hub"),
        ] {
            assert_eq!(dirs(set).hub_cache, Path::new(expected), "{set:?}");
        }
    }
}
