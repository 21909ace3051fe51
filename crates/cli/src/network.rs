//! What the environment says about the network: the hub's endpoint and token, proxies, certificates, offline.
//!
//! Nothing is connected here, and nothing is checked before a command needs the network: a wrong proxy must not stop
//! `ingle run demo`.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ingle_net::client::Proxies;
use ingle_net::policy::Policy;
use ingle_net::url::Scheme;
use ingle_net::{Client, LocalServer, Options, Url};
use ingle_store::pull::Hub;
use ingle_store::reference::ENDPOINT;
use ingle_store::registry::login::{self, Logins};
use zeroize::Zeroizing;

use crate::env::Env;
use crate::exit::Failure;
use crate::settings::{self, Source};

const USER_AGENT: &str = concat!("ingle/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest that a server may be silent.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// The variables, as they are.
#[derive(Debug, Default)]
pub struct Network {
    endpoint: Option<String>,
    token: Option<String>,
    token_path: Option<PathBuf>,
    /// Files that may have names and passwords for registries, the first that is there counts.
    logins: Vec<PathBuf>,
    hub_offline: bool,
    proxies: Proxies,
    root_certificates: Option<PathBuf>,
}

impl Network {
    /// From the environment, given as a function so that tests need not change the process's own.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| var(name).filter(|v| !v.trim().is_empty());
        let any = |names: &[&str]| names.iter().find_map(|name| set(name));
        Self {
            endpoint: set("HF_ENDPOINT"),
            token: any(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).map(|t| t.trim().to_owned()),
            token_path: set("HF_TOKEN_PATH").map(PathBuf::from),
            logins: [
                set("REGISTRY_AUTH_FILE").map(PathBuf::from),
                set("DOCKER_CONFIG").map(|folder| PathBuf::from(folder).join("config.json")),
                any(&["HOME", "USERPROFILE"]).map(|home| PathBuf::from(home).join(".docker/config.json")),
                set("XDG_RUNTIME_DIR").map(|folder| PathBuf::from(folder).join("containers/auth.json")),
            ]
            .into_iter()
            .flatten()
            .collect(),
            hub_offline: set("HF_HUB_OFFLINE").is_some_and(|v| settings::truth(&v) == Some(true)),
            proxies: Proxies {
                https: any(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
                http: any(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
                except: any(&["no_proxy", "NO_PROXY"])
                    .map(|list| list.split(',').map(|e| e.trim().to_owned()).collect())
                    .unwrap_or_default(),
            },
            root_certificates: any(&["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"]).map(PathBuf::from),
        }
    }
}

/// The hub as this user reaches it.
///
/// # Errors
/// A usage failure for an endpoint that is no address; one of the token file, if it can't be read.
pub fn hub(env: &Env) -> Result<Hub, Failure> {
    let text = env.network.endpoint.as_deref().unwrap_or(ENDPOINT);
    let endpoint =
        Url::parse(text).map_err(|expected| Failure::usage(format!("HF_ENDPOINT: {text:?}, {expected}")))?;
    let token = match &env.network.token {
        Some(token) => Some(token.clone()),
        None => {
            let usual = env.dirs.hub_home.join("token");
            read_token(env.network.token_path.as_deref().unwrap_or(&usual))?
        }
    };
    Ok(Hub { endpoint, token })
}

/// The registry of images that name none.
pub fn registry(env: &Env) -> Result<Url, Failure> {
    let text = env.settings.text("ollama-registry").expect("it has a default");
    Url::parse(text).map_err(|expected| Failure::usage(format!("ollama-registry: {text:?}, {expected}")))
}

/// Names and passwords that `docker login` or `podman login` keep for registries.
pub fn logins(env: &Env) -> Result<Logins, Failure> {
    let Some(path) = env.network.logins.iter().find(|path| path.is_file()) else {
        return Ok(Logins::default());
    };
    let file = std::fs::File::open(path).map_err(|e| Failure::file(path, &e))?;
    let mut text = Zeroizing::new(Vec::new());
    file.take(login::FILE_BYTES_MAX).read_to_end(&mut text).map_err(|e| Failure::file(path, &e))?;
    Logins::parse(&text).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))
}

/// The way out, to the hub and elsewhere; in plain http only to the hub and to `named`, where the user named them so.
pub fn client(hub: &Hub, named: &[&Url], env: &Env) -> Result<Client, Failure> {
    let named: Vec<&Url> = [&hub.endpoint].into_iter().chain(named.iter().copied()).collect();
    client_to(&named, STALL_TIMEOUT, env)
}

/// The way out; in plain http only to `named`, where the user named them so. A server may be silent for `stall_timeout`.
pub fn client_to(named: &[&Url], stall_timeout: Duration, env: &Env) -> Result<Client, Failure> {
    Ok(Client::new(options_to(named, stall_timeout, env)?)?)
}

/// What [`client_to`] makes a client of.
pub fn options_to(named: &[&Url], stall_timeout: Duration, env: &Env) -> Result<Options, Failure> {
    let offline = match env.settings.get("offline") {
        Some(("true", Source::Flag)) => Some("--offline".to_owned()),
        Some(("true", source)) => Some(format!("offline = true ({source})")),
        _ => env.network.hub_offline.then(|| "HF_HUB_OFFLINE".to_owned()),
    };
    let root_certificates = match &env.network.root_certificates {
        Some(path) => Some(std::fs::read(path).map_err(|e| Failure::file(path, &e))?),
        None => None,
    };
    // Plain http is allowed where the user named it, and nowhere else.
    let named = named.iter().map(|url| &url.origin);
    let plain_text = named.filter(|o| o.scheme == Scheme::Http).cloned().collect();
    Ok(Options {
        policy: Policy { offline, plain_text },
        user_agent: USER_AGENT.to_owned(),
        proxies: env.network.proxies.clone(),
        root_certificates,
        connect_timeout: CONNECT_TIMEOUT,
        stall_timeout,
        interrupted: env.interrupted.clone(),
    })
}

/// A server of this program on this machine, by `--host`, `--port` and a key.
pub fn local_server(host: &str, port: u16, env: &Env) -> Result<LocalServer, Failure> {
    Ok(LocalServer::new(host, port, env.api_key.clone(), USER_AGENT, env.interrupted.clone())?)
}

fn read_token(path: &Path) -> Result<Option<String>, Failure> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|t| !t.is_empty())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::file(path, &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_variables_are_unset_and_small_letters_come_first() {
        let network = Network::from_vars(|name| {
            let value = match name {
                "HF_TOKEN" => "  ",
                "HUGGING_FACE_HUB_TOKEN" => " hf_x\n",
                "https_proxy" => "http://a:1",
                "HTTPS_PROXY" => "http://b:1",
                "ALL_PROXY" => "http://c:1",
                "NO_PROXY" => "localhost, .lan",
                "HF_HUB_OFFLINE" => "0",
                _ => return None,
            };
            Some(value.to_owned())
        });
        assert_eq!(network.token.as_deref(), Some("hf_x"));
        assert_eq!(network.proxies.https.as_deref(), Some("http://a:1"));
        assert_eq!(network.proxies.http.as_deref(), Some("http://c:1"));
        assert_eq!(network.proxies.except, ["localhost", ".lan"]);
        assert!(!network.hub_offline);
    }
}
