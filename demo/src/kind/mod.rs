//! The shelf of task kinds: one file each, and one line in [`KINDS`].

mod chat;
mod echo;
mod extract;
mod fim;
mod rewrite;
mod story;
mod story_qa;
mod summary;
mod sums;

use crate::item::Kind;

/// Every task kind, in the order in which scores are listed.
pub static KINDS: &[&Kind] = &[
    &chat::CHAT,
    &story::STORY,
    &story_qa::STORY_QA,
    &sums::SUMS,
    &extract::EXTRACT,
    &summary::SUMMARY,
    &rewrite::REWRITE,
    &fim::FIM,
    &echo::ECHO,
];
