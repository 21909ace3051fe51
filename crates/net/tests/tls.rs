//! TLS against a server of our own: a name and an authority must fit, also through a proxy, and bytes count once.
//!
//! The authority and the server's key in `tls/` exist for this test alone; `localhost.key` is no secret.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ingle_net::client::Proxies;
use ingle_net::policy::{Policy, Purpose};
use ingle_net::{Client, Error, Options, Request, Url};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/localhost.pem");
const KEY: &[u8] = include_bytes!("tls/localhost.key");

/// Answers every request with `ok`; gives its port.
fn serve_tls() -> u16 {
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(chain, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            thread::spawn(move || {
                let mut stream = rustls::StreamOwned::new(connection, stream);
                // A client that does not trust us ends the handshake; that is what is tested.
                if read_head(&mut stream).is_some() {
                    let _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
                    let _ = stream.flush();
                }
            });
        }
    });
    port
}

/// A proxy that tunnels to this machine whatever name it is given; gives its address.
fn serve_proxy() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut near in listener.incoming().flatten() {
            thread::spawn(move || {
                let head = read_head(&mut near)?;
                let port = head.strip_prefix("CONNECT localhost:")?.split(' ').next()?.parse::<u16>().ok()?;
                let mut far = TcpStream::connect(("127.0.0.1", port)).ok()?;
                near.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").ok()?;
                let (mut near_read, mut far_write) = (near.try_clone().ok()?, far.try_clone().ok()?);
                thread::spawn(move || std::io::copy(&mut near_read, &mut far_write));
                std::io::copy(&mut far, &mut near).ok()
            });
        }
    });
    address
}

/// The first line, once the blank line has come. Read byte by byte, so that nothing behind it is taken.
fn read_head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    BufReader::new(&head[..]).lines().next()?.ok()
}

fn client(roots: Option<&[u8]>, proxy: Option<String>) -> Client {
    let options = Options {
        policy: Policy::default(),
        user_agent: "test".into(),
        proxies: Proxies { https: proxy, ..Proxies::default() },
        root_certificates: roots.map(<[u8]>::to_vec),
        connect_timeout: Duration::from_secs(5),
        stall_timeout: Duration::from_secs(5),
        interrupted: Arc::default(),
    };
    Client::new(options).unwrap()
}

fn get(client: &Client, url: &str) -> Result<Vec<u8>, Error> {
    let url = Url::parse(url).unwrap();
    let purpose = Purpose::ModelFile;
    let request = Request {
        purpose,
        url: &url,
        token: None,
        from: 0,
        to: None,
        if_range: None,
        accept: None,
        timeout: None,
    };
    client.get(&request)?.read_whole(10)
}

#[test]
fn a_server_is_trusted_by_its_authority_and_its_name() {
    let port = serve_tls();
    let url = format!("https://localhost:{port}/");
    let trusting = client(Some(AUTHORITY), None);
    assert_eq!(get(&trusting, &url).unwrap(), b"ok");
    for (client, url) in [
        (client(None, None), url.clone()),
        (client(Some(AUTHORITY), None), format!("https://127.0.0.1:{port}/")),
    ] {
        let error = get(&client, &url).unwrap_err();
        assert!(matches!(error, Error::Untrusted { .. }), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

#[test]
fn a_proxy_tunnels_and_bytes_count_once() {
    let url = format!("https://localhost:{}/", serve_tls());
    let direct = client(Some(AUTHORITY), None);
    assert_eq!(get(&direct, &url).unwrap(), b"ok");
    let through = client(Some(AUTHORITY), Some(serve_proxy()));
    assert_eq!(get(&through, &url).unwrap(), b"ok");
    let bytes_in = |client: &Client| client.ledger().rows()[0].bytes_in;
    // The tunnel adds its own short greeting, and a signature's length varies by some bytes.
    let (direct, through) = (bytes_in(&direct), bytes_in(&through));
    assert!(direct > 500 && (direct..direct + 200).contains(&(through + 20)), "{direct} and {through}");
}
