//! Time: mapped files, sessions, sampling, events.

pub mod sample;
