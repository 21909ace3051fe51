//! Names and passwords for registries, as `docker login` and `podman login` keep them.
//!
//! Their file has `{"auths": {"ghcr.io": {"auth": "BASE64 OF NAME:PASSWORD"}}}`. What is there is shown to that registry, and to the
//! address where it says that passes are to be had; nothing else sees it, and no message repeats it. Left out: programs that keep
//! logins (`credHelpers`, `credsStore`), which are not run, and identity tokens; whoever needs them is told so.

use std::collections::BTreeMap;
use std::fmt;

use ingle_net::Url;
use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

/// More is no such file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
const LOGIN_BYTES_MAX: usize = 16 << 10;
/// What docker's own registry is listed under, and where it is.
const DOCKER: (&str, [&str; 2]) = ("index.docker.io", ["registry-1.docker.io", "docker.io"]);

/// A name and a password, as they are sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Login(Zeroizing<String>);

impl Login {
    /// In the form of HTTP's basic scheme.
    pub fn basic(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// What is known of one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A login.
    Login(Login),
    /// Something that can't be used, and what.
    Elsewhere(String),
}

/// The logins of a user, by host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins {
    by_host: BTreeMap<String, Kept>,
    /// A program that keeps all others.
    store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Content {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, IgnoredAny>,
    creds_store: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
struct Entry {
    auth: Option<Zeroizing<String>>,
    identitytoken: Option<IgnoredAny>,
}

impl Logins {
    /// Reads such a file.
    ///
    /// # Errors
    /// That it is none; never what is in it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let content: Content = serde_json::from_slice(text)
            .map_err(|e| format!("no JSON of logins (line {}, column {})", e.line(), e.column()))?;
        let mut logins =
            Self { store: content.creds_store.map(|_| "a program (credsStore)".into()), ..Self::default() };
        for (host, entry) in content.auths {
            let kept = match entry {
                Entry { identitytoken: Some(_), .. } => Kept::Elsewhere("an identity token".into()),
                Entry { auth: Some(auth), .. } if is_basic(&auth) => Kept::Login(Login(auth)),
                Entry { auth: Some(auth), .. } if !auth.is_empty() => {
                    return Err("a login that is no base64 text".into());
                }
                // What a program keeps is listed here empty.
                _ => continue,
            };
            logins.by_host.insert(host_of(&host), kept);
        }
        for host in content.cred_helpers.into_keys() {
            logins.by_host.insert(host_of(&host), Kept::Elsewhere("a program (credHelpers)".into()));
        }
        Ok(logins)
    }

    /// What is known of the registry at `url`.
    pub fn of(&self, url: &Url) -> Option<Kept> {
        let origin = url.origin.to_string();
        let host = host_of(&origin);
        let host = if DOCKER.1.contains(&host.as_str()) { DOCKER.0.to_owned() } else { host };
        self.by_host.get(&host).cloned().or_else(|| self.store.clone().map(Kept::Elsewhere))
    }
}

/// Host and port of an entry's name, which may be an address.
fn host_of(name: &str) -> String {
    let rest = name.split_once("://").map_or(name, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default().to_lowercase();
    host.strip_suffix(":443").map_or(host.clone(), str::to_owned)
}

/// Characters of base64.
fn is_basic(text: &str) -> bool {
    (1..=LOGIN_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{
        "auths": {
            "ghcr.io": {"auth": "bmFtZTpzZWNyZXQ="},
            "https://index.docker.io/v1/": {"auth": "ZG9ja2VyOngK"},
            "box.lan:5000": {"auth": "Ym94Ong="},
            "empty.example": {},
            "token.example": {"auth": "eDp5", "identitytoken": "z"}
        },
        "credHelpers": {"gcr.io": "gcloud"},
        "HttpHeaders": {"User-Agent": "x"}
    }"#;

    fn of(logins: &Logins, url: &str) -> Option<Kept> {
        logins.of(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_registry_finds_its_own_login_and_no_other() {
        let logins = Logins::parse(FILE.as_bytes()).unwrap();
        let basic = |url: &str| match of(&logins, url) {
            Some(Kept::Login(login)) => login.basic().to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(basic("https://ghcr.io"), "bmFtZTpzZWNyZXQ=");
        assert_eq!(basic("https://registry-1.docker.io"), "ZG9ja2VyOngK");
        assert_eq!(basic("http://box.lan:5000"), "Ym94Ong=");
        for url in
            ["https://box.lan", "https://box.lan:5001", "https://empty.example", "https://evil.ghcr.io"]
        {
            assert_eq!(basic(url), "None", "{url}");
        }
        assert!(basic("https://gcr.io").contains("credHelpers"));
        assert!(basic("https://token.example").contains("identity token"));
        let store = Logins::parse(br#"{"auths": {"a.example": {}}, "credsStore": "desktop"}"#).unwrap();
        assert!(matches!(of(&store, "https://a.example"), Some(Kept::Elsewhere(_))));
    }

    #[test]
    fn secrets_are_never_said() {
        let logins = Logins::parse(FILE.as_bytes()).unwrap();
        assert!(!format!("{logins:?}").contains("bmFt"));
        for torn in
            [&FILE[..60], r#"{"auths": {"a": {"auth": "se cret"}}}"#, r#"{"auths": "bmFtZTpzZWNyZXQ="}"#]
        {
            let said = Logins::parse(torn.as_bytes()).unwrap_err();
            assert!(!said.contains("bmFt") && !said.contains("cret"), "{said}");
        }
    }
}
