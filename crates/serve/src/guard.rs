//! Who may ask: the checks that every request passes before its route.
//!
//! A page of another site must not use the server through somebody's browser, so the Host and Origin headers have to be ours or
//! allowed by name. Where keys are set, everything but the page and `/health` needs one, compared in constant time.

use std::fmt;
use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ingle_route::policy::Wish;
use std::sync::Arc;

use crate::refusal::Refusal;

/// Who asks: the one who has the key of this place in the list. Where none is needed, all are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller(pub usize);

/// A key to the server.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The key.
    pub key: String,
    /// What the ledger and rules call who has it.
    pub name: Option<String>,
    /// Where its requests may be answered.
    pub route: Wish,
}

impl ApiKey {
    /// One without a name, whose requests may be answered wherever the server's may.
    pub fn plain(key: impl Into<String>) -> Self {
        Self { key: key.into(), name: None, route: Wish::Auto }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("name", &self.name).field("route", &self.route).finish_non_exhaustive()
    }
}

/// What is allowed.
#[derive(Debug)]
pub struct Guard {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Any of these is a key; none means that none is needed.
    pub keys: Vec<ApiKey>,
    /// Host names besides the address and the loopback's.
    pub hosts: Vec<String>,
    /// Origins besides the server's own.
    pub origins: Vec<String>,
}

impl Guard {
    /// Whether the request is meant for this server and comes from where it may.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]
    fn check_source(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let host = hosts.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
        if hosts.next().is_some() {
            return Err(Refusal::Forbidden("a request with two Host headers, expected one".into()));
        }
        // A request line that names a host has the last word (RFC 9112), so it has to be ours as well.
        let named = uri.authority().map_or(host, Authority::as_str);
        if let Some(other) = [host, named].into_iter().find(|host| !self.is_host(host)) {
            return Err(Refusal::Forbidden(format!(
                "Host {other:?} is not this server's; start it with --allow-host to allow it"
            )));
        }
        for origin in headers.get_all(header::ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            if !self.is_origin(origin, host) {
                return Err(Refusal::Forbidden(format!(
                    "Origin {origin:?} may not use this server; start it with --allow-origin to allow it"
                )));
            }
        }
        Ok(())
    }

    /// Whose request it is; it has to have a key, where one is needed.
    ///
    /// # Errors
    /// [`Refusal::Unauthorized`]
    fn check_key(&self, path: &str, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let is_open = matches!(path, "/" | "/health" | "/favicon.ico") || path.starts_with("/page/");
        if self.keys.is_empty() || is_open {
            return Ok(Caller(0));
        }
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let bearer = text("authorization")
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let Some(given) = bearer.map(|(_, key)| key).or_else(|| text("x-api-key")) else {
            return Err(Refusal::Unauthorized("this server needs an API key: Authorization: Bearer KEY"));
        };
        // All keys are compared, whichever fits.
        let keys = self.keys.iter().enumerate();
        let found = keys.fold(None, |found, (at, key)| {
            let fits = same(key.key.as_bytes(), given.trim().as_bytes());
            found.or(fits.then_some(Caller(at)))
        });
        found.ok_or(Refusal::Unauthorized("the API key is not one of this server's"))
    }

    fn is_host(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let is_ours =
            name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback() || ip == self.address.ip());
        // Bound to every address, any number may be ours; a name can't be made to point elsewhere but by its owner.
        let is_any = self.address.ip().is_unspecified() && name.parse::<std::net::IpAddr>().is_ok();
        is_ours
            || is_any
            || name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|h| h.eq_ignore_ascii_case(name))
    }

    fn is_origin(&self, origin: &str, host: &str) -> bool {
        let is_own = origin.split_once("://").is_some_and(|(_, of)| of.eq_ignore_ascii_case(host));
        is_own || self.origins.iter().any(|o| o.eq_ignore_ascii_case(origin))
    }
}

/// Whether two texts are equal, in a time that depends on their lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b));
    std::hint::black_box(differing) == 0 && a.len() == b.len()
}

/// The checks as a layer; answers what browsers ask before they ask (CORS).
pub async fn guard(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    if let Err(refusal) = guard.check_source(request.uri(), request.headers()) {
        return sealed(refusal.into_response());
    }
    let origin = request.headers().get(header::ORIGIN).cloned();
    if request.method() == Method::OPTIONS {
        // A browser asks without the key whether it may ask.
        let wanted = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        return sealed(allowed(StatusCode::NO_CONTENT.into_response(), origin, wanted));
    }
    let response = match guard.check_key(request.uri().path(), request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    sealed(allowed(response, origin, None))
}

/// Tells the browser that pages of `origin` may read the response, and which headers they may send: those they want to, as each
/// client has its own (`anthropic-version`, `x-stainless-lang`) and the origin may ask.
fn allowed(mut response: Response, origin: Option<HeaderValue>, wanted: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return response };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
    if let Some(wanted) = wanted {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    }
    if response.status() == StatusCode::NO_CONTENT {
        let headers = response.headers_mut();
        let methods = HeaderValue::from_static("GET, HEAD, POST, DELETE");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

/// What is here is what it says it is, and no part of other sites' pages.
fn sealed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(policy, HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(guard: &Guard, path: &str, headers: &[(&'static str, &str)]) -> Result<Caller, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let uri: Uri = path.parse().unwrap();
        guard.check_source(&uri, &map)?;
        guard.check_key(uri.path(), &map)
    }

    fn open() -> Guard {
        let address = "127.0.0.1:8383".parse().unwrap();
        Guard {
            address,
            keys: Vec::new(),
            hosts: vec!["box.lan".into()],
            origins: vec!["https://a.example".into()],
        }
    }

    #[test]
    fn other_hosts_and_origins_are_refused() {
        let guard = open();
        for host in ["127.0.0.1:8383", "localhost:8383", "[::1]:8383", "box.lan", "LOCALHOST"] {
            assert!(checked(&guard, "/v1/models", &[("host", host)]).is_ok(), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "localhost.evil.example:8383"]
        {
            assert!(checked(&guard, "/v1/models", &[("host", host)]).is_err(), "{host}");
        }
        assert!(checked(&guard, "/health", &[]).is_err(), "no Host at all");
        assert!(checked(&guard, "/", &[("host", "localhost"), ("host", "evil.example")]).is_err());
        assert!(checked(&guard, "http://localhost:8383/", &[("host", "localhost:8383")]).is_ok());
        assert!(checked(&guard, "http://evil.example/", &[("host", "localhost:8383")]).is_err());
        assert!(checked(&guard, "http://localhost/", &[("host", "evil.example")]).is_err());
        let origin =
            |origin| checked(&guard, "/v1/models", &[("host", "localhost:8383"), ("origin", origin)]);
        assert!(origin("http://localhost:8383").is_ok() && origin("https://a.example").is_ok());
        for other in ["http://localhost:8384", "http://evil.example", "null", "https://a.example.evil"] {
            assert!(origin(other).is_err(), "{other}");
        }
    }

    #[test]
    fn a_key_is_needed_where_there_is_one() {
        let guard = Guard { keys: ["one", "two"].map(ApiKey::plain).into(), ..open() };
        let ask = |path, key| checked(&guard, path, &[("host", "localhost"), ("authorization", key)]);
        assert!(ask("/v1/models", "bearer one").is_ok(), "a scheme has no case");
        assert!(
            ask("/v1/models", "Bearer one") == Ok(Caller(0))
                && ask("/v1/models", "Bearer two") == Ok(Caller(1))
        );
        for wrong in ["Bearer onee", "Bearer on", "Bearer ", "one", "Basic one"] {
            assert!(ask("/v1/models", wrong).is_err(), "{wrong}");
        }
        assert!(checked(&guard, "/v1/models", &[("host", "localhost"), ("x-api-key", "two")]).is_ok());
        assert!(checked(&guard, "/health", &[("host", "localhost")]).is_ok());
    }
}
