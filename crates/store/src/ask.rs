//! Asks for something small (a listing, a manifest) and reads the whole of it, with as many tries as it takes.

use std::time::Duration;

use ingle_net::policy::Purpose;
use ingle_net::{Client, Request, Url};

use crate::answer::{Head, Verdict, judge};
use crate::error::{Error, Result};
use crate::fetch::{Event, Pass, Retry, Stop, Watch, denied, pause};
use crate::registry::pass::Shown;

/// Time for the whole answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    /// Where.
    pub url: &'a Url,
    /// What is shown.
    pub pass: Pass<'a>,
    /// Kinds of content that are understood.
    pub accept: Option<&'a str>,
    /// What it is about, for messages.
    pub what: &'a str,
    /// Who is asked, for messages: `the hub`.
    pub who: &'a str,
    /// Bytes that are read at most.
    pub bytes_max: u64,
}

/// The answer's content, and what the server says it hashes to, where it does.
pub(crate) struct Small {
    pub bytes: Vec<u8>,
    pub digest: Option<String>,
}

/// Asks until there is an answer or the tries are used up.
pub(crate) fn ask_small(
    client: &Client,
    question: &Question<'_>,
    retry: &Retry,
    watch: Watch<'_>,
) -> Result<Small> {
    let mut n_failed = 0;
    loop {
        let (error, asked) = match try_once(client, question) {
            Ok(answer) => return Ok(answer),
            Err((error, Some(asked))) => (error, asked),
            Err((error, None)) => return Err(error),
        };
        n_failed += 1;
        let Some(wait) = retry.wait(n_failed, asked) else { return Err(error) };
        if wait > Duration::ZERO {
            watch(Event::Waiting { why: error.to_string(), wait });
        }
        pause(client, wait)?;
    }
}

/// One try; an error comes with `Some(wait)` where another try may help.
fn try_once(
    client: &Client,
    question: &Question<'_>,
) -> std::result::Result<Small, (Error, Option<Option<Duration>>)> {
    let passing = |e: ingle_net::Error| match e {
        ingle_net::Error::Connection { .. } => (e.into(), Some(None)),
        e => (e.into(), None),
    };
    let token = question.pass.token();
    let request = Request {
        purpose: Purpose::ModelListing,
        url: question.url,
        token: token.as_ref().map(Shown::credential),
        from: 0,
        to: None,
        if_range: None,
        accept: question.accept,
        timeout: Some(TIMEOUT),
    };
    let response = client.get(&request).map_err(passing)?;
    let code = response.status;
    let status = |said: &str| Error::Status {
        url: question.url.origin.to_string(),
        status: code,
        said: said.to_owned(),
    };
    let stopped = |stop: Stop| match stop {
        Stop::Final(error) => (error, None),
        Stop::Later(error, asked) => (error, Some(asked)),
    };
    if question.pass.is_renewed(client, &response).map_err(stopped)? {
        return Err((status(", and gave a new pass"), Some(Some(Duration::ZERO))));
    }
    let head = Head { content_length: Some(0), content_range: None, ..Head::of(&response) };
    match judge(&head, 0, None) {
        Verdict::Restart { .. } => {
            let digest = response.header("docker-content-digest").map(str::to_owned);
            let bytes = response.read_whole(question.bytes_max).map_err(passing)?;
            Ok(Small { bytes, digest })
        }
        Verdict::Denied => Err((denied(question.what, &question.pass, code), None)),
        Verdict::Missing => {
            let why = format!("{} has no such model", question.who);
            Err((Error::NotFound { what: question.what.to_owned(), why }, None))
        }
        Verdict::Later(asked) => Err((status("; try again later"), Some(asked))),
        _ => Err((status(", expected a listing"), None)),
    }
}
