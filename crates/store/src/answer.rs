//! What a server's answer to "the bytes from N on, please" means. Pure: status and headers in, a verdict out.

use std::ops::Range;
use std::time::Duration;

use ingle_net::Response;

/// The parts of an answer's head that matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head<'a> {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// `Content-Range`.
    pub content_range: Option<&'a str>,
    /// `Retry-After`.
    pub retry_after: Option<&'a str>,
}

impl<'a> Head<'a> {
    /// Of an answer.
    pub fn of(response: &'a Response) -> Self {
        Self {
            status: response.status,
            content_length: response.content_length(),
            content_range: response.header("content-range"),
            retry_after: response.header("retry-after"),
        }
    }
}

/// What to do with the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on where we stopped; the whole file has this many bytes.
    Append {
        /// Bytes of the whole file.
        size: u64,
    },
    /// It is the whole file: begin anew.
    Restart {
        /// Bytes of the whole file.
        size: u64,
    },
    /// The server says there is nothing behind what we have. `size` is what it says the whole has.
    NothingLeft {
        /// Bytes of the whole file, where the server says.
        size: Option<u64>,
    },
    /// Its fault or its load; worth another try, not before this time.
    Later(Option<Duration>),
    /// It wants to know who asks, or refuses whoever it is.
    Denied,
    /// There is no such thing.
    Missing,
    /// Something that more tries won't change.
    Refused,
    /// The answer contradicts itself or what is known: found, expected.
    Wrong(String, String),
}

/// Longest wait a server may ask for; beyond it we rather fail and say so.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// Judges the answer to a request for the bytes from `from` on of a file of `size` bytes, where that is known.
pub fn judge(head: &Head<'_>, from: u64, size: Option<u64>) -> Verdict {
    let wrong = |found: String, expected: String| Verdict::Wrong(found, expected);
    match head.status {
        200 => match (head.content_length, size) {
            (Some(length), Some(size)) if length != size => {
                wrong(format!("a file of {length} bytes"), format!("{size} bytes"))
            }
            (Some(length), None) => Verdict::Restart { size: length },
            (_, Some(size)) => Verdict::Restart { size },
            (None, None) => wrong("a file without its length".into(), "a Content-Length".into()),
        },
        206 => match head.content_range.and_then(parse_content_range) {
            Some((range, total))
                if range == (from..total) && size.is_none_or(|size| size == total) && from < total =>
            {
                Verdict::Append { size: total }
            }
            _ => wrong(
                format!("the range {:?}", head.content_range.unwrap_or("(none)")),
                match size {
                    Some(size) => format!("bytes {from}-{}/{size}", size.saturating_sub(1)),
                    None => format!("bytes from {from} on"),
                },
            ),
        },
        416 => Verdict::NothingLeft { size: head.content_range.and_then(parse_unsatisfied) },
        _ => refused(head),
    }
}

/// Judges the answer to a request for `asked` of a file of `size` bytes. [`Verdict::Restart`] says that it is the whole file.
pub fn judge_part(head: &Head<'_>, asked: Range<u64>, size: u64) -> Verdict {
    match head.status {
        200 => Verdict::Restart { size },
        206 => match head.content_range.and_then(parse_content_range) {
            Some((range, total)) if range == asked && total == size && !asked.is_empty() => {
                Verdict::Append { size }
            }
            _ => Verdict::Wrong(
                format!("the range {:?}", head.content_range.unwrap_or("(none)")),
                format!("bytes {}-{}/{size}", asked.start, asked.end.saturating_sub(1)),
            ),
        },
        416 => Verdict::Wrong(
            "that there are no such bytes".into(),
            format!("bytes {}-{}/{size}", asked.start, asked.end.saturating_sub(1)),
        ),
        _ => refused(head),
    }
}

/// What an answer without content means.
fn refused(head: &Head<'_>) -> Verdict {
    match head.status {
        401 | 403 => Verdict::Denied,
        404 | 410 => Verdict::Missing,
        408 | 425 | 429 | 500..=599 => Verdict::Later(head.retry_after.and_then(parse_retry_after)),
        _ => Verdict::Refused,
    }
}

/// `bytes FIRST-LAST/TOTAL`: the range, and the total.
fn parse_content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total): (u64, u64, u64) =
        (first.trim().parse().ok()?, last.trim().parse().ok()?, total.trim().parse().ok()?);
    let end = last.checked_add(1)?;
    (first < end && end <= total).then_some((first..end, total))
}

/// `bytes */TOTAL`.
fn parse_unsatisfied(text: &str) -> Option<u64> {
    text.strip_prefix("bytes */")?.trim().parse().ok()
}

/// Seconds; the form with a date is not used by the servers we speak to.
fn parse_retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(|s| Duration::from_secs(s).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16) -> Head<'static> {
        Head { status, ..Head::default() }
    }

    #[test]
    fn a_whole_file_must_have_the_length_that_is_known() {
        let with = |content_length| Head { content_length, ..head(200) };
        assert_eq!(judge(&with(Some(9)), 4, Some(9)), Verdict::Restart { size: 9 });
        assert_eq!(judge(&with(None), 0, Some(9)), Verdict::Restart { size: 9 });
        assert_eq!(judge(&with(Some(9)), 0, None), Verdict::Restart { size: 9 });
        assert!(matches!(judge(&with(Some(8)), 0, Some(9)), Verdict::Wrong(..)));
        assert!(matches!(judge(&with(None), 0, None), Verdict::Wrong(..)));
    }

    #[test]
    fn a_range_must_be_the_one_that_was_asked_for() {
        let with = |range| Head { content_range: Some(range), ..head(206) };
        assert_eq!(judge(&with("bytes 4-8/9"), 4, Some(9)), Verdict::Append { size: 9 });
        assert_eq!(judge(&with("bytes 4-8/9"), 4, None), Verdict::Append { size: 9 });
        for range in [
            "bytes 3-8/9",
            "bytes 4-7/9",
            "bytes 4-8/10",
            "bytes 4-9/10",
            "bytes 4-8/*",
            "bytes 8-4/9",
            "4-8/9",
            "bytes 4-18446744073709551615/9",
            "",
        ] {
            assert!(matches!(judge(&with(range), 4, Some(9)), Verdict::Wrong(..)), "{range}");
        }
        assert!(matches!(judge(&head(206), 4, Some(9)), Verdict::Wrong(..)));
    }

    #[test]
    fn a_part_must_be_the_one_that_was_asked_for() {
        let with = |range| Head { content_range: Some(range), ..head(206) };
        assert_eq!(judge_part(&with("bytes 4-7/9"), 4..8, 9), Verdict::Append { size: 9 });
        assert_eq!(judge_part(&head(200), 4..8, 9), Verdict::Restart { size: 9 });
        for range in ["bytes 4-8/9", "bytes 4-6/9", "bytes 3-7/9", "bytes 4-7/10", "bytes 4-7/*", ""] {
            assert!(matches!(judge_part(&with(range), 4..8, 9), Verdict::Wrong(..)), "{range}");
        }
        assert!(matches!(judge_part(&head(416), 4..8, 9), Verdict::Wrong(..)));
        assert_eq!(judge_part(&head(403), 4..8, 9), Verdict::Denied);
    }

    #[test]
    fn every_other_status_has_its_meaning() {
        let beyond = Head { content_range: Some("bytes */9"), ..head(416) };
        assert_eq!(judge(&beyond, 9, Some(9)), Verdict::NothingLeft { size: Some(9) });
        assert_eq!(judge(&head(416), 9, Some(9)), Verdict::NothingLeft { size: None });
        assert_eq!(judge(&head(401), 0, None), Verdict::Denied);
        assert_eq!(judge(&head(404), 0, None), Verdict::Missing);
        assert_eq!(judge(&head(418), 0, None), Verdict::Refused);
        assert_eq!(judge(&head(503), 0, None), Verdict::Later(None));
        let soon = Head { retry_after: Some("7"), ..head(429) };
        assert_eq!(judge(&soon, 0, None), Verdict::Later(Some(Duration::from_secs(7))));
        let never = Head { retry_after: Some("99999999"), ..head(429) };
        assert_eq!(judge(&never, 0, None), Verdict::Later(Some(WAIT_MAX)));
    }
}
