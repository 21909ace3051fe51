//! What routes know: the models by their names, what is stored, and the limits that hold.
//!
//! Models come and go while the server runs ([`crate::residence`]); who has looked keeps what was there then.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ingle_model::prompt::Now;
use tokio::sync::{Semaphore, watch};

use crate::accounts::Accounts;
use crate::documents;
use crate::elsewhere::{AT_A_TIME, Elsewhere};
use crate::feedback::Recent;
use crate::guard::{ApiKey, Caller};
use crate::listen::{Limits, Phase};
use crate::ollama::installed::Library;
use crate::openai::responses::stored::{LIMITS, Stored};
use crate::payload;
use crate::reader::{Reader, Task};
use crate::refusal::Refusal;
use crate::residence::Residence;
use crate::served::{Model, Served, Serving};
use crate::server::Options;

/// What routes know.
#[derive(Debug)]
pub struct App {
    models: RwLock<Arc<Models>>,
    /// How models come and go, where they do; without it they stay as long as the server does.
    pub residence: Option<Residence>,
    /// Responses that later ones may go on from.
    pub responses: Stored,
    /// When the server started, in seconds since 1970.
    pub started: u64,
    /// What clients may take.
    pub limits: Limits,
    /// How far the server is from its end.
    pub phase: watch::Receiver<Phase>,
    /// Room for large bodies.
    pub bodies: Arc<Semaphore>,
    /// The models on the device, where clients may change them.
    pub library: Option<Arc<dyn Library>>,
    /// Who keeps account of what answers take, if anybody.
    pub accounts: Option<Arc<dyn Accounts>>,
    /// Who knows where else answers may come from, if anybody.
    pub elsewhere: Option<Arc<dyn Elsewhere>>,
    /// Room for requests that are answered elsewhere.
    pub elsewhere_room: Arc<Semaphore>,
    /// Room for requests about documents.
    pub documents_room: Arc<Semaphore>,
    /// Answers that can be spoken of, where somebody keeps what is said.
    pub recent: Option<Arc<Recent>>,
    /// Who may ask, in the order of [`crate::guard::Caller`].
    pub keys: Vec<ApiKey>,
    /// Nanoseconds in which connections were served: requests read and answers written.
    pub http_ns: Arc<AtomicU64>,
    /// Held while a model is fetched.
    pub pulling: Arc<tokio::sync::Mutex<()>>,
}

/// The models that are served.
#[derive(Debug, Clone, Default)]
pub struct Models {
    /// Models that write; the first is who is asked when a request names none.
    pub writers: Vec<Arc<Served>>,
    /// Models that only read.
    pub readers: Vec<Arc<Reader>>,
}

impl App {
    /// # Errors
    /// When two models have one name, or one has no tokenizer.
    pub fn new(
        serving: Vec<Serving>,
        options: &mut Options,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let mut models = Models::default();
        for one in serving {
            if models.any(Some(&one.name)).is_ok() {
                return Err(named_twice(&one.name));
            }
            models.add(one).map_err(io::Error::other)?;
        }
        let residence = options.residence.take().map(Residence::new);
        let told = residence.as_ref().map(Residence::told).unwrap_or_default();
        for (i, one) in told.iter().enumerate() {
            if told[..i].iter().any(|other| is_name_of(&other.name, &one.name)) {
                return Err(named_twice(&one.name));
            }
        }
        Ok(Self {
            models: RwLock::new(Arc::new(models)),
            residence,
            responses: Stored::new(LIMITS),
            started: unix_seconds(),
            limits: options.limits,
            phase,
            bodies: payload::room(),
            library: options.library.clone(),
            accounts: options.accounts.clone(),
            elsewhere: options.elsewhere.clone(),
            elsewhere_room: Arc::new(Semaphore::new(AT_A_TIME)),
            documents_room: Arc::new(Semaphore::new(documents::AT_A_TIME)),
            recent: options.feedback.clone().map(Recent::new).map(Arc::new),
            keys: options.api_keys.clone(),
            http_ns: Arc::default(),
            pulling: Arc::default(),
        })
    }

    /// Now, in seconds since 1970.
    pub fn now(&self) -> u64 {
        unix_seconds()
    }

    /// Now, as templates are told of it.
    pub fn calendar(&self) -> Now {
        Now::from_unix(unix_seconds())
    }

    /// The name of who asks, where it has one.
    pub fn name_of(&self, caller: Caller) -> Option<&str> {
        self.keys.get(caller.0)?.name.as_deref()
    }

    /// The models that are loaded now.
    pub fn models(&self) -> Arc<Models> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// These are loaded from here on.
    pub fn list(&self, models: Models) {
        let before = {
            let mut now = self.models.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, Arc::new(models))
        };
        drop(before);
    }

    /// Whether a model of this name is served, loaded or not.
    pub fn serves(&self, name: &str) -> bool {
        let known = self.residence.as_ref().map(Residence::told).unwrap_or_default();
        self.models().any(Some(name)).is_ok() || known.iter().any(|known| is_name_of(&known.name, name))
    }

    /// The model of this name that writes; without one, the first. One that is not loaded is brought, if there is room for it or it
    /// can be made; that may take long.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it writes nothing; those of
    /// [`Residence::take`].
    pub fn model(&self, name: Option<&str>) -> Result<Arc<Served>, Refusal> {
        let Some(residence) = &self.residence else { return self.models().writer(name) };
        let first = || residence.places(false).first().or(residence.places(true).first()).copied();
        self.brought(name, first, Models::writer)
    }

    /// The model that answers a conversation with the one of this name: that, or a smaller one of those in memory where the device needs it
    /// and its user allowed it.
    ///
    /// # Errors
    /// As [`Self::model`].
    pub fn answerer(&self, name: Option<&str>) -> Result<Arc<Served>, Refusal> {
        let asked = self.model(name)?;
        let Some(accounts) = &self.accounts else { return Ok(asked) };
        let models = self.models();
        let others = models.writers.iter().filter(|other| other.number != asked.number).cloned();
        let mut all: Vec<Arc<Served>> = [asked.clone()].into_iter().chain(others).collect();
        let n_bytes: Vec<u64> = all.iter().map(|one| one.loaded().file.n_bytes()).collect();
        let chosen = accounts.choose(&n_bytes);
        Ok(all.swap_remove(chosen.min(all.len() - 1)))
    }

    /// The model of this name that does `task`, brought as [`Self::model`] brings one; without a name, the first, and an encoder before
    /// others.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it, or every model, does something else.
    pub fn reader(&self, name: Option<&str>, task: Task) -> Result<Arc<Reader>, Refusal> {
        let get = |models: &Models, name: Option<&str>| models.reader(name, task);
        let Some(residence) = &self.residence else { return get(&self.models(), name) };
        if name.is_some() {
            return self.brought(name, || None, get);
        }
        // What a model does is known once it was loaded.
        let loaded = get(&self.models(), None);
        let mut places = residence.places(true);
        places.extend(residence.places(false));
        if loaded
            .as_ref()
            .is_ok_and(|reader| places.first().is_some_and(|&i| residence.is_at(i, &reader.name)))
        {
            let reader = loaded?;
            return self.brought(Some(&reader.name), || None, get);
        }
        for i in places {
            let one = self.taken(residence, i, get);
            if !matches!(one, Err(Refusal::Invalid { .. })) {
                return one;
            }
        }
        loaded
    }

    /// The model of this name, whatever it does, brought as [`Self::model`] brings one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name.
    pub fn any(&self, name: Option<&str>) -> Result<Arc<Reader>, Refusal> {
        let Some(residence) = &self.residence else { return self.models().any(name) };
        let first = || residence.places(false).first().or(residence.places(true).first()).copied();
        self.brought(name, first, Models::any)
    }

    /// What `get` finds of the model of this name, or of that at `first` place.
    fn brought<T>(
        &self,
        name: Option<&str>,
        first: impl Fn() -> Option<usize>,
        get: impl Fn(&Models, Option<&str>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let Some(residence) = &self.residence else { return get(&self.models(), name) };
        let place = match name {
            Some(name) => residence.place(name)?,
            None => match first() {
                Some(i) => i,
                None => return get(&self.models(), None),
            },
        };
        self.taken(residence, place, get)
    }

    fn taken<T>(
        &self,
        residence: &Residence,
        place: usize,
        get: impl Fn(&Models, Option<&str>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let name = residence.name(place);
        residence.take(place, &|models| self.list(models), &self.phase, || get(&self.models(), Some(&name)))
    }

    /// A request says how long its model stays when it is not asked for: `None` for no limit.
    pub fn keep(&self, name: &str, keep_alive: Option<Duration>) {
        let Some(residence) = &self.residence else { return };
        if let Ok(place) = residence.place(name) {
            residence.keep(place, keep_alive);
        }
    }

    /// Has the model of this name leave memory; whether it has.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name.
    pub fn stop(&self, name: &str) -> Result<bool, Refusal> {
        match &self.residence {
            None => self.models().any(Some(name)).map(|_| false),
            Some(residence) => Ok(residence.stop(residence.place(name)?, &|models| self.list(models))),
        }
    }
}

fn named_twice(name: &str) -> io::Error {
    io::Error::other(format!("two models have the name {name:?}, expected one each"))
}

impl Models {
    /// # Errors
    /// When the model has no tokenizer, or its template can't be read.
    fn add(&mut self, Serving { name, model }: Serving) -> ingle_engine::Result<()> {
        match model {
            Model::Writer(engine) => {
                let served = Served::new(name, engine)?;
                served.prepare();
                self.writers.push(Arc::new(served));
            }
            Model::Reader(embedder) => self.readers.push(Arc::new(Reader::new(name, embedder))),
        }
        Ok(())
    }

    /// The model of this name that writes; without one, the first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it writes nothing.
    pub fn writer(&self, name: Option<&str>) -> Result<Arc<Served>, Refusal> {
        let found = match name {
            None => self.writers.first(),
            Some(name) => self.writers.iter().find(|served| is_name_of(&served.name, name)),
        };
        found.cloned().ok_or_else(|| {
            let name = name.or(self.readers.first().map(|reader| reader.name.as_str())).unwrap_or_default();
            match self.readers.iter().find(|reader| is_name_of(&reader.name, name)) {
                Some(reader) => {
                    let does = match reader.task() {
                        Task::Vectors => "makes vectors of texts (/v1/embeddings)",
                        Task::Scores => "scores pairs of texts (/v1/rerank)",
                    };
                    Refusal::field("model", format!("model {name:?} {does} and writes none"))
                }
                None => self.absent(name),
            }
        })
    }

    fn reader(&self, name: Option<&str>, task: Task) -> Result<Arc<Reader>, Refusal> {
        if name.is_some() {
            let reader = self.any(name)?;
            return reader.check(task).map(|()| reader);
        }
        let first = self.all().find(|reader| reader.task() == task).cloned();
        first.ok_or_else(|| {
            let does = match task {
                Task::Vectors => "makes vectors of texts",
                Task::Scores => "scores pairs of texts, expected a cross-encoder to be served",
            };
            Refusal::field("model", format!("model: none here {does}"))
        })
    }

    /// The model of this name, whatever it does; without one, the first that writes, or reads.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name.
    pub fn any(&self, name: Option<&str>) -> Result<Arc<Reader>, Refusal> {
        let found = match name {
            None => self.writers.first().map(|served| &served.reader).or(self.readers.first()),
            Some(name) => self.all().find(|reader| is_name_of(&reader.name, name)),
        };
        found.cloned().ok_or_else(|| self.absent(name.unwrap_or_default()))
    }

    /// All models as ones that read, those first that do nothing else.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Reader>> {
        self.readers.iter().chain(self.writers.iter().map(|served| &served.reader))
    }

    fn absent(&self, name: &str) -> Refusal {
        let names = self.writers.iter().map(|served| &served.name);
        let names: Vec<&str> =
            names.chain(self.readers.iter().map(|r| &r.name)).map(String::as_str).collect();
        let names = names.join("\", \"");
        Refusal::NotFound(format!("no model {name:?} here; this server has \"{names}\""))
    }
}

/// A name without the tag that clients of Ollama put behind names that have none.
pub fn plain(name: &str) -> &str {
    name.strip_suffix(":latest").unwrap_or(name)
}

/// Whether a model is meant.
pub fn is_name_of(model: &str, asked: &str) -> bool {
    plain(model) == plain(asked)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
