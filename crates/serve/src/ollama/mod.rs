//! Ollama's routes: answers (`generate`, `chat`), vectors (`embed`), what is served (`models`), and what is installed (`installed`).
//!
//! Answers come as lines of JSON unless `stream` is false. Left out, and refused by name: images, templates of a request's own,
//! `context` (ids of an earlier answer: `/api/chat` takes messages instead) and gaps to fill (`suffix`).

pub mod answer;
pub mod chat;
pub mod embed;
pub mod generate;
pub mod installed;
pub mod keep_alive;
pub mod models;
mod options;

use ingle_model::prompt::Now;

/// Seconds since 1970 as RFC 3339 has them.
fn timestamp(seconds: u64) -> String {
    let Now { year, month, day, hour, minute, second } = Now::from_unix(seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_written_as_rfc_3339_has_them() {
        assert_eq!(super::timestamp(1_767_323_045), "2026-01-02T03:04:05Z");
    }
}
