//! What routes know: the models by their names, what is stored, and the limits that hold.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use ingle_model::prompt::Now;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::listen::{Limits, Phase};
use crate::ollama::installed::Library;
use crate::openai::responses::stored::{LIMITS, Stored};
use crate::payload;
use crate::reader::{Reader, Task};
use crate::refusal::Refusal;
use crate::served::{Model, Served, Serving};

/// What routes know.
#[derive(Debug)]
pub struct App {
    /// Models that write; the first is who is asked when a request names none.
    pub writers: Vec<Arc<Served>>,
    /// Responses that later ones may go on from.
    pub responses: Stored,
    /// Models that only read.
    pub readers: Vec<Arc<Reader>>,
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
    /// Nanoseconds in which connections were served: requests read and answers written.
    pub http_ns: Arc<AtomicU64>,
    /// Held while a model is fetched.
    pub pulling: Arc<Mutex<()>>,
}

impl App {
    /// # Errors
    /// When two models have one name, or one has no tokenizer.
    pub fn new(
        serving: Vec<Serving>,
        library: Option<Arc<dyn Library>>,
        limits: Limits,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let mut app = Self {
            writers: Vec::new(),
            readers: Vec::new(),
            responses: Stored::new(LIMITS),
            started: unix_seconds(),
            limits,
            phase,
            bodies: payload::room(),
            library,
            http_ns: Arc::default(),
            pulling: Arc::default(),
        };
        for Serving { name, model } in serving {
            if app.any(Some(&name)).is_ok() {
                return Err(io::Error::other(format!(
                    "two models have the name {name:?}, expected one each"
                )));
            }
            match model {
                Model::Writer(engine) => {
                    let loaded = engine.loaded().clone();
                    // So that the first answer of a form does not wait for it; what goes wrong is told to who asks for one.
                    std::thread::spawn(move || _ = loaded.prepare_constraints());
                    app.writers.push(Arc::new(Served::new(name, engine).map_err(io::Error::other)?));
                }
                Model::Reader(embedder) => app.readers.push(Arc::new(Reader::new(name, embedder))),
            }
        }
        Ok(app)
    }

    /// Now, in seconds since 1970.
    pub fn now(&self) -> u64 {
        unix_seconds()
    }

    /// Now, as templates are told of it.
    pub fn calendar(&self) -> Now {
        Now::from_unix(unix_seconds())
    }

    /// The model of this name that writes; without one, the first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it writes nothing.
    pub fn model(&self, name: Option<&str>) -> Result<Arc<Served>, Refusal> {
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

    /// The model of this name that does `task`; without one, the first, and an encoder before others.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when there is none of that name, [`Refusal::Invalid`] when it, or every model, does something else.
    pub fn reader(&self, name: Option<&str>, task: Task) -> Result<Arc<Reader>, Refusal> {
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

/// Whether a model is meant. Clients of Ollama put `:latest` behind names that have no tag.
fn is_name_of(model: &str, asked: &str) -> bool {
    model.strip_suffix(":latest").unwrap_or(model) == asked.strip_suffix(":latest").unwrap_or(asked)
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
