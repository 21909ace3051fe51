//! The passes of registries: a request without one is answered by 401 and the address where everybody gets one.
//!
//! A login that the user has for the registry ([`super::login`]) is sent along, by https or to the registry's own origin alone, and only
//! where the registry itself asks for it; without one nothing of the user's is. A registry may also want the login itself with each request. A pass lasts some minutes, so a long
//! download asks for a new one when the old one is refused.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ingle_net::policy::Purpose;
use ingle_net::url::Scheme;
use ingle_net::url::encode_path;
use ingle_net::{Client, Credential, Request, Response, Url};
use serde::Deserialize;

use super::login::{Kept, Login};
use crate::answer::{Head, Verdict, judge};
use crate::error::Error;
use crate::fetch::Stop;

const ANSWER_BYTES_MAX: u64 = 256 << 10;
const PASS_BYTES_MAX: usize = 32 << 10;
const TIMEOUT: Duration = Duration::from_secs(30);

/// The pass of one image, once there is one, and what the user has for its registry. Shared by all connections that fetch its layers.
#[derive(Debug, Default)]
pub struct Passes {
    shown: Mutex<Option<Shown>>,
    kept: Option<Kept>,
    registry: Option<Url>,
}

/// What a server is shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    /// A pass or a token.
    Token(String),
    /// A login.
    Login(Login),
}

impl Shown {
    pub(crate) fn credential(&self) -> Credential<'_> {
        match self {
            Self::Token(token) => Credential::Bearer(token),
            Self::Login(login) => Credential::Basic(login.basic()),
        }
    }
}

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(..)")
    }
}

/// Where a pass is to be had, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The address that gives passes.
    pub realm: String,
    /// What is asked of it: `service` and `scope`.
    pub query: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Passes {
    /// For an image at `registry`, of which `kept` is known.
    pub fn new(registry: &Url, kept: Option<Kept>) -> Self {
        Self { shown: Mutex::new(None), kept, registry: Some(registry.clone()) }
    }

    /// What to show now.
    pub(crate) fn shown(&self) -> Option<Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, what: Shown) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    fn login(&self) -> Option<&Login> {
        match &self.kept {
            Some(Kept::Login(login)) => Some(login),
            _ => None,
        }
    }

    /// Whether the login may be sent to the address where passes are to be had.
    fn is_for(&self, realm: &Url) -> bool {
        realm.origin.scheme == Scheme::Https
            || self.registry.as_ref().is_some_and(|r| r.origin == realm.origin)
    }

    /// Why a registry gives nothing, as far as that can be known.
    pub(crate) fn why_denied(&self) -> String {
        match &self.kept {
            None => "the registry has no such model, or does not give it to everybody: `docker login` or `podman login` keeps a name and password for it".into(),
            Some(Kept::Login(_)) => "the registry has no such model, or does not give it to the login that is kept for it".into(),
            Some(Kept::Program(helper)) => format!("the registry does not give it to everybody, and its login is kept by docker-credential-{}, which was not asked", helper.name),
            Some(Kept::Elsewhere(what)) => format!("the registry does not give it to everybody, and its login is kept by {what}, which is not asked; a plain login in docker's file is"),
        }
    }

    /// After a refusal: asks for a pass where the refusal says one is to be had. Says whether there is a new one.
    pub(crate) fn renew(&self, client: &Client, refusal: &Response) -> Result<bool, Stop> {
        // Where a redirect leads, others may say what they like.
        if self.registry.as_ref().is_none_or(|registry| registry.origin != refusal.url.origin) {
            return Ok(false);
        }
        let asked = refusal.header("www-authenticate").unwrap_or_default();
        let Some(challenge) = parse(asked) else {
            // It wants the login itself; once that was shown, it was refused.
            let is_basic = asked.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"));
            return Ok(match self.login().filter(|_| is_basic && self.shown().is_none()) {
                Some(login) => {
                    self.show(Shown::Login(login.clone()));
                    true
                }
                None => false,
            });
        };
        let url = address(&challenge)
            .map_err(|expected| wrong(&refusal.url, format!("the realm {:?}", challenge.realm), expected))?;
        let request = Request {
            purpose: Purpose::RegistryPass,
            url: &url,
            token: self.login().filter(|_| self.is_for(&url)).map(|login| Credential::Basic(login.basic())),
            from: 0,
            to: None,
            if_range: None,
            accept: None,
            timeout: Some(TIMEOUT),
        };
        let passing = |e: ingle_net::Error| match e {
            ingle_net::Error::Connection { .. } => Stop::Later(e.into(), None),
            e => Stop::Final(e.into()),
        };
        let response = client.get(&request).map_err(passing)?;
        let status = response.status;
        match judge(&Head { content_length: Some(0), ..Head::of(&response) }, 0, None) {
            Verdict::Restart { .. } => {}
            Verdict::Later(asked) => {
                let said = ", expected a pass; try again later".to_owned();
                return Err(Stop::Later(Error::Status { url: url.origin.to_string(), status, said }, asked));
            }
            // It gives none to everybody, or knows nothing of the kind: the refusal stands.
            _ => return Ok(false),
        }
        let bytes = response.read_whole(ANSWER_BYTES_MAX).map_err(passing)?;
        let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
        let pass = answer.and_then(|a| a.token.or(a.access_token)).filter(|pass| is_plain(pass));
        let Some(pass) = pass else {
            return Err(wrong(&url, "no pass".into(), "JSON with a token").into());
        };
        self.show(Shown::Token(pass));
        Ok(true)
    }
}

fn is_plain(pass: &str) -> bool {
    (1..=PASS_BYTES_MAX).contains(&pass.len()) && pass.bytes().all(|b| b.is_ascii_graphic())
}

fn wrong(url: &Url, found: String, expected: &str) -> Error {
    Error::Mismatch {
        file: url.origin.to_string(),
        part: "pass".into(),
        found,
        expected: expected.to_owned(),
    }
}

/// Reads `Bearer realm="...",service="...",scope="..."`; `None` for another scheme.
pub fn parse(text: &str) -> Option<Challenge> {
    let (scheme, mut rest) = text.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut realm = None;
    let mut query = Vec::new();
    while let Some((name, behind)) = rest.trim_start_matches([' ', ',']).split_once('=') {
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => behind.split_once(',').unwrap_or((behind, "")),
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            name @ ("service" | "scope") => query.push((name.to_owned(), value.to_owned())),
            _ => {}
        }
        rest = behind;
    }
    Some(Challenge { realm: realm?, query })
}

/// Where to ask.
fn address(challenge: &Challenge) -> Result<Url, &'static str> {
    let mut text = challenge.realm.clone();
    for (name, value) in &challenge.query {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(&format!("{name}={}", encode_path(value)));
    }
    Url::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_becomes_an_address() {
        let text = r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push", error="x""#;
        let challenge = parse(text).unwrap();
        assert_eq!(challenge.realm, "https://auth.example/token");
        assert_eq!(
            address(&challenge).unwrap().to_string(),
            "https://auth.example/token?service=registry.example&scope=repository%3Aa/b%3Apull%2Cpush"
        );
        let bare = parse("bearer realm=https://a/t?x=1, service=s").unwrap();
        assert_eq!(address(&bare).unwrap().to_string(), "https://a/t?x=1&service=s");
    }

    #[test]
    fn other_challenges_are_left_alone() {
        for text in ["Basic realm=\"x\"", "Bearer", "Bearer service=\"x\"", "Bearer realm=\"x", ""] {
            assert_eq!(parse(text), None, "{text}");
        }
        let blank = Challenge { realm: "https://a b".into(), query: Vec::new() };
        assert!(address(&blank).is_err());
    }
}
