//! What routes know: the models by their names, what is stored, and the limits that hold.
//!
//! Models are added while the server runs and never leave it; who has looked keeps what was there then.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use ingle_model::prompt::Now;
use tokio::sync::{Semaphore, watch};

use crate::accounts::Accounts;
use crate::elsewhere::{AT_A_TIME, Elsewhere};
use crate::guard::{ApiKey, Caller};
use crate::listen::{Limits, Phase};
use crate::ollama::installed::{Found, Library};
use crate::openai::responses::stored::{LIMITS, Stored};
use crate::payload;
use crate::reader::{Reader, Task};
use crate::refusal::Refusal;
use crate::served::{Model, Served, Serving};
use crate::server::Options;

/// What routes know.
#[derive(Debug)]
pub struct App {
    models: RwLock<Arc<Models>>,
    /// Held while a model is loaded for who asks for it.
    loading: Mutex<()>,
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
    pub fn new(serving: Vec<Serving>, options: &Options, phase: watch::Receiver<Phase>) -> io::Result<Self> {
        let mut models = Models::default();
        for one in serving {
            if models.any(Some(&one.name)).is_ok() {
                let why = format!("two models have the name {:?}, expected one each", one.name);
                return Err(io::Error::other(why));
            }
            models.add(one).map_err(io::Error::other)?;
        }
        Ok(Self {
            models: RwLock::new(Arc::new(models)),
            loading: Mutex::new(()),
            responses: Stored::new(LIMITS),
            started: unix_seconds(),
            limits: options.limits,
            phase,
            bodies: payload::room(),
            library: options.library.clone(),
            accounts: options.accounts.clone(),
            elsewhere: options.elsewhere.clone(),
            elsewhere_room: Arc::new(Semaphore::new(AT_A_TIME)),
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

    /// The models that are served now.
    pub fn models(&self) -> Arc<Models> {
        self.models.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The model of this name that writes; without one, the first. One that is not served, but on the device where clients may
    /// change what is there, is loaded; that may take long.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it writes nothing; those of loading.
    pub fn model(&self, name: Option<&str>) -> Result<Arc<Served>, Refusal> {
        self.found(name, Models::writer)
    }

    /// The model of this name that does `task`, found as [`Self::model`] finds one; without a name, the first, and an encoder before
    /// others.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it, or every model, does something else.
    pub fn reader(&self, name: Option<&str>, task: Task) -> Result<Arc<Reader>, Refusal> {
        self.found(name, |models, name| models.reader(name, task))
    }

    /// The model of this name, whatever it does, found as [`Self::model`] finds one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name.
    pub fn any(&self, name: Option<&str>) -> Result<Arc<Reader>, Refusal> {
        self.found(name, Models::any)
    }

    fn found<T>(
        &self,
        name: Option<&str>,
        find: impl Fn(&Models, Option<&str>) -> Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        let found = find(&self.models(), name);
        let (Err(Refusal::NotFound(_)), Some(asked), Some(library)) = (&found, name, &self.library) else {
            return found;
        };
        let _one = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have asked for it meanwhile.
        let now = find(&self.models(), name);
        if !matches!(now, Err(Refusal::NotFound(_))) {
            return now;
        }
        match library.load(plain(asked)).map_err(|e| Refusal::from(&e))? {
            None => now,
            Some(Found::Served(name)) => find(&self.models(), Some(&name)),
            Some(Found::Loaded(model)) => {
                let mut models = Models::clone(&self.models());
                models.add(Serving { name: plain(asked).to_owned(), model })?;
                *self.models.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(models);
                find(&self.models(), name)
            }
        }
    }
}

impl Models {
    /// # Errors
    /// When the model has no tokenizer, or its template can't be read.
    fn add(&mut self, Serving { name, model }: Serving) -> ingle_engine::Result<()> {
        match model {
            Model::Writer(engine) => {
                let loaded = engine.loaded().clone();
                // So that the first answer of a form does not wait for it; what goes wrong is told to who asks for one.
                std::thread::spawn(move || _ = loaded.prepare_constraints());
                self.writers.push(Arc::new(Served::new(name, engine)?));
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
fn is_name_of(model: &str, asked: &str) -> bool {
    plain(model) == plain(asked)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
