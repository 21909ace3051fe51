//! The user's models as clients of the server may change them, where `--manage` lets them.
//!
//! Only models of the hub are fetched: what a client names must not send the program to any address.

use std::io;

use ingle_net::Client;
use ingle_serve::Progress;
use ingle_store::fetch::{Event, Retry};
use ingle_store::library::Library;
use ingle_store::pull::{Hub, Puller};
use ingle_store::reference::Reference;

use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::verbs::rm;
use crate::{network, pulling};

/// The user's models, and the way to more of them.
#[derive(Debug)]
pub struct Managed {
    library: Library,
    hub: Hub,
    client: Client,
}

impl Managed {
    /// Those of this user.
    pub fn new(env: &Env) -> Result<Self, Failure> {
        let hub = network::hub(env)?;
        Ok(Self { client: network::client(&hub, env)?, library: pulling::library(env), hub })
    }

    fn fetch(&self, name: &str, tell: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        let asked = match Reference::parse(name)? {
            Some(Reference::Hub(asked)) => asked,
            Some(Reference::Url(_)) => {
                return Err(Failure::usage(format!("{name}: clients may fetch models of the hub only")));
            }
            None => {
                return Err(Failure::not_found(format!(
                    "{name}: no short name, and no reference either; give user/repo[:QUANT]"
                )));
            }
        };
        say(format_args!("fetching {name} for a client"));
        let (hub, client, cache) = (&self.hub, &self.client, &self.library.cache);
        let puller = Puller { client, hub, cache, retry: Retry::default() };
        let mut watch = |event: Event<'_>| {
            if let Event::Bytes { file, done, size } = event {
                tell(Progress { file, done, size });
            }
        };
        let job = puller.plan(&asked, &mut watch)?;
        puller.perform(&job, &mut watch)?;
        Ok(())
    }
}

impl ingle_serve::Library for Managed {
    fn pull(&self, name: &str, tell: &mut dyn FnMut(Progress<'_>)) -> io::Result<()> {
        self.fetch(name, tell).map_err(told)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        say(format_args!("removing {name} for a client"));
        rm::remove(name, &self.library, &|_| Ok(true)).map(|_| ()).map_err(told)
    }
}

/// A failure as the server tells it.
fn told(failure: Failure) -> io::Error {
    let kind = match failure.exit {
        Exit::NOT_FOUND => io::ErrorKind::NotFound,
        Exit::USAGE => io::ErrorKind::InvalidInput,
        Exit::BLOCKED => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, failure.message)
}
