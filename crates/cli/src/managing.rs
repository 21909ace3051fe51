//! The user's models as clients of the server may use and change them, where `--manage` lets them.
//!
//! Only models of the hub are fetched: what a client names must not send the program to any address. Only models of the library are
//! served ([`crate::stocking`]): what a client names is no path.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::UNIX_EPOCH;

use ingle_net::Client;
use ingle_serve::{Installed, Progress};
use ingle_store::fetch::{Event, Retry};
use ingle_store::library::{Library, Meaning};
use ingle_store::parts::Parts;
use ingle_store::pull::{Hub, Puller};
use ingle_store::reference::Reference;

use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::verbs::rm;
use crate::{network, pulling};

/// The user's models, and the way to more of them.
#[derive(Debug)]
pub struct Managed {
    /// What is served: the files and the names.
    served: Mutex<HashMap<PathBuf, String>>,
    library: Library,
    hub: Hub,
    client: Client,
}

impl Managed {
    /// Those of this user.
    pub fn new(env: &Env) -> Result<Self, Failure> {
        let hub = network::hub(env)?;
        let (client, library) = (network::client(&hub, &[], env)?, pulling::library(env));
        Ok(Self { served: Mutex::default(), library, hub, client })
    }

    /// The model at `path` is served under this name.
    pub fn serves(&self, path: &Path, name: &str) {
        // What is built in lies nowhere.
        let Ok(path) = path.canonicalize() else { return };
        self.served().insert(path, name.to_owned());
    }

    fn served(&self) -> MutexGuard<'_, HashMap<PathBuf, String>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the model of this name lies, and the name under which it is served, if it is.
    pub fn find(&self, name: &str) -> Result<Option<(PathBuf, Option<String>)>, Failure> {
        let Meaning::Here(path) = self.library.find(name)? else { return Ok(None) };
        let served = path.canonicalize().ok().and_then(|path| self.served().get(&path).cloned());
        Ok(Some((path, served)))
    }

    fn fetch(&self, name: &str, tell: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
        let asked = match Reference::parse(name)? {
            Some(Reference::Hub(asked)) => asked,
            Some(Reference::Url(_) | Reference::Image(_)) => {
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
        let puller = Puller { client, hub, cache, retry: Retry::default(), parts: Parts::default() };
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

    fn list(&self) -> io::Result<Vec<Installed>> {
        let installed = self.library.list().map_err(|e| told(e.into()))?;
        let listed = |one: ingle_store::library::Installed| {
            let modified = one.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            Some(Installed {
                name: one.name,
                n_bytes: one.size?,
                modified: modified.map(|since| since.as_secs()),
            })
        };
        Ok(installed.into_iter().filter_map(listed).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if let Some((_, Some(served))) = self.find(name).map_err(told)? {
            let why = format!("{name}: this model is being served, as {served}, and can't be removed");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        say(format_args!("removing {name} for a client"));
        rm::remove(name, &self.library, &|_| Ok(true)).map(|_| ()).map_err(told)
    }
}

/// A failure as the server tells it.
pub fn told(failure: Failure) -> io::Error {
    let kind = match failure.exit {
        Exit::NOT_FOUND => io::ErrorKind::NotFound,
        Exit::USAGE => io::ErrorKind::InvalidInput,
        Exit::BLOCKED => io::ErrorKind::PermissionDenied,
        Exit::MEMORY => io::ErrorKind::OutOfMemory,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, failure.message)
}
