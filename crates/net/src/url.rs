//! Absolute `http` and `https` addresses: parsed strictly, joined as a `Location` needs it, and percent-encoded.
//!
//! Stricter than RFC 3986 on purpose: no user information (`https://hub@elsewhere/` fools people), no blanks or control
//! characters (they split requests), no fragment in what is sent.

use std::fmt;
use std::net::IpAddr;

/// Whether TLS protects the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

/// Who is spoken to: scheme, host and port. A token given for one origin is never sent to another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Whether TLS protects it.
    pub scheme: Scheme,
    /// Lower case; an IPv6 address keeps its brackets.
    pub host: String,
    /// The port, also where it is the scheme's own.
    pub port: u16,
}

/// An absolute address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// Who is spoken to.
    pub origin: Origin,
    /// Path and query as they are sent, beginning with `/`.
    pub target: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, default) = match self.scheme {
            Scheme::Http => ("http", 80),
            Scheme::Https => ("https", 443),
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

impl Origin {
    /// Whether it is this machine, or of a network of one's own, as far as the address says so itself: nothing is looked up.
    pub fn is_near(&self) -> bool {
        match self.host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
            Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
            Err(_) => {
                self.host == "localhost" || self.host.ends_with(".localhost") || self.host.ends_with(".local")
            }
        }
    }
}

impl Url {
    /// Reads an absolute address.
    ///
    /// # Errors
    /// What was expected instead, as a piece of a sentence.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("expected an address without blanks, control or non-ASCII characters");
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((s, rest)) if s.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((s, rest)) if s.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            _ => return Err("expected an address that begins with https://"),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { origin: parse_authority(scheme, authority)?, target })
    }

    /// Where a `Location` that came from here points.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, location: &str) -> Result<Self, &'static str> {
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Self::parse(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            let scheme = if self.origin.scheme == Scheme::Https { "https" } else { "http" };
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let path = self.target.split('?').next().unwrap_or_default();
        let target = match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{path}{location}"),
            _ => format!("{}{location}", &path[..=path.rfind('/').unwrap_or(0)]),
        };
        Self::parse(&format!("{}{target}", self.origin))
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The last piece of the path; empty for a folder.
    pub fn file_name(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }
}

fn parse_authority(scheme: Scheme, authority: &str) -> Result<Origin, &'static str> {
    if authority.contains('@') {
        return Err("expected an address without user or password");
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| "expected a port from 0 to 65535")?)
        }
        _ => (authority, if scheme == Scheme::Https { 443 } else { 80 }),
    };
    let is_v6 = host.starts_with('[') && host.ends_with(']');
    let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b) || (is_v6 && b"[]:".contains(&b));
    if host.is_empty() || !host.bytes().all(is_legal) {
        return Err("expected a host name");
    }
    Ok(Origin { scheme, host: host.to_ascii_lowercase(), port })
}

/// Percent-encodes a path: everything but letters, digits, `-._~` and the slashes between its pieces.
pub fn encode_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        match b {
            b'/' | b'-' | b'.' | b'_' | b'~' => out.push(b.into()),
            b if b.is_ascii_alphanumeric() => out.push(b.into()),
            b => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_and_are_made_canonical() {
        for (text, expected) in [
            ("https://Example.org", "https://example.org/"),
            ("HTTPS://example.org:443/a?b=c#d", "https://example.org/a?b=c"),
            ("http://127.0.0.1:8080/a", "http://127.0.0.1:8080/a"),
            ("http://[::1]:90?x", "http://[::1]:90/?x"),
            ("http://[::1]/", "http://[::1]/"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn deceptive_addresses_are_refused() {
        for text in [
            "example.org",
            "ftp://a/",
            "https://",
            "https:///a",
            "https://a@b/",
            "https://a b/",
            "https://a/\r\nx",
            "https://a:99999/",
            "https://a:/",
            "https://ä/",
            "https://a[b]/",
        ] {
            assert!(Url::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn locations_are_relative_to_where_they_came_from() {
        let from = Url::parse("https://a/b/c?d").unwrap();
        for (location, expected) in [
            ("https://x/y", "https://x/y"),
            ("//x/y", "https://x/y"),
            ("/y?z=http://q", "https://a/y?z=http://q"),
            ("y", "https://a/b/y"),
            ("?y", "https://a/b/c?y"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), expected, "{location}");
        }
    }

    #[test]
    fn paths_are_encoded_but_for_their_slashes() {
        assert_eq!(encode_path("a b/ü+c?.gguf"), "a%20b/%C3%BC%2Bc%3F.gguf");
    }

    #[test]
    fn addresses_of_ones_own_networks_say_so() {
        for (url, expected) in [
            ("http://127.0.0.1:9", true),
            ("http://[::1]:9", true),
            ("http://192.168.1.20:8000/v1", true),
            ("http://[fd00::1]/v1", true),
            ("http://workstation.local", true),
            ("https://api.example", false),
            ("https://172.32.0.1", false),
            ("https://local.example", false),
        ] {
            assert_eq!(Url::parse(url).unwrap().origin.is_near(), expected, "{url}");
        }
    }
}
