//! Where things live: the XDG folders, with the customary places when the variables are not set.

use std::path::PathBuf;

/// The folders of one user.
#[derive(Debug, Clone)]
pub struct Dirs {
    /// `config.toml`.
    pub config: PathBuf,
    /// History.
    pub state: PathBuf,
}

impl Dirs {
    /// From the environment, given as a function so that tests need not change the process's own.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let home =
            var("HOME").or_else(|| var("USERPROFILE")).map_or_else(|| PathBuf::from("."), PathBuf::from);
        // The specification: a relative path is to be ignored.
        let xdg = |name: &str| var(name).map(PathBuf::from).filter(|p| p.is_absolute());
        Self {
            config: xdg("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("ingle"),
            state: xdg("XDG_STATE_HOME").unwrap_or_else(|| home.join(".local/state")).join("ingle"),
        }
    }
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
    }
}
