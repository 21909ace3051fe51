//! The models that a server has to offer: those of its command line, and where clients may, all of the library by their names.
//!
//! What a model takes is known from its header, before it is loaded; each way to load it is an offer, the wished one first, then
//! with smaller caches, keys and values in fewer bits, a shorter context, as far as no flag fixed these, and behind them smaller
//! quantisations of the same model that are on the device.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingle_engine::embed::is_encoder;
use ingle_engine::model_file::ModelFile;
use ingle_engine::residency::need::{May, Need, Offer};
use ingle_serve::{Known, Model};
use ingle_store::library::{Library, Meaning};

use crate::env::say;
use crate::exit::Failure;
use crate::loading::{Loader, Parts};
use crate::managing::{Managed, told};
use crate::model_ref;
use crate::verbs::human_bytes;

/// What can be served.
#[derive(Debug)]
pub struct Stock {
    loader: Arc<Loader>,
    may: May,
    pinned: Vec<String>,
    library: Library,
    /// Where clients may ask for all of the library.
    managed: Option<Arc<Managed>>,
    entries: Mutex<Vec<Entry>>,
    /// What went wrong last, as the program tells it.
    failure: Mutex<Option<Failure>>,
    /// Whether what is loaded is told as it comes.
    tells: Mutex<bool>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    only_reads: bool,
    ways: Vec<Way>,
    /// What was said when it was last loaded.
    about: Option<String>,
}

/// A file and how it is loaded.
#[derive(Debug, Clone)]
struct Way {
    source: Source,
    offer: Offer,
}

#[derive(Debug, Clone)]
enum Source {
    BuiltIn,
    Path(PathBuf),
}

impl Source {
    fn of(file: &ModelFile) -> Self {
        if file.name() == model_ref::DEMO { Self::BuiltIn } else { Self::Path(PathBuf::from(file.name())) }
    }

    fn open(&self) -> Result<ModelFile, Failure> {
        match self {
            Self::BuiltIn => model_ref::open_demo(),
            Self::Path(path) => Ok(ModelFile::open(path)?),
        }
    }
}

impl Stock {
    /// Nothing yet. Models of these names never make room for others.
    pub fn new(
        loader: Arc<Loader>,
        may: May,
        pinned: Vec<String>,
        library: Library,
        managed: Option<Arc<Managed>>,
    ) -> Self {
        let (entries, failure, tells) = (Mutex::default(), Mutex::default(), Mutex::new(false));
        Self { loader, may, pinned, library, managed, entries, failure, tells }
    }

    /// Offers the model of `file`, which was called `reference`, under this name.
    pub fn add(&self, name: &str, reference: &str, file: &ModelFile) -> Result<(), Failure> {
        let mut ways = self.ways(file)?;
        for other in self.smaller(reference, file) {
            // One that can't be had is none to offer.
            if let Ok(more) = self.ways(&other) {
                let told = |mut way: Way| {
                    let instead = format!("{} in its place", other.name());
                    let parts = [instead, way.offer.less].into_iter().filter(|part| !part.is_empty());
                    way.offer.less = parts.collect::<Vec<_>>().join(", ");
                    way
                };
                ways.extend(more.into_iter().map(told));
            }
        }
        let (name, only_reads) = (name.to_owned(), is_encoder(file));
        self.entries().push(Entry { name, only_reads, ways, about: None });
        Ok(())
    }

    /// Each model that is loaded, and what there is to say of it; the others come when they are asked for.
    pub fn about(&self) -> String {
        let told = |entry: &Entry| match &entry.about {
            Some(about) => format!("{} ({about})", entry.name),
            None => format!("{} (when asked for)", entry.name),
        };
        let told = self.entries().iter().map(told).collect::<Vec<_>>().join(", ");
        *self.tells.lock().unwrap_or_else(PoisonError::into_inner) = true;
        told
    }

    /// What went wrong last, if anything did.
    pub fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ways(&self, file: &ModelFile) -> Result<Vec<Way>, Failure> {
        let (need, source) = (Need::of(file), Source::of(file));
        let offers = need.offers(&self.loader.wish(&need), self.may).map_err(|e| file.model_error(e))?;
        Ok(offers.into_iter().map(|offer| Way { source: source.clone(), offer }).collect())
    }

    /// Other quantisations of a hub's model that are here and smaller than `file`, the largest first.
    fn smaller(&self, reference: &str, file: &ModelFile) -> Vec<ModelFile> {
        let (Ok(installed), Ok(Meaning::Here(_))) = (self.library.list(), self.library.find(reference))
        else {
            return Vec::new();
        };
        let repo = |name: &str| name.rsplit_once(':').map_or(name, |(repo, _)| repo).to_lowercase();
        let at = PathBuf::from(file.name()).canonicalize().ok();
        let own = installed.iter().find(|one| {
            let path = match self.library.find(&one.name) {
                Ok(Meaning::Here(path)) => path.canonicalize().ok(),
                _ => None,
            };
            path.is_some() && path == at
        });
        let Some(own) = own.filter(|own| own.name.contains('/')) else { return Vec::new() };
        let same = installed.iter().filter(|one| repo(&one.name) == repo(&own.name) && one.name != own.name);
        let open = |one: &ingle_store::library::Installed| match self.library.find(&one.name) {
            Ok(Meaning::Here(path)) => ModelFile::open(&path).ok(),
            _ => None,
        };
        let mut others: Vec<ModelFile> =
            same.filter_map(open).filter(|other| other.n_bytes() < file.n_bytes()).collect();
        others.sort_by_key(|other| std::cmp::Reverse(other.n_bytes()));
        others
    }

    fn known(&self, entry: &Entry) -> Known {
        Known {
            name: entry.name.clone(),
            only_reads: entry.only_reads,
            offers: entry.ways.iter().map(|way| way.offer.ledger).collect(),
            is_pinned: self.pinned.contains(&entry.name),
        }
    }

    fn bring(&self, name: &str, offer: usize) -> Result<Model, Failure> {
        let way = {
            let entries = self.entries();
            let entry = entries.iter().find(|entry| entry.name == name);
            entry.and_then(|entry| entry.ways.get(offer)).cloned()
        };
        let way = way.ok_or_else(|| {
            Failure::not_found(format!("{name}: no such model, expected one that is offered"))
        })?;
        let Way { source, offer: Offer { wish, ledger, less } } = way;
        let parts = Parts { ctx: wish.ctx, kv: &wish.kv, prefix_bytes: ledger.prefix, packs: wish.packs };
        let (model, mut about) = self.loader.load(source.open()?, &parts)?;
        if !less.is_empty() {
            about = format!("{about}; as memory is short: {less}");
        }
        let is_first = {
            let mut entries = self.entries();
            let entry = entries.iter_mut().find(|entry| entry.name == name);
            entry.is_some_and(|entry| entry.about.replace(about.clone()).as_ref() != Some(&about))
        };
        if is_first && *self.tells.lock().unwrap_or_else(PoisonError::into_inner) {
            say(format_args!(
                "serving {name} too ({about}, {}), as a client asks for it",
                human_bytes(ledger.total())
            ));
        }
        Ok(model)
    }
}

impl ingle_serve::Stock for Stock {
    fn list(&self) -> Vec<Known> {
        self.entries().iter().map(|entry| self.known(entry)).collect()
    }

    fn find(&self, name: &str) -> io::Result<Option<Known>> {
        let Some(managed) = &self.managed else { return Ok(None) };
        let Some((path, served)) = managed.find(name).map_err(told)? else { return Ok(None) };
        let name = match served {
            Some(served) => served,
            None => {
                let file = ModelFile::open(&path).map_err(|e| told(e.into()))?;
                self.add(name, name, &file).map_err(told)?;
                managed.serves(&path, name);
                name.to_owned()
            }
        };
        let entries = self.entries();
        Ok(entries.iter().find(|entry| entry.name == name).map(|entry| self.known(entry)))
    }

    fn load(&self, name: &str, offer: usize) -> io::Result<Model> {
        self.bring(name, offer).map_err(|failure| {
            let error = told(Failure { exit: failure.exit, message: failure.message.clone() });
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            error
        })
    }
}
