//! Who keeps account of what answers take. The server tells when a request's work begins, how it goes on and when it is over;
//! sensors, models of what work takes and the files of the ledger are [`Accounts`]'s.
//!
//! A request has one [`Account`], however many answers: each adds the engine's time that went into it, without waiting for anybody,
//! and the last to end closes it. What it took is known a moment later, on a thread of the accounts' own, which then tells the end of
//! the answer: an engine waits for no sensor and a client for no file.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use ingle_engine::model_file::Loaded;
use ingle_route::ledger::{Place, Row};
use serde_json::{Value as Json, json};

/// The engine's time that went into a request, in nanoseconds.
#[derive(Debug, Default)]
pub struct Work(AtomicU64);

impl Work {
    /// So much more.
    pub fn add(&self, nanoseconds: u64) {
        self.0.fetch_add(nanoseconds, Relaxed);
    }

    /// All of it.
    pub fn nanoseconds(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What is done with a row when it is known, and with what held the work back.
pub type Then = Box<dyn FnOnce(Row, &[&'static str]) + Send>;

/// Who keeps account.
pub trait Accounts: fmt::Debug + Send + Sync {
    /// Work of a model that writes, or of one that only reads, begins for the holder of the key `by`, or for who needs none. Work that
    /// nobody holds any more is over.
    fn open(&self, by: Option<&str>, writer: Option<&Arc<Loaded>>) -> Arc<Work>;

    /// It is over, with so many tokens of prompt and answer: `then` is told what it took. Returns at once.
    fn close(&self, work: &Arc<Work>, tokens: [u64; 2], then: Then);

    /// Which of models of so many bytes is to answer, the first of which was asked for: another one only where the user allowed it and the
    /// device needs it.
    fn choose(&self, n_bytes: &[u64]) -> usize;

    /// Adds what was measured to numbers for monitoring, in Prometheus's text form.
    fn metrics(&self, to: &mut String);

    /// The ledger as a page, from `since` on, in the words of `ingle ledger --since`.
    ///
    /// # Errors
    /// What is wrong with `since`, or with the files.
    fn page(&self, since: Option<&str>) -> Result<String, String>;
}

/// The account of a request with one answer or more.
pub struct Account {
    accounts: Arc<dyn Accounts>,
    work: Arc<Work>,
    n_open: AtomicUsize,
    n_in: AtomicU64,
    n_out: AtomicU64,
    /// Tokens of what was read and written for it beside its answers.
    n_read: [AtomicU64; 2],
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("work", &self.work).finish_non_exhaustive()
    }
}

impl Account {
    /// Of `n` answers that begin.
    pub fn open(accounts: &Arc<dyn Accounts>, by: Option<&str>, loaded: &Arc<Loaded>, n: usize) -> Arc<Self> {
        Arc::new(Self {
            work: accounts.open(by, Some(loaded)),
            accounts: accounts.clone(),
            n_open: AtomicUsize::new(n),
            n_in: AtomicU64::new(0),
            n_out: AtomicU64::new(0),
            n_read: Default::default(),
        })
    }

    /// More of the engine's time.
    pub fn worked(&self, nanoseconds: u64) {
        self.work.add(nanoseconds);
    }

    /// So many answers more.
    pub fn enter(&self, n: usize) {
        self.n_open.fetch_add(n, Relaxed);
    }

    /// So many tokens were read and written for it, beside its answers.
    pub fn read(&self, tokens: [usize; 2]) {
        self.n_read.iter().zip(tokens).for_each(|(sum, n)| _ = sum.fetch_add(n as u64, Relaxed));
    }

    /// One answer is over: `tell` is told at once, or, of the last, when it is known what all took.
    pub fn leave(&self, [n_in, n_out]: [usize; 2], tell: impl FnOnce(Option<Took>) + Send + 'static) {
        self.n_in.fetch_max(n_in as u64, Relaxed);
        self.n_out.fetch_add(n_out as u64, Relaxed);
        if self.n_open.fetch_sub(1, Relaxed) > 1 {
            return tell(None);
        }
        let [n_read, n_written] = self.n_read.each_ref().map(|n| n.load(Relaxed));
        let tokens = [self.n_in.load(Relaxed) + n_read, self.n_out.load(Relaxed) + n_written];
        self.accounts.close(
            &self.work,
            tokens,
            Box::new(|row, held_back| tell(Some(Took::here(row, held_back)))),
        );
    }
}

/// What is told of an answer beside its words: where it is from and what it took.
#[derive(Debug, Clone)]
pub struct Took {
    /// As the ledger has it.
    pub row: Row,
    /// Who answered, if it was not this device.
    pub endpoint: Option<String>,
    /// Why it ended, in the word of who answered elsewhere.
    pub ended: Option<String>,
    /// Of an answer that was begun here and replaced: what that took.
    pub replaced: Option<Box<Row>>,
    /// What held the work back.
    pub held_back: Vec<&'static str>,
    /// The probability that an answer from here is right, where it was to be judged.
    pub confidence: Option<f64>,
    /// Of an answer about documents: how it came about.
    pub documents: Option<Box<Json>>,
}

impl Took {
    /// An answer from here.
    fn here(row: Row, held_back: &[&'static str]) -> Self {
        Self { held_back: held_back.to_vec(), ..Self::there(row) }
    }

    /// An answer of which nothing is known but its row.
    pub fn there(row: Row) -> Self {
        Self {
            row,
            endpoint: None,
            ended: None,
            replaced: None,
            held_back: Vec::new(),
            confidence: None,
            documents: None,
        }
    }

    /// Where the answer is from, in a word.
    pub fn route(&self) -> &'static str {
        match self.row.place {
            Place::Here => "here",
            Place::There => "there",
            Place::Redacted => "redacted",
            Place::Refused => "refused",
        }
    }

    /// As responses say it.
    pub fn json(&self) -> Json {
        let mut told = json!({ "route": self.route(), "wall_ms": self.row.wall_ms });
        if let Some(endpoint) = &self.endpoint {
            told["by"] = endpoint.as_str().into();
        }
        if let Some(ended) = &self.ended {
            told["finish"] = ended.as_str().into();
        }
        put_amounts(&self.row, &mut told);
        if let Some(confidence) = self.confidence {
            told["confidence"] = confidence.into();
        }
        if !self.held_back.is_empty() {
            told["held_back_by"] = json!(self.held_back);
        }
        if let Some(documents) = &self.documents {
            told["documents"] = (**documents).clone();
        }
        if let Some(row) = &self.replaced {
            let mut replaced = json!({ "route": "here", "tokens": row.tokens_out });
            put_amounts(row, &mut replaced);
            told["replaced"] = replaced;
        }
        told
    }
}

fn put_amounts(row: &Row, told: &mut Json) {
    if let Some(energy) = &row.energy {
        let [low, value, high] = [energy.uj.low, energy.uj.value, energy.uj.high].map(|uj| uj as f64 / 1e6);
        told["joules"] = json!({
            "value": value, "low": low, "high": high, "method": energy.method, "scope": energy.scope,
        });
    }
    if let Some(money) = &row.money {
        let [low, value, high] = [money.nano.low, money.nano.value, money.nano.high].map(|n| n as f64 / 1e9);
        told["money"] = json!({ "value": value, "low": low, "high": high, "currency": money.currency });
    }
    if let Some(carbon) = &row.co2e {
        let [low, value, high] = [carbon.ug.low, carbon.ug.value, carbon.ug.high].map(|ug| ug as f64 / 1e6);
        told["co2e_g"] = json!({ "value": value, "low": low, "high": high });
    }
    if row.bytes_out > 0 {
        told["bytes_out"] = row.bytes_out.into();
    }
}
