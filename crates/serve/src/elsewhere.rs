//! Answers from elsewhere: whether a request may be answered there, and how such an answer becomes what is told as if it were from here.
//!
//! The way of a request is `route`'s ([`Desk`]); connections, keys and files are [`Elsewhere`]'s. A request that may leave is answered
//! here first, unless it is asked for elsewhere, and how surely its tokens were chosen decides whether somebody else is asked. What was
//! shown meanwhile is void then: a stream says so, and who answers in its place. Where nobody does, the answer from here stands.
//!
//! Endpoints are waited for on threads of their own, at most [`AT_A_TIME`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ingle_engine::generate::{Finish, Outcome, Overflow};
use ingle_route::cloud::{CloudError, Piece, wire};
use ingle_route::confidence::{Ending, Margins, Rule};
use ingle_route::decide::Route;
use ingle_route::desk::{Answered, Desk, Router, Way};
use ingle_route::gate::{Message, Role, Wanted};
use ingle_route::ledger::Instead;
use ingle_route::policy::{Situation, Wish};
use serde_json::{Map, Value as Json};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::accounts::Took;
use crate::app::App;
use crate::ask::{Question, Said, Telling, What, ask, end_in_time};
use crate::guard::Caller;
use crate::refusal::{Begun, Refusal};
use crate::served::Served;

/// Requests that are answered elsewhere at the same time.
pub const AT_A_TIME: usize = 32;
/// Tellings that may wait for a slow client.
const TELLINGS_MAX: usize = 64;

/// Who knows where else answers may come from.
pub trait Elsewhere: fmt::Debug + Send + Sync {
    /// What the server's requests share.
    fn desk(&self) -> &Arc<Desk>;

    /// Where requests are to be answered that don't say.
    fn wish(&self) -> Wish;

    /// What is known of this moment, for the holder of the key `by` or for who needs none.
    fn situation(&self, by: Option<&str>) -> Situation;

    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;

    /// Has `router` ask, until `interrupted` is raised; `instead` says whether an answer from here stood before. Waits for the answer.
    ///
    /// # Errors
    /// When nobody answered.
    fn ask(
        &self,
        router: &Router,
        instead: Option<Instead>,
        interrupted: &Arc<AtomicBool>,
        on: &mut dyn FnMut(Piece<'_>),
    ) -> Result<Answered, CloudError>;
}

/// A conversation of nothing but texts, which can be asked of others.
#[derive(Debug, Clone)]
pub struct Words {
    /// All of it.
    pub messages: Vec<Message>,
    /// Further variables of the template, for who asks again here.
    pub extra: Map<String, Json>,
}

impl Words {
    /// Of messages in templates' words.
    pub fn of(messages: &Json, extra: &Map<String, Json>) -> Option<Self> {
        let one = |message: &Json| {
            let role = [Role::System, Role::User, Role::Assistant]
                .into_iter()
                .find(|role| message["role"] == role.name())?;
            let is_plain = ["tool_calls", "tool_call_id"].iter().all(|name| message[*name].is_null());
            let text = message["content"].as_str().filter(|_| is_plain)?.to_owned();
            Some(Message { role, text })
        };
        let messages = messages.as_array()?.iter().map(one).collect::<Option<_>>()?;
        Some(Self { messages, extra: extra.clone() })
    }
}

/// Where a request is answered.
pub enum Course {
    /// Here.
    Here,
    /// Here first, and elsewhere if that is worth it.
    Open(Box<Router>),
    /// Elsewhere.
    There(Box<Router>),
}

/// Takes where a request is to be answered, from its header and its body.
pub fn take_wish(header: Option<&str>, field: Option<&str>) -> Result<Wish, Refusal> {
    let read = |said: Option<&str>| {
        let expected = || Refusal::field("route", "route: expected \"auto\", \"local\" or \"cloud\"");
        said.map_or(Ok(Wish::Auto), |word| Wish::parse(word).ok_or_else(expected))
    };
    Ok(read(header)?.strictest(read(field)?))
}

/// What is left of a request's wish beside those of its key and of the server.
pub fn wish_of(app: &App, caller: Caller, wish: Wish) -> Wish {
    let by_key = app.keys.get(caller.0).map_or(Wish::Auto, |key| key.route);
    let by_server = app.elsewhere.as_ref().map_or(Wish::Auto, |elsewhere| elsewhere.wish());
    wish.strictest(by_key).strictest(by_server)
}

/// Where `question` of `caller` is answered that is asked for as `wish`, by who says it with this `temperature`. May take a while.
///
/// # Errors
/// [`Refusal::Forbidden`] when it is asked for elsewhere and a rule keeps it, [`Refusal::Invalid`] when it is more than words.
pub fn course(
    app: &App,
    caller: Caller,
    wish: Wish,
    served: &Served,
    question: &Question,
    temperature: Option<f32>,
) -> Result<Course, Refusal> {
    let wish = wish_of(app, caller, wish);
    let Some(elsewhere) = &app.elsewhere else {
        return match wish {
            Wish::Cloud => Err(Refusal::Forbidden("this server answers on its own device alone".into())),
            _ => Ok(Course::Here),
        };
    };
    if wish == Wish::Local || question.n == 0 {
        return Ok(Course::Here);
    }
    let Some(Words { messages, .. }) = &question.words else {
        let why = "route: only a conversation of texts can be answered elsewhere, without tools, forms, log-probabilities, \
                   the beginning of an answer, or several answers";
        return if wish == Wish::Cloud { Err(Refusal::field("route", why)) } else { Ok(Course::Here) };
    };
    let wanted = Wanted {
        max_tokens: u32::try_from(question.max_tokens).ok(),
        temperature,
        stop: question.sampling.stop.clone(),
    };
    let situation = Situation { wish, ..elsewhere.situation(app.name_of(caller)) };
    let router = match elsewhere.desk().way(messages, &wanted, &situation) {
        Way::Open(router) => router,
        Way::Kept(kept) if wish == Wish::Cloud => {
            return Err(refused(elsewhere, &situation, kept.to_string()));
        }
        Way::Ask(asking) if wish == Wish::Cloud => {
            let why = &asking.question().would_leave().verdict().why;
            let why = format!("this request stays on the device: {why}, and a server has nobody to ask");
            return Err(refused(elsewhere, &situation, why));
        }
        Way::Here | Way::Kept(_) | Way::Ask(_) => return Ok(Course::Here),
    };
    if wish == Wish::Cloud {
        return Ok(Course::There(router));
    }
    // A prompt that has room here has room for an answer, long or short.
    let fits =
        question.prompt.len() <= served.engine.ctx() || question.sampling.overflow == Overflow::DropOldest;
    let last = messages.iter().rev().find(|message| message.role == Role::User);
    let prompt = last.map_or("", |message| message.text.as_str());
    let decision = router.before(prompt, if fits { usize::MAX } else { 0 }, elsewhere.now_ms());
    Ok(match decision.map_err(|e| Refusal::Failed(e.to_string()))?.route {
        Route::Cloud => Course::There(router),
        Route::Local => Course::Open(router),
        // What is wrong with it here is said here.
        Route::Refuse => Course::Here,
    })
}

/// What is told of a request that is kept, which has its row.
fn refused(elsewhere: &Arc<dyn Elsewhere>, situation: &Situation, why: String) -> Refusal {
    // Who is refused need not hear of the ledger.
    let _ = elsewhere.desk().refused(situation.app.as_deref(), elsewhere.now_ms());
    Refusal::Forbidden(why)
}

/// What is told of an answer from elsewhere.
///
/// # Errors
/// [`Refusal::Busy`] when too many wait for others.
pub fn there(app: &Arc<App>, router: Box<Router>) -> Result<Receiver<Telling>, Refusal> {
    let (to, told) = channel(TELLINGS_MAX);
    let leg = Leg::new(app, &Handle::current(), router, &to, None);
    let Some(mut leg) = leg else { return Err(Refusal::Busy) };
    let start = std::thread::Builder::new().name("ingle-elsewhere".into());
    let started = start.spawn(move || {
        let last = match leg.ask() {
            Ok(answered) => return leg.end(answered, None),
            Err(CloudError::Interrupted(_)) => Refusal::Stopping,
            Err(error @ CloudError::NoAnswer(..)) => {
                let begun = leg.was_shown.then(|| Begun { route: leg.route(), by: leg.by.clone() });
                Refusal::Unanswered { message: error.to_string(), begun }
            }
            Err(error) => Refusal::Failed(error.to_string()),
        };
        leg.say(What::End(Err(last)), 0);
    });
    started.map(|_| told).map_err(|e| Refusal::Failed(format!("a thread: {e}")))
}

/// What is told of an answer from here, `local`, which is replaced if that is worth it.
pub fn judged(
    app: &Arc<App>,
    local: Receiver<Telling>,
    router: Box<Router>,
    (served, again): (Arc<Served>, Option<Again>),
) -> Receiver<Telling> {
    let (to, told) = channel(TELLINGS_MAX);
    tokio::spawn(judge(app.clone(), local, router, to, (served, again)));
    told
}

/// What is asked again where an answer from here was given up and nobody else answers.
#[derive(Debug)]
pub struct Again {
    /// Without a rule that gives it up.
    pub question: Question,
    /// Who asks.
    pub by: Option<String>,
}

/// The rule by which the policy gives up an answer from here that `router` may replace. Where the ledger can't be read, none is.
pub fn abort(app: &App, router: &Router) -> Option<Rule> {
    router.abort(app.elsewhere.as_ref()?.now_ms()).ok().flatten()
}

/// Tells the whole answer from here in place of the one that was given up.
fn once_more(app: &App, handle: &Handle, served: &Served, again: Again, to: &Sender<Telling>) {
    let _ = to.blocking_send(Telling::Replaced("this device".to_owned()));
    let asked = {
        let _inside = handle.enter();
        ask(app, served, again.question, again.by.as_deref())
    };
    match asked {
        Ok(mut told) => {
            while let Some(telling) = told.blocking_recv() {
                if to.blocking_send(telling).is_err() {
                    return;
                }
            }
        }
        Err(refusal) => {
            let last = Said { index: 0, what: What::End(Err(refusal)), n_tokens: 0 };
            let _ = to.blocking_send(Telling::Said(vec![last]));
        }
    }
}

/// What is known of an answer from here when it is over.
#[derive(Debug, Default)]
struct Local {
    /// The number of the model.
    model: u64,
    margins: Margins,
    took: Option<Box<Took>>,
    text: String,
    was_given_up: bool,
}

async fn judge(
    app: Arc<App>,
    mut local: Receiver<Telling>,
    router: Box<Router>,
    to: Sender<Telling>,
    (served, again): (Arc<Served>, Option<Again>),
) {
    let mut so_far = Local { model: served.number, ..Local::default() };
    let outcome = loop {
        let Some(telling) = local.recv().await else { return };
        let telling = match telling {
            Telling::Sure(margins) => {
                so_far.margins = *margins;
                continue;
            }
            Telling::Took(took) => {
                so_far.took = Some(took);
                continue;
            }
            Telling::GivenUp => {
                so_far.was_given_up = true;
                continue;
            }
            Telling::Said(mut said) => match said.pop_if(|said| matches!(said.what, What::End(Ok(_)))) {
                Some(Said { what: What::End(Ok(outcome)), n_tokens, .. }) => {
                    so_far.hear(&said);
                    if to.send(Telling::Said(said)).await.is_err() {
                        return;
                    }
                    break (outcome, n_tokens);
                }
                _ => {
                    so_far.hear(&said);
                    Telling::Said(said)
                }
            },
            other @ Telling::Replaced(_) => other,
        };
        if to.send(telling).await.is_err() {
            return;
        }
    };
    let (start, handle) = (std::thread::Builder::new().name("ingle-elsewhere".into()), Handle::current());
    // What can't be started leaves the answer without an end, which is told as such.
    let _ = start.spawn(move || decide(&app, &handle, router, to, (so_far, served, again), outcome));
}

/// How an answer ended, as confidence asks.
pub fn ending(finish: Finish) -> Ending {
    if finish == Finish::EndOfText { Ending::Itself } else { Ending::Cut }
}

impl Local {
    fn hear(&mut self, said: &[Said]) {
        for said in said {
            if let What::Text { text, thinks: false, .. } = &said.what {
                self.text.push_str(text);
            }
        }
    }
}

/// Asks elsewhere if that is worth it, and tells the end of the answer that stands.
fn decide(
    app: &Arc<App>,
    handle: &Handle,
    router: Box<Router>,
    to: Sender<Telling>,
    (mut local, served, again): (Local, Arc<Served>, Option<Again>),
    (outcome, n_tokens): (Outcome, usize),
) {
    let now_ms = app.elsewhere.as_ref().map_or(0, |elsewhere| elsewhere.now_ms());
    let right = router.confidence(local.model, &local.margins, ending(outcome.finish));
    local.was_given_up &= outcome.finish == Finish::Cancelled;
    let decided = router.after(if local.was_given_up { 0.0 } else { right }, now_ms);
    let is_worth_it = decided.is_ok_and(|decision| decision.route == Route::Cloud);
    let wants = is_worth_it && (local.was_given_up || outcome.finish != Finish::Cancelled);
    let leg = wants.then(|| Leg::new(app, handle, router, &to, Some(&local))).flatten();
    if let Some(mut leg) = leg {
        match leg.ask() {
            Ok(answered) => return leg.end(answered, local.took.map(|took| took.row)),
            Err(_) if local.was_given_up => {}
            // What of it was shown is void again.
            Err(_) if leg.was_shown => {
                leg.tell(Telling::Replaced("this device".to_owned()));
                leg.say(What::Text { text: local.text, thinks: false, logprobs: Vec::new() }, 0);
            }
            Err(_) => {}
        }
    }
    if let Some(again) = again.filter(|_| local.was_given_up) {
        return once_more(app, handle, &served, again, &to);
    }
    let _ = to.blocking_send(Telling::Sure(Box::new(local.margins)));
    if let Some(mut took) = local.took {
        took.confidence = Some(right);
        let _ = to.blocking_send(Telling::Took(took));
    }
    let last = Said { index: 0, what: What::End(Ok(outcome)), n_tokens };
    let _ = to.blocking_send(Telling::Said(vec![last]));
}

/// One request's way to the endpoints and back.
struct Leg {
    elsewhere: Arc<dyn Elsewhere>,
    router: Box<Router>,
    to: Sender<Telling>,
    interrupted: Arc<AtomicBool>,
    /// Whether an answer from here stood before.
    instead: Option<Instead>,
    /// Whether something is shown that is not of the attempt under way.
    is_stale: bool,
    /// Whether something of an answer from elsewhere was shown.
    was_shown: bool,
    /// Who answered last.
    by: String,
    _alive: Sender<std::convert::Infallible>,
    _room: OwnedSemaphorePermit,
}

impl Leg {
    /// `None` when there is no room for it. `local` is the answer from here that stood before, if there was one.
    fn new(
        app: &Arc<App>,
        handle: &Handle,
        router: Box<Router>,
        to: &Sender<Telling>,
        local: Option<&Local>,
    ) -> Option<Self> {
        let room = app.elsewhere_room.clone().try_acquire_owned().ok()?;
        let interrupted = Arc::<AtomicBool>::default();
        let (alive, ended) = channel(1);
        let watch =
            end_in_time(to.clone(), vec![interrupted.clone()], ended, app.limits.answer, app.phase.clone());
        handle.spawn(watch);
        Some(Self {
            elsewhere: app.elsewhere.clone()?,
            router,
            to: to.clone(),
            interrupted,
            instead: local.map(|_| Instead::OfHere),
            is_stale: local.is_some_and(|local| !local.text.is_empty()),
            was_shown: false,
            by: String::new(),
            _alive: alive,
            _room: room,
        })
    }

    /// Asks and tells what is said.
    fn ask(&mut self) -> Result<Answered, CloudError> {
        let (to, interrupted) = (self.to.clone(), self.interrupted.clone());
        let (is_stale, was_shown, by) = (&mut self.is_stale, &mut self.was_shown, &mut self.by);
        self.elsewhere.ask(&self.router, self.instead, &self.interrupted, &mut |piece| {
            let tell = |telling| {
                if to.blocking_send(telling).is_err() {
                    interrupted.store(true, Relaxed);
                }
            };
            match piece {
                Piece::From(endpoint) => *by = endpoint.to_owned(),
                Piece::Void => *is_stale = true,
                Piece::Text("") => {}
                Piece::Text(text) => {
                    if std::mem::take(is_stale) {
                        tell(Telling::Replaced(by.clone()));
                    }
                    *was_shown = true;
                    let what = What::Text { text: text.to_owned(), thinks: false, logprobs: Vec::new() };
                    tell(Telling::Said(vec![Said { index: 0, what, n_tokens: 0 }]));
                }
            }
        })
    }

    /// Tells the end of an answer from elsewhere, in place of one from here that took `replaced`.
    fn end(&self, answered: Answered, replaced: Option<ingle_route::ledger::Row>) {
        let Answered { endpoint, row, finish, .. } = answered;
        let outcome = Outcome {
            finish: self.finish(&finish),
            n_prompt: row.tokens_in as usize,
            n_generated: row.tokens_out as usize,
            ..Outcome::default()
        };
        let replaced = replaced.map(Box::new);
        let ended = Some(finish.name().to_owned());
        let took = Took { endpoint: Some(endpoint), ended, replaced, ..Took::there(row) };
        self.tell(Telling::Took(Box::new(took)));
        self.say(What::End(Ok(outcome)), outcome.n_generated);
    }

    /// Why it ended, as an answer from here would have. What ended for a reason that only the endpoint knows is not complete.
    fn finish(&self, finish: &wire::Finish) -> Finish {
        match finish {
            wire::Finish::Itself => Finish::EndOfText,
            wire::Finish::Stop(text) => {
                self.router.place_of_stop(text).map_or(Finish::EndOfText, Finish::Stop)
            }
            wire::Finish::Length | wire::Finish::Other(_) => Finish::Length,
            wire::Finish::Context => Finish::Context,
        }
    }

    /// Where its answers are from, in a word.
    fn route(&self) -> &'static str {
        if self.router.is_redacted() { "redacted" } else { "there" }
    }

    fn say(&self, what: What, n_tokens: usize) {
        self.tell(Telling::Said(vec![Said { index: 0, what, n_tokens }]));
    }

    fn tell(&self, telling: Telling) {
        // Who is gone needs nothing.
        let _ = self.to.blocking_send(telling);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_texts_are_words() {
        let of = |message: Json| Words::of(&json!([message]), &Map::new()).map(|words| words.messages.len());
        assert_eq!(of(json!({ "role": "user", "content": "a" })), Some(1));
        assert_eq!(of(json!({ "role": "tool", "content": "a" })), None);
        assert_eq!(of(json!({ "role": "user", "content": [{ "type": "image" }] })), None);
        assert_eq!(of(json!({ "role": "assistant", "content": "a", "tool_calls": [{}] })), None);
    }

    #[test]
    fn the_strictest_wish_holds() {
        assert_eq!(take_wish(None, None), Ok(Wish::Auto));
        assert_eq!(take_wish(Some("cloud"), Some("local")), Ok(Wish::Local));
        assert_eq!(take_wish(Some("auto"), Some("cloud")), Ok(Wish::Cloud));
        assert!(take_wish(Some("Cloud"), None).is_err());
    }
}
