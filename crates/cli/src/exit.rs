//! How the program ends: one number per kind of end, one sentence per failure.

use std::io;

use ingle_engine::Error as EngineError;
use ingle_engine::sample::SampleError;
use ingle_model::Error as ModelError;
use ingle_net::Error as NetError;
use ingle_store::Error as StoreError;

/// The exit codes, which scripts rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub u8, pub &'static str);

impl Exit {
    pub const OK: Self = Self(0, "ok");
    pub const FAILED: Self = Self(1, "failed (unsupported family or format, prompt too long)");
    pub const USAGE: Self = Self(2, "wrong usage");
    pub const NOT_FOUND: Self = Self(3, "model or file not found");
    pub const MEMORY: Self = Self(4, "not enough memory");
    pub const INVALID: Self = Self(5, "verification failed (truncated or malformed file, wrong hash)");
    pub const BLOCKED: Self = Self(6, "blocked by policy");
    pub const NETWORK: Self = Self(7, "network");
    pub const INTERRUPTED: Self = Self(130, "interrupted");

    /// All of them, for the help.
    pub const ALL: &[Self] = &[
        Self::OK,
        Self::FAILED,
        Self::USAGE,
        Self::NOT_FOUND,
        Self::MEMORY,
        Self::INVALID,
        Self::BLOCKED,
        Self::NETWORK,
        Self::INTERRUPTED,
    ];
}

/// Why a verb could not do its work.
#[derive(Debug)]
pub struct Failure {
    /// The code to end with.
    pub exit: Exit,
    /// What to say; empty where silence is right (the reader of our output has gone).
    pub message: String,
}

impl Failure {
    fn new(exit: Exit, message: impl ToString) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// The request can't be understood.
    pub fn usage(message: impl ToString) -> Self {
        Self::new(Exit::USAGE, message)
    }

    /// There is no such model or file.
    pub fn not_found(message: impl ToString) -> Self {
        Self::new(Exit::NOT_FOUND, message)
    }

    /// It can't be done.
    pub fn failed(message: impl ToString) -> Self {
        Self::new(Exit::FAILED, message)
    }

    /// There is not enough memory.
    pub fn memory(message: impl ToString) -> Self {
        Self::new(Exit::MEMORY, message)
    }

    /// A policy forbids it.
    pub fn blocked(message: impl ToString) -> Self {
        Self::new(Exit::BLOCKED, message)
    }

    /// The network gave no answer.
    pub fn network(message: impl ToString) -> Self {
        Self::new(Exit::NETWORK, message)
    }

    /// A file is not what it should be.
    pub fn invalid(message: impl ToString) -> Self {
        Self::new(Exit::INVALID, message)
    }

    /// Somebody asked to stop, who needs not be told.
    pub fn interrupted() -> Self {
        Self::new(Exit::INTERRUPTED, "")
    }

    /// The system refused `file`.
    pub fn file(file: impl AsRef<std::path::Path>, error: &io::Error) -> Self {
        let file = file.as_ref().display();
        match error.kind() {
            io::ErrorKind::NotFound => Self::not_found(format!("{file}: no such file")),
            _ => Self::failed(format!("{file}: {error}")),
        }
    }
}

/// A failed write to stdout: a reader that went away (`ingle ... | head`) is no failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Exit::OK, ""),
            _ => Self::failed(format!("stdout: {error}")),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Self::failed(error),
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        use EngineError as E;
        let exit = match &error {
            E::NotFound { .. } => Exit::NOT_FOUND,
            E::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NOT_FOUND,
            E::Model { source, .. } => exit_of_model(source),
            E::Changed { .. } => Exit::INVALID,
            E::Tier { .. } | E::Sample { source: SampleError::Param { .. }, .. } => Exit::USAGE,
            E::Memory { .. } => Exit::MEMORY,
            _ => Exit::FAILED,
        };
        Self::new(exit, error)
    }
}

impl From<NetError> for Failure {
    fn from(error: NetError) -> Self {
        Self::new(exit_of_net(&error), error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let exit = exit_of_store(&error);
        match error {
            StoreError::Net(error) => error.into(),
            error => Self::new(exit, error),
        }
    }
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        Self::new(exit_of_model(&error), error)
    }
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        let exit = if matches!(error, SampleError::Param { .. }) { Exit::USAGE } else { Exit::FAILED };
        Self::new(exit, error)
    }
}

fn exit_of_net(error: &NetError) -> Exit {
    match error {
        NetError::Blocked { .. } => Exit::BLOCKED,
        NetError::Input { .. } => Exit::USAGE,
        NetError::Interrupted => Exit::INTERRUPTED,
        _ => Exit::NETWORK,
    }
}

fn exit_of_store(error: &StoreError) -> Exit {
    use StoreError as E;
    match error {
        E::Net(error) => exit_of_net(error),
        E::Reference { .. } => Exit::USAGE,
        E::NotFound { .. } => Exit::NOT_FOUND,
        E::Status { .. } => Exit::NETWORK,
        E::Mismatch { .. } => Exit::INVALID,
        E::Refused { .. } => Exit::BLOCKED,
        E::Release { source, .. } => exit_of_store(source),
        E::Interrupted(_) => Exit::INTERRUPTED,
        _ => Exit::FAILED,
    }
}

fn exit_of_model(error: &ModelError) -> Exit {
    match error {
        ModelError::Malformed { .. } => Exit::INVALID,
        _ => Exit::FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_code() {
        let of = |e: EngineError| Failure::from(e).exit.0;
        let model = |source| EngineError::Model { file: "x".into(), source };
        assert_eq!(of(EngineError::NotFound { file: "x".into() }), 3);
        assert_eq!(of(model(ModelError::malformed("header", "7 bytes", "more"))), 5);
        assert_eq!(of(model(ModelError::unsupported("family", "foo", ["llama"]))), 1);
        assert_eq!(of(EngineError::PromptTooLong { tokens: 9, ctx: 4 }), 1);
        assert_eq!(of(EngineError::Memory { what: "x".into(), needed: 2, available: 1 }), 4);
        assert_eq!(of(EngineError::Tier { name: "x".into(), available: "scalar".into() }), 2);
        assert_eq!(Failure::from(io::Error::from(io::ErrorKind::BrokenPipe)).exit, Exit::OK);
        let of = |e: StoreError| Failure::from(e).exit.0;
        let text = || "x".to_owned();
        assert_eq!(of(StoreError::NotFound { what: text(), why: text() }), 3);
        assert_eq!(of(NetError::Blocked { url: text(), reason: text() }.into()), 6);
        assert_eq!(of(NetError::Connection { url: text(), reason: text() }.into()), 7);
        assert_eq!(of(StoreError::Status { url: text(), status: 500, said: text() }), 7);
        assert_eq!(of(StoreError::Interrupted(text())), 130);
    }

    #[test]
    fn codes_are_distinct() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|e| e.0).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 130]);
    }
}
