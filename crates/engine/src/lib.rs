//! Time: mapped files, sessions, sampling, events.
