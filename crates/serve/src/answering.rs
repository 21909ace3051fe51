//! A request that is answered by a model, whatever API it came by: read, asked, and told in one piece or as a stream.
//!
//! An API is a [`Dialect`]: it takes a request apart and writes what was said in its own words. All else is here, once: reading on
//! a thread that may take its time, the channel from the engine, the stream with its signs of life while nothing is said.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Extension;
use axum::Json as AsJson;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use ingle_route::policy::Wish;
use serde_json::Value as Json;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Interval, interval_at};

use crate::app::App;
use crate::ask::{Question, Said, Telling, What, ask};
use crate::documents;
use crate::elsewhere::{self, Again, Course, course, take_wish, wish_of};
use crate::feedback::Named;
use crate::fields::Fields;
use crate::guard::Caller;
use crate::payload::{Payload, aside};
use crate::refusal::Refusal;
use crate::reply::SoFar;
use crate::served::Served;

/// Nothing said for so long, and a stream shows that it is alive: proxies end what is silent.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Where an answer in one piece is from; in a request, where it may be from.
pub static ROUTE_HEADER: HeaderName = HeaderName::from_static("x-ingle-route");
const BROKE_OFF: &str = "the engine stopped before the answer was complete";

/// A request taken apart.
#[derive(Debug)]
pub struct Asked<D> {
    /// The model.
    pub served: Arc<Served>,
    /// What it is asked.
    pub question: Question,
    /// How the answer is streamed, if it is.
    pub stream: Option<Framing>,
    /// Who writes it.
    pub dialect: D,
}

/// How the parts of a stream are set apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Server-sent events.
    Events,
    /// A JSON document to a line.
    Lines,
}

/// An API's way of asking and of answering.
pub trait Dialect: Sized + Send + Unpin + 'static {
    /// Takes a request of `caller`'s apart.
    fn read(app: &Arc<App>, caller: Caller, fields: Fields) -> Result<Asked<Self>, Refusal>;

    /// The response in one piece, when all is said.
    fn whole(&mut self, so_far: &SoFar) -> Json;

    /// Writes what comes first in a stream.
    fn begin(&mut self, _to: &mut Told) {}

    /// Writes what was `said`, which is part of what was said so far.
    fn tell(&mut self, said: &Said, so_far: &SoFar, to: &mut Told);

    /// Writes what was `said` of an answer that `by` replaces.
    fn replace(&mut self, _by: &str, said: &Said, so_far: &SoFar, to: &mut Told) {
        self.tell(said, so_far, to);
    }

    /// Writes what went wrong. The stream ends with it.
    fn fail(&mut self, refusal: &Refusal, to: &mut Told);

    /// Writes a sign of life.
    fn ping(&self, to: &mut Told) {
        to.comment();
    }
}

/// What is to be sent.
#[derive(Debug)]
pub struct Told {
    framing: Framing,
    text: String,
}

impl Told {
    /// A document: an event without a name, or a line.
    pub fn document(&mut self, json: &Json) {
        match self.framing {
            Framing::Events => self.data(&json.to_string()),
            Framing::Lines => {
                self.text.push_str(&json.to_string());
                self.text.push('\n');
            }
        }
    }

    /// An event of a name.
    pub fn event(&mut self, name: &str, json: &Json) {
        self.text.push_str("event: ");
        self.text.push_str(name);
        self.text.push('\n');
        self.data(&json.to_string());
    }

    /// An event that is this text, of one line.
    pub fn data(&mut self, text: &str) {
        self.text.push_str("data: ");
        self.text.push_str(text);
        self.text.push_str("\n\n");
    }

    /// What readers of events pass over.
    fn comment(&mut self) {
        if self.framing == Framing::Events {
            self.text.push_str(": still here\n\n");
        }
    }
}

/// The route of an API.
pub async fn route<D: Dialect>(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Payload(body): Payload,
) -> Result<Response, Refusal> {
    let start = Instant::now();
    let reading = {
        let app = app.clone();
        move || {
            let mut fields = Fields::parse(&body)?;
            let header = headers.get(&ROUTE_HEADER).map(|value| value.to_str().unwrap_or("?"));
            let wish = take_wish(header, fields.text("route")?.as_deref())?;
            // What the request says, and no default of ours.
            let options = fields.get("options").and_then(|options| options.get("temperature"));
            let temperature = fields.get("temperature").or(options).and_then(Json::as_f64);
            let mut brought = documents::take(&mut fields)?;
            let asked = D::read(&app, caller, fields)?;
            let temperature = temperature.map(|temperature| temperature as f32);
            if let Some(brought) = &mut brought {
                brought.temperature = temperature;
            }
            let course = course(&app, caller, wish, &asked.served, &asked.question, temperature)?;
            let must = wish_of(&app, caller, wish) == Wish::Cloud;
            // It may read the ledger, which takes a while.
            let rule = match &course {
                Course::Open(router) if brought.is_none() => elsewhere::abort(&app, router),
                _ => None,
            };
            Ok((asked, (course, rule), brought.map(|brought| (brought, must))))
        }
    };
    let (Asked { served, mut question, stream, mut dialect }, (course, rule), brought) =
        aside(reading).await?;
    // Only of an answer that others could have given it matters how it was.
    let recent = app.recent.clone().filter(|_| question.words.is_some() && brought.is_none());
    question.margins = recent.is_some();
    let named = recent.map(|recent| Named { recent, by: caller, model: served.number });
    let mut so_far = SoFar::new(question.n, start, named);
    let by = app.name_of(caller);
    let mut said = match course {
        course if let Some((brought, must)) = brought => {
            documents::answer(&app, &served, question, brought, (course, must), by)?
        }
        Course::Here => ask(&app, &served, question, by)?,
        Course::Open(router) => {
            question.margins = true;
            question.abort = rule;
            let again = rule.map(|_| Question { abort: None, ..question.clone() });
            let local = ask(&app, &served, question, by)?;
            let again = again.map(|question| Again { question, by: by.map(str::to_owned) });
            elsewhere::judged(&app, local, router, (served, again))
        }
        Course::There(router) => elsewhere::there(&app, router)?,
    };
    if let Some(framing) = stream {
        return Ok(streamed(said, dialect, so_far, framing));
    }
    while !so_far.is_over() {
        let Some(telling) = said.recv().await else {
            return Err(Refusal::Failed(BROKE_OFF.into()));
        };
        match telling {
            Telling::Said(said) => said.iter().try_for_each(|said| so_far.take(said))?,
            Telling::Took(took) => so_far.took = Some(took),
            Telling::Replaced(_) => so_far.void(),
            Telling::GivenUp => {}
            Telling::Sure(margins) => so_far.margins = Some(margins),
        }
    }
    let mut response = AsJson(dialect.whole(&so_far)).into_response();
    if let Some(took) = &so_far.took {
        response.headers_mut().insert(ROUTE_HEADER.clone(), HeaderValue::from_static(took.route()));
    }
    Ok(response)
}

/// The response that tells what is said as it comes. A client that goes drops it, and with it the receiver.
fn streamed(said: Receiver<Telling>, mut dialect: impl Dialect, so_far: SoFar, framing: Framing) -> Response {
    let mut first = Told { framing, text: String::new() };
    dialect.begin(&mut first);
    let kind = match framing {
        Framing::Events => "text/event-stream; charset=utf-8",
        Framing::Lines => "application/x-ndjson",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    let pings = interval_at(tokio::time::Instant::now() + PING_EVERY, PING_EVERY);
    // Where nothing was asked, the beginning is all.
    let is_over = so_far.is_over();
    let spoken = Spoken { said, dialect, so_far, framing, first: Some(first.text), pings, is_over };
    (headers, Body::from_stream(spoken)).into_response()
}

/// A stream, as its client reads it.
struct Spoken<D> {
    said: Receiver<Telling>,
    dialect: D,
    so_far: SoFar,
    framing: Framing,
    first: Option<String>,
    pings: Interval,
    is_over: bool,
}

impl<D: Dialect> Spoken<D> {
    /// Says that what was said is void, in words that every client shows.
    fn replace(&mut self, by: &str, to: &mut Told) {
        let text = format!("\n\n[The answer above is void; this one, from {by}, replaces it:]\n\n");
        let what = What::Text { text, thinks: false, logprobs: Vec::new() };
        let said = Said { index: 0, what, n_tokens: 0 };
        if self.so_far.take(&said).is_ok() {
            self.dialect.replace(by, &said, &self.so_far, to);
        }
    }

    fn tell(&mut self, said: &Said, to: &mut Told) {
        if self.is_over {
            return;
        }
        match self.so_far.take(said) {
            Ok(()) => self.dialect.tell(said, &self.so_far, to),
            Err(refusal) => {
                self.dialect.fail(&refusal, to);
                self.is_over = true;
            }
        }
        self.is_over |= self.so_far.is_over();
    }
}

impl<D: Dialect> Stream for Spoken<D> {
    type Item = Result<String, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Poll::Ready(Some(Ok(first)));
        }
        let mut told = Told { framing: self.framing, text: String::new() };
        while !self.is_over && told.text.is_empty() {
            match self.said.poll_recv(context) {
                Poll::Pending => {
                    if self.pings.poll_tick(context).is_pending() {
                        return Poll::Pending;
                    }
                    self.dialect.ping(&mut told);
                }
                Poll::Ready(None) => {
                    self.dialect.fail(&Refusal::Failed(BROKE_OFF.into()), &mut told);
                    self.is_over = true;
                }
                Poll::Ready(Some(telling)) => {
                    self.pings.reset();
                    match telling {
                        Telling::Said(said) => said.iter().for_each(|said| self.tell(said, &mut told)),
                        Telling::Took(took) => self.so_far.took = Some(took),
                        Telling::Replaced(by) => self.replace(&by, &mut told),
                        Telling::GivenUp => {}
                        Telling::Sure(margins) => self.so_far.margins = Some(margins),
                    }
                }
            }
        }
        Poll::Ready((!told.text.is_empty()).then_some(Ok(told.text)))
    }
}
