//! The client: one request at a time, redirects followed by hand.
//!
//! Each hop is checked by the policy and entered in the ledger before anything is sent. The token goes to the origin it was
//! given for and to no other; a redirect from https to http is refused like any other plain-text connection.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, Body, Proxy, ProxyProtocol};

use crate::error::{Error, Result, explain, failed};
use crate::ledger::Ledger;
use crate::meter::Meter;
use crate::policy::{Policy, Purpose};
use crate::stop::Stop;
use crate::url::{Scheme, Url};

const REDIRECTS_MAX: usize = 8;
/// Bytes an answer's head may have; the hub's redirects carry signed addresses of a few KB.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What a client is made of. Nothing is read from the environment here.
#[derive(Debug, Clone)]
pub struct Options {
    /// What is allowed.
    pub policy: Policy,
    /// Who we say we are.
    pub user_agent: String,
    /// Proxies, as the user's environment names them.
    pub proxies: Proxies,
    /// Certificates (PEM) to trust in place of Mozilla's.
    pub root_certificates: Option<Vec<u8>>,
    /// Time to look up a name and connect.
    pub connect_timeout: Duration,
    /// Longest silence of a server before the connection counts as stalled.
    pub stall_timeout: Duration,
    /// Raised when the user wants to stop; a wait then ends within a fraction of a second.
    pub interrupted: Arc<AtomicBool>,
}

/// Proxies by the scheme of the destination, and the hosts that are reached without one.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// For `https` destinations.
    pub https: Option<String>,
    /// For `http` destinations.
    pub http: Option<String>,
    /// Host names, or ends of names (`.example.org`, `example.org`), or `*`.
    pub except: Vec<String>,
}

/// What is sent as `Authorization`.
#[derive(Clone, Copy)]
pub enum Credential<'a> {
    /// A token.
    Bearer(&'a str),
    /// A name and a password, joined by a colon, in base64.
    Basic(&'a str),
}

impl std::fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(..)",
            Self::Basic(_) => "Basic(..)",
        })
    }
}

/// A GET request.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// On whose behalf.
    pub purpose: Purpose,
    /// What is asked for.
    pub url: &'a Url,
    /// Shown to the origin of `url`, and nowhere else.
    pub token: Option<Credential<'a>>,
    /// Ask for the bytes from this one on.
    pub from: u64,
    /// Ask for the bytes up to this one and no further; `None` for all there are.
    pub to: Option<u64>,
    /// Only if the content still has this entity tag; otherwise the whole is wanted.
    pub if_range: Option<&'a str>,
    /// Kinds of content that are understood, where a server has several.
    pub accept: Option<&'a str>,
    /// Time for the whole exchange; `None` for long transfers, which only must not stall.
    pub timeout: Option<Duration>,
}

/// A POST request.
#[derive(Debug, Clone)]
pub struct Post<'a> {
    /// On whose behalf.
    pub purpose: Purpose,
    /// Where to. A redirect is not followed: what is sent goes nowhere else.
    pub url: &'a Url,
    /// Names and values of headers beside `Content-Type: application/json`; a secret one is in good hands, for errors repeat none.
    pub headers: &'a [(&'a str, String)],
    /// A JSON document.
    pub body: &'a [u8],
    /// Time for the whole exchange.
    pub timeout: Option<Duration>,
}

/// An answer whose head has arrived.
#[derive(Debug)]
pub struct Response {
    /// 200, 206, 404, ...
    pub status: u16,
    /// Where it came from, after redirects.
    pub url: Url,
    headers: HeaderMap,
    body: Body,
    stop: Stop,
}

/// The one way out. Clones share connections and ledger.
#[derive(Debug, Clone)]
pub struct Client {
    options: Options,
    direct: Agent,
    via_https: Option<Agent>,
    via_http: Option<Agent>,
    ledger: Ledger,
    stop: Stop,
}

impl Client {
    /// Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Input`] for a proxy or certificates that can't be used.
    pub fn new(options: Options) -> Result<Self> {
        let stop = Stop::new(options.interrupted.clone());
        Self::with(options, Ledger::default(), stop)
    }

    /// A client for another thread: with connections of its own, which also end when `stop` is raised, and the same ledger.
    ///
    /// # Errors
    /// As [`Client::new`], which has succeeded with the same options.
    pub fn fork(&self, stop: Arc<AtomicBool>) -> Result<Self> {
        Self::with(self.options.clone(), self.ledger.fork(), self.stop.or(stop))
    }

    fn with(options: Options, ledger: Ledger, stop: Stop) -> Result<Self> {
        let meter = Meter { ledger: ledger.clone(), stop: stop.clone() };
        let tls = tls_config(options.root_certificates.as_deref())?;
        let agent = |proxy: Option<Proxy>| {
            let config = Agent::config_builder()
                .proxy(proxy)
                .tls_config(tls.clone())
                .http_status_as_error(false)
                .max_redirects(0)
                .max_response_header_size(HEAD_BYTES_MAX)
                .user_agent(&options.user_agent)
                .accept_encoding("identity")
                .timeout_resolve(Some(options.connect_timeout))
                .timeout_connect(Some(options.connect_timeout))
                .timeout_per_read(Some(options.stall_timeout))
                .timeout_per_write(Some(options.stall_timeout))
                .build();
            let chain = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default());
            let chain = chain.chain(meter.clone()).chain(RustlsConnector::default());
            Agent::with_parts(config, chain, DefaultResolver::default())
        };
        let proxied = |text: &Option<String>| text.as_deref().map(|t| parse_proxy(t).map(|p| agent(Some(p))));
        Ok(Self {
            direct: agent(None),
            via_https: proxied(&options.proxies.https).transpose()?,
            via_http: proxied(&options.proxies.http).transpose()?,
            options,
            ledger,
            stop,
        })
    }

    /// What this client sent and received so far.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether the user wants to stop.
    pub fn is_interrupted(&self) -> bool {
        self.stop.is_raised()
    }

    /// Asks, following redirects. Any status but a redirect is an answer, not an error.
    ///
    /// # Errors
    /// [`Error::Blocked`] before anything is sent, [`Error::Connection`] when no whole head arrives, [`Error::Untrusted`], [`Error::Answer`] for
    /// redirects that lead nowhere, [`Error::Interrupted`].
    pub fn get(&self, request: &Request<'_>) -> Result<Response> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let allowed = self.options.policy.check(&url.origin);
            self.ledger.begin(request.purpose, &url.origin, allowed.is_ok());
            allowed.map_err(|reason| Error::Blocked { url: url.origin.to_string(), reason })?;
            let response = self.send(request, &url)?;
            let status = response.status();
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let (head, body) = response.into_parts();
                let stop = self.stop.clone();
                return Ok(Response { status: status.as_u16(), url, headers: head.headers, body, stop });
            }
            url = redirect(&url, status, response.headers())?;
        }
        Err(Error::Answer {
            url: request.url.to_string(),
            found: format!("more than {REDIRECTS_MAX} redirects"),
            expected: "the content".into(),
        })
    }

    /// Sends a body, once, to one address. Any status is an answer, not an error.
    ///
    /// # Errors
    /// As [`Self::get`]; [`Error::Answer`] for a redirect.
    pub fn post(&self, post: &Post<'_>) -> Result<Response> {
        let allowed = self.options.policy.check(&post.url.origin);
        self.ledger.begin(post.purpose, &post.url.origin, allowed.is_ok());
        allowed.map_err(|reason| Error::Blocked { url: post.url.origin.to_string(), reason })?;
        let mut builder = self.agent(post.url).post(post.url.to_string());
        builder = builder.header("Content-Type", "application/json");
        for (name, value) in post.headers {
            builder = builder.header(*name, checked_header(name, value)?);
        }
        let sent = builder.config().timeout_per_call(post.timeout).build().send(post.body);
        let response =
            sent.map_err(|e| if self.is_interrupted() { Error::Interrupted } else { failed(post.url, &e) })?;
        let (head, body) = response.into_parts();
        if head.status.is_redirection() {
            return Err(Error::Answer {
                url: post.url.origin.to_string(),
                found: format!("a redirect ({})", head.status.as_u16()),
                expected: "an answer from the address itself".into(),
            });
        }
        let (status, url, stop) = (head.status.as_u16(), post.url.clone(), self.stop.clone());
        Ok(Response { status, url, headers: head.headers, body, stop })
    }

    /// One hop.
    fn send(&self, request: &Request<'_>, url: &Url) -> Result<ureq::http::Response<Body>> {
        let mut builder = self.agent(url).get(url.to_string());
        if let Some(token) = request.token.filter(|_| url.origin == request.url.origin) {
            let (scheme, token) = match token {
                Credential::Bearer(token) => ("Bearer", token),
                Credential::Basic(login) => ("Basic", login),
            };
            builder = builder.header("Authorization", format!("{scheme} {}", checked_token(token)?));
        }
        if let Some(kinds) = request.accept {
            builder = builder.header("Accept", kinds);
        }
        if request.from > 0 || request.to.is_some() {
            let to = request.to.map(|to| to.to_string()).unwrap_or_default();
            builder = builder.header("Range", format!("bytes={}-{to}", request.from));
            if let Some(tag) = request.if_range {
                builder = builder.header("If-Range", tag);
            }
        }
        let sent = builder.config().timeout_per_call(request.timeout).build().call();
        sent.map_err(|e| {
            if self.is_interrupted() {
                return Error::Interrupted;
            }
            failed(url, &e)
        })
    }

    fn agent(&self, url: &Url) -> &Agent {
        let proxied = match url.origin.scheme {
            Scheme::Https => &self.via_https,
            Scheme::Http => &self.via_http,
        };
        match proxied {
            Some(agent) if !self.options.proxies.is_excepted(&url.origin.host) => agent,
            _ => &self.direct,
        }
    }
}

impl Proxies {
    fn is_excepted(&self, host: &str) -> bool {
        self.except.iter().map(|e| e.trim().to_ascii_lowercase()).any(|except| {
            let name = except.trim_start_matches("*.").trim_start_matches('.');
            except == "*" || (!name.is_empty() && (host == name || host.ends_with(&format!(".{name}"))))
        })
    }
}

impl Response {
    /// A header's text; `None` when it is missing or not ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Content-Length`, where the server gives one.
    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// The content as it comes.
    pub fn into_reader(self) -> impl Read {
        BodyReader { body: self.body.into_reader(), stop: self.stop }
    }

    /// The whole content, if it has at most `bytes_max`.
    ///
    /// # Errors
    /// [`Error::Answer`] for a longer one, [`Error::Connection`] when it breaks off.
    pub fn read_whole(self, bytes_max: u64) -> Result<Vec<u8>> {
        let url = self.url.to_string();
        let stop = self.stop.clone();
        let mut bytes = Vec::new();
        if let Err(e) = self.into_reader().take(bytes_max + 1).read_to_end(&mut bytes) {
            if stop.is_raised() {
                return Err(Error::Interrupted);
            }
            return Err(Error::Connection { url, reason: e.to_string() });
        }
        if bytes.len() as u64 > bytes_max {
            let (found, expected) = ("a longer text".into(), format!("at most {bytes_max} bytes"));
            return Err(Error::Answer { url, found, expected });
        }
        Ok(bytes)
    }
}

/// A body whose errors speak our words; [`io::ErrorKind::Interrupted`] is left to the system, which retries it.
struct BodyReader<R> {
    body: R,
    stop: Stop,
}

impl<R: Read> Read for BodyReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_raised() {
            return Err(io::Error::other("interrupted"));
        }
        self.body.read(buffer).map_err(|e| io::Error::new(e.kind(), explain(&ureq::Error::from(e))))
    }
}

fn redirect(url: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Url> {
    let wrong = |found: String| Error::Answer {
        url: url.origin.to_string(),
        found,
        expected: "a redirect to an https address".into(),
    };
    let location = headers.get("location").and_then(|l| l.to_str().ok());
    let location = location.ok_or_else(|| wrong(format!("{} without a Location", status.as_u16())))?;
    url.join(location).map_err(|expected| wrong(format!("a redirect to {location:?} ({expected})")))
}

fn checked_token(token: &str) -> Result<&str> {
    if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(token);
    }
    Err(Error::Input {
        what: "token".into(),
        found: format!("{} characters", token.chars().count()),
        expected: "expected visible ASCII characters only".into(),
    })
}

fn checked_header<'a>(name: &str, value: &'a str) -> Result<&'a str> {
    if value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Ok(value);
    }
    Err(Error::Input {
        what: name.to_owned(),
        found: format!("{} characters", value.chars().count()),
        expected: "expected visible ASCII characters only".into(),
    })
}

fn parse_proxy(text: &str) -> Result<Proxy> {
    // The address may hold a password: it is not repeated.
    let wrong = |expected: &str| Error::Input {
        what: "proxy".into(),
        found: text.rsplit('@').next().unwrap_or_default().to_owned(),
        expected: expected.to_owned(),
    };
    let proxy = Proxy::new(text).map_err(|_| wrong("expected an address like http://host:port"))?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        _ => Err(wrong("expected an http proxy; SOCKS is not supported")),
    }
}

fn tls_config(pem: Option<&[u8]>) -> Result<TlsConfig> {
    let Some(pem) = pem else {
        return Ok(TlsConfig::builder().root_certs(RootCerts::WebPki).build());
    };
    let certificates: Vec<_> = parse_pem(pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(Error::Input {
            what: "SSL_CERT_FILE".into(),
            found: format!("{} bytes", pem.len()),
            expected: "expected at least one certificate in PEM form".into(),
        });
    }
    Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&certificates)).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_left_out_for_the_hosts_named() {
        let except = |list: &[&str]| Proxies {
            except: list.iter().map(|s| (*s).into()).collect(),
            ..Proxies::default()
        };
        let local = except(&["localhost", ".corp.example", " *.lan "]);
        for (host, expected) in [
            ("localhost", true),
            ("notlocalhost", false),
            ("a.corp.example", true),
            ("corp.example", true),
            ("a.lan", true),
            ("example", false),
        ] {
            assert_eq!(local.is_excepted(host), expected, "{host}");
        }
        assert!(except(&["*"]).is_excepted("anything"));
        assert!(!except(&["", "."]).is_excepted("anything"));
    }

    #[test]
    fn unusable_proxies_certificates_and_tokens_are_named_but_not_repeated() {
        let said = parse_proxy("socks5://user:secret@host:1").unwrap_err().to_string();
        assert!(said.contains("SOCKS") && !said.contains("secret"), "{said}");
        assert!(parse_proxy("http://host:3128").is_ok());
        assert!(tls_config(Some(b"nothing")).unwrap_err().to_string().contains("PEM"));
        let said = checked_token("hf_secret\r\nHost: x").unwrap_err().to_string();
        assert!(said.contains("token") && !said.contains("secret"), "{said}");
    }
}
