//! A server of this program on this machine, asked what it runs and told to let go of it.
//!
//! The address is one of the loopback, as numbers, so nothing is looked up and nothing leaves the machine: the policy here allows
//! that one origin and no other, and no proxy is asked. It is the one place besides endpoints' answers where a body is sent.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::client::{Client, Credential, Options, Post, Proxies, Request};
use crate::error::{Error, Result};
use crate::policy::{Policy, Purpose};
use crate::url::Url;

/// Bytes of an answer.
const BYTES_MAX: u64 = 16 << 20;
/// Time for an exchange: a model that leaves memory may write what it has been through first.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A server on the loopback.
#[derive(Debug)]
pub struct LocalServer {
    client: Client,
    at: SocketAddr,
    key: Option<String>,
}

impl LocalServer {
    /// The one at `host`, an address or `localhost`, and `port`, which may want a key. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no address, [`Error::Blocked`] for one that others could have.
    pub fn new(
        host: &str,
        port: u16,
        key: Option<String>,
        user_agent: &str,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self> {
        let ip: IpAddr =
            if host == "localhost" { "127.0.0.1" } else { host }.parse().map_err(|_| Error::Input {
                what: "the server's address".to_owned(),
                found: host.to_owned(),
                expected: "expected an address such as 127.0.0.1 or ::1".to_owned(),
            })?;
        let at = SocketAddr::new(ip, port);
        if !at.ip().is_loopback() {
            let reason = "only a server on this machine is asked (127.0.0.1 or ::1)".to_owned();
            return Err(Error::Blocked { url: at.to_string(), reason });
        }
        let policy = Policy { offline: None, plain_text: vec![url(at, "/")?.origin] };
        let client = Client::new(Options {
            policy,
            user_agent: user_agent.to_owned(),
            proxies: Proxies::default(),
            root_certificates: None,
            connect_timeout: CONNECT_TIMEOUT,
            stall_timeout: TIMEOUT,
            interrupted,
        })?;
        Ok(Self { client, at, key })
    }

    /// Status and content of what is at `path`.
    ///
    /// # Errors
    /// Those of [`Client::get`].
    pub fn get(&self, path: &str) -> Result<(u16, Vec<u8>)> {
        let response = self.client.get(&Request {
            purpose: Purpose::LocalServer,
            url: &url(self.at, path)?,
            token: self.key.as_deref().map(Credential::Bearer),
            from: 0,
            to: None,
            if_range: None,
            accept: None,
            timeout: Some(TIMEOUT),
        })?;
        Ok((response.status, response.read_whole(BYTES_MAX)?))
    }

    /// Status and content of the answer to a JSON document.
    ///
    /// # Errors
    /// Those of [`Client::post`].
    pub fn tell(&self, path: &str, body: &[u8]) -> Result<(u16, Vec<u8>)> {
        let key = self.key.as_ref().map(|key| ("Authorization", format!("Bearer {key}")));
        let headers: Vec<(&str, String)> = key.into_iter().collect();
        let response = self.client.post(&Post {
            purpose: Purpose::LocalServer,
            url: &url(self.at, path)?,
            headers: &headers,
            body,
            timeout: Some(TIMEOUT),
        })?;
        Ok((response.status, response.read_whole(BYTES_MAX)?))
    }
}

fn url(at: SocketAddr, path: &str) -> Result<Url> {
    let text = format!("http://{at}{path}");
    Url::parse(&text).map_err(|expected| Error::Input {
        what: "the server's address".to_owned(),
        found: text.clone(),
        expected: expected.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str) -> Result<LocalServer> {
        LocalServer::new(host, 8383, None, "test", Arc::default())
    }

    #[test]
    fn addresses_that_others_could_have_are_refused() {
        for at in ["192.168.0.7", "0.0.0.0", "8.8.8.8", "2001:db8::1"] {
            let error = server(at).unwrap_err();
            assert!(matches!(error, Error::Blocked { .. }), "{at}: {error}");
        }
        assert!(server("::1").is_ok() && server("localhost").is_ok());
        assert!(matches!(server("example.org"), Err(Error::Input { .. })), "no name is looked up");
    }

    #[test]
    fn what_is_said_arrives_and_nobody_there_is_an_error() {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let heard = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 1024];
            let mut n = 0;
            while !heard[..n].ends_with(b"{\"model\":\"x\"}") {
                n += stream.read(&mut heard[n..]).unwrap();
            }
            stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                .unwrap();
            String::from_utf8_lossy(&heard[..n]).into_owned()
        });
        let server =
            LocalServer::new("127.0.0.1", at.port(), Some("secret".into()), "test", Arc::default()).unwrap();
        assert_eq!(server.tell("/api/stop", b"{\"model\":\"x\"}").unwrap(), (404, b"{}".to_vec()));
        let heard = heard.join().unwrap();
        assert!(
            heard.starts_with("POST /api/stop ")
                && heard.to_lowercase().contains("authorization: bearer secret")
        );
        assert!(matches!(server.get("/api/ps"), Err(Error::Connection { .. })));
    }
}
