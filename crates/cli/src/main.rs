//! The `ingle` command.
fn main() {}
