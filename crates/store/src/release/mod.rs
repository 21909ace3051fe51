//! Signed releases of models: how a publisher makes them, and how a device follows them.
//!
//! A publisher's repository is one of The Update Framework ([`make`], with [`roles`]), in which each release also carries a
//! signature of its own ([`crate::signing`]). A device [`refresh`]es what it knows, reads what is offered ([`offer`]), and
//! [`plan`] says what to do: a pure function, which [`update`] performs step by step through [`disk`]. What is known lies
//! in one [`state`], so that whatever moment a program ends at there is the old release or the new one; what is [`here`] can be
//! listed and removed. Which devices take a release early they decide themselves ([`rollout`]).
//!
//! Left out: delegated roles; updates of the program itself; anything that happens without somebody typing a command.

pub mod offer;
pub mod rollout;

pub mod disk;
pub mod state;

pub mod plan;
pub mod refresh;
pub mod update;

pub mod here;

pub mod make;
pub mod roles;

pub use update::Releases;
