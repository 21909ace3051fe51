//! The one door out.
//!
//! No other crate of this program opens a connection. Whatever leaves the device goes through [`client::Client`], which
//! asks the [`policy`] first, says on whose behalf it connects ([`policy::Purpose`]), and counts every byte both ways
//! ([`ledger`]). It is a small blocking HTTP/1.1 client over rustls: answers as a stream, redirects
//! followed here and not by the library, so that a token never travels to another host; what has a body follows none.
//!
//! Left out: cookies, compression, HTTP/2, asynchronous calls, reading the environment (the program does
//! that and passes [`client::Options`]).

pub mod client;
pub mod error;
pub mod ledger;
pub mod local;
mod meter;
pub mod policy;
mod stop;
pub mod url;

pub use client::{Client, Credential, Options, Post, Request, Response};
pub use error::{Error, Result};
pub use local::LocalServer;
pub use url::Url;
