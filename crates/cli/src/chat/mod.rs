//! Conversations: the prompt a model wants, one answer, and the session at the terminal.

pub mod answer;
mod commands;
mod conversation;
mod lines;
pub mod prompt;
pub mod terminal;

pub use conversation::Conversation;
