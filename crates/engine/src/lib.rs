//! Time: mapped files, sessions, sampling, events.

pub mod sample;
pub mod stop;
