//! What can go wrong between a request and its answer.

use crate::url::Url;

/// Every failure of this crate, said in one sentence that names the address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The policy refused the connection; nothing was sent.
    #[error("{url}: blocked by policy: {reason}")]
    Blocked {
        /// Where it would have gone.
        url: String,
        /// Which rule.
        reason: String,
    },
    /// An address, proxy, certificate or token that can't be used.
    #[error("{what}: {found:?}, {expected}")]
    Input {
        /// Which input.
        what: String,
        /// What was given; never a token.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// The connection could not be made, broke, or stalled.
    #[error("{url}: {reason}")]
    Connection {
        /// Where it went.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The server could not show who it is. More tries won't change that.
    #[error("{url}: TLS: {reason}; where a proxy decrypts, name its certificates in SSL_CERT_FILE")]
    Untrusted {
        /// Where it went.
        url: String,
        /// What was wrong with the certificate or the handshake.
        reason: String,
    },
    /// The server's answer makes no sense.
    #[error("{url}: the server answered {found}, expected {expected}")]
    Answer {
        /// Where it came from.
        url: String,
        /// What it said.
        found: String,
        /// What it should have said.
        expected: String,
    },
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A failed request, by what kind of failure it is.
pub(crate) fn failed(url: &Url, error: &ureq::Error) -> Error {
    let url = url.origin.to_string();
    match error {
        ureq::Error::Rustls(e) => Error::Untrusted { url, reason: e.to_string() },
        // What rustls finds wrong during the handshake comes through the socket's error type.
        ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            Error::Untrusted { url, reason: e.to_string() }
        }
        e => Error::Connection { url, reason: explain(e) },
    }
}

/// A network failure in a reader's words.
pub(crate) fn explain(error: &ureq::Error) -> String {
    use std::io::ErrorKind;
    match error {
        ureq::Error::HostNotFound => "the host's name can't be resolved; is there a connection?".into(),
        ureq::Error::Timeout(ureq::Timeout::PerRead | ureq::Timeout::PerWrite) => {
            "the connection stalled".into()
        }
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            "no connection within the time allowed".into()
        }
        ureq::Error::Timeout(_) => "no answer within the time allowed".into(),
        ureq::Error::Io(e) => match e.kind() {
            ErrorKind::ConnectionRefused => "the connection was refused".into(),
            ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof => "the connection broke".into(),
            _ => e.to_string(),
        },
        other => other.to_string(),
    }
}
