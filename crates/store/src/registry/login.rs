//! Names and passwords for registries, as `docker login` and `podman login` keep them.
//!
//! Their file has `{"auths": {"ghcr.io": {"auth": "BASE64 OF NAME:PASSWORD"}}}`. What is there is shown to that registry, and to the
//! address where it says that passes are to be had; nothing else sees it, and no message repeats it. Programs that keep logins
//! (`credHelpers`, `credsStore`) are named here and their answers read; who pulls runs them ([`Helper`]). Left out: identity tokens;
//! whoever needs them is told so.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingle_net::Url;
use serde::Deserialize;
use serde::de::IgnoredAny;
use zeroize::Zeroizing;

/// More is no such file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;
const LOGIN_BYTES_MAX: usize = 16 << 10;
/// What docker's own registry is listed under, and its other names.
const DOCKER: (&str, [&str; 2]) = ("index.docker.io", ["registry-1.docker.io", "docker.io"]);
/// What may stand behind a registry's name and still mean all of it.
const VERSIONS: [&str; 3] = ["", "v1", "v2"];
/// What programs that keep logins know it by.
const DOCKER_SERVER: &str = "https://index.docker.io/v1/";
/// The name that stands before a token that is no password.
const TOKEN_NAME: &str = "<token>";

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
    /// A program has it.
    Program(Helper),
    /// Something that can't be used, and what.
    Elsewhere(String),
}

/// A program that keeps logins: asked by its only argument `get`, with the registry's name on its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// What it is called behind `docker-credential-`: no path.
    pub name: String,
    /// The registry, as the program knows it.
    pub server: String,
}

/// The logins of a user, by host; `None` where a program had none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Logins {
    by_host: BTreeMap<String, Option<Kept>>,
    /// A program that keeps all others.
    store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Content {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
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
        let store = content.creds_store.filter(|name| !name.is_empty());
        if let Some(wrong) = store.iter().chain(content.cred_helpers.values()).find(|name| !is_program(name))
        {
            return Err(format!(
                "a program that keeps logins called {wrong:?}, expected letters, digits, - and _"
            ));
        }
        let mut logins = Self { store, ..Self::default() };
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
            logins.by_host.extend(host_of(&host).map(|host| (host, Some(kept))));
        }
        for (server, name) in content.cred_helpers {
            let host = host_of(&server);
            logins.by_host.extend(host.map(|host| (host, Some(Kept::Program(Helper { name, server })))));
        }
        Ok(logins)
    }

    /// What is known of the registry at `url`.
    pub fn of(&self, url: &Url) -> Option<Kept> {
        let host = host_at(url);
        if let Some(kept) = self.by_host.get(&host) {
            return kept.clone();
        }
        let server = if host == DOCKER.0 { DOCKER_SERVER.to_owned() } else { host };
        self.store.clone().map(|name| Kept::Program(Helper { name, server }))
    }

    /// Notes what a program had for the registry at `url`.
    pub fn note(&mut self, url: &Url, kept: Option<Kept>) {
        self.by_host.insert(host_at(url), kept);
    }
}

impl Helper {
    /// Reads what the program wrote when it ended well.
    ///
    /// # Errors
    /// That it is no login; never what is in it.
    pub fn read(answer: &[u8]) -> Result<Kept, String> {
        let wrong = || "expected a name and a secret".to_owned();
        let Answer { username, secret } = serde_json::from_slice(answer).map_err(|_| wrong())?;
        if username.as_str() == TOKEN_NAME {
            return Ok(Kept::Elsewhere("an identity token".into()));
        }
        let both = Zeroizing::new(format!("{}:{}", *username, *secret));
        if username.contains(':') || both.len() > LOGIN_BYTES_MAX / 2 {
            return Err(wrong());
        }
        Ok(Kept::Login(Login(Zeroizing::new(STANDARD.encode(both.as_bytes())))))
    }
}

/// What a program that keeps logins writes.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: Zeroizing<String>,
    secret: Zeroizing<String>,
}

/// Letters that lead to no other folder.
fn is_program(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// What the registry at `url` is listed under.
fn host_at(url: &Url) -> String {
    host_of(&url.origin.to_string()).unwrap_or_default()
}

/// Host and port of an entry's name, which may be an address; `None` for one that is of a part of a registry.
fn host_of(name: &str) -> Option<String> {
    let rest = name.split_once("://").map_or(name, |(_, rest)| rest).to_lowercase();
    let (host, path) = rest.split_once('/').unwrap_or((&rest, ""));
    let host = host.strip_suffix(":443").unwrap_or(host);
    let host = if DOCKER.1.contains(&host) { DOCKER.0 } else { host };
    VERSIONS.contains(&path.trim_end_matches('/')).then(|| host.to_owned())
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
            "quay.io/team": {"auth": "dGVhbTp4"},
            "v2.example/v2/": {"auth": "djI6eA=="},
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
        assert_eq!(basic("https://v2.example"), "djI6eA==");
        for url in [
            "https://box.lan",
            "https://box.lan:5001",
            "https://empty.example",
            "https://evil.ghcr.io",
            // Of a part of it, and perhaps not of the part that is asked for.
            "https://quay.io",
        ] {
            assert_eq!(basic(url), "None", "{url}");
        }
        let helper = |name: &str, server: &str| {
            Some(Kept::Program(Helper { name: name.into(), server: server.into() }))
        };
        assert_eq!(of(&logins, "https://gcr.io"), helper("gcloud", "gcr.io"));
        assert!(basic("https://token.example").contains("identity token"));
        let store = Logins::parse(br#"{"auths": {"a.example": {}}, "credsStore": "desktop"}"#).unwrap();
        assert_eq!(of(&store, "https://a.example"), helper("desktop", "a.example"));
        assert_eq!(of(&store, "https://docker.io"), helper("desktop", "https://index.docker.io/v1/"));
        let docker = Logins::parse(br#"{"auths": {"docker.io": {"auth": "ZG9ja2VyOngK"}}}"#).unwrap();
        for url in ["https://docker.io", "https://index.docker.io", "https://registry-1.docker.io"] {
            assert!(matches!(of(&docker, url), Some(Kept::Login(_))), "{url}");
        }
        let mut asked = store.clone();
        let a = Url::parse("https://a.example").unwrap();
        asked.note(&a, None);
        assert_eq!(asked.of(&a), None);
        for path in ["../x", "a/b", "a b", "/bin/sh"] {
            let file = format!(r#"{{"credsStore": "{path}"}}"#);
            assert!(Logins::parse(file.as_bytes()).unwrap_err().contains("expected letters"), "{path}");
        }
    }

    #[test]
    fn what_a_program_says_is_a_login_or_refused_without_repeating_it() {
        let read = |text: &str| Helper::read(text.as_bytes());
        let login = read(r#"{"ServerURL": "s", "Username": "name", "Secret": "secret"}"#).unwrap();
        assert!(matches!(login, Kept::Login(login) if login.basic() == "bmFtZTpzZWNyZXQ="));
        let token = read(r#"{"Username": "<token>", "Secret": "secret"}"#).unwrap();
        assert_eq!(token, Kept::Elsewhere("an identity token".into()));
        for wrong in ["", "secret", r#"{"Username": "a:b", "Secret": "secret"}"#, r#"{"Username": "secret"}"#]
        {
            let said = read(wrong).unwrap_err();
            assert!(!said.contains("secret:") && said.ends_with("a name and a secret"), "{said}");
        }
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
