//! Here or there, for one answer at the terminal: `route`'s desk with this program's clock, keys, files and connections.
//!
//! `route.toml` beside `config.toml` says who may be asked and under which rules; without it nothing leaves and nothing here is done.
//! Where the policy lets a request out, the local model answers first; what its tokens say of themselves decides whether
//! somebody else is asked. An answer from elsewhere gets the values back that the gate took out, and a row in the ledger.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ingle_engine::governor::Senses;
use ingle_engine::sysfs::Tree;
use ingle_route::cloud::{CloudError, Piece, Surroundings};
use ingle_route::decide::{Decision, Route};
use ingle_route::desk::{self, Answered, Desk, Router};
use ingle_route::egress::{EgressError, EgressLog};
use ingle_route::gate::{Message, Outgoing, Role, Wanted};
use ingle_route::ledger::{Instead, LedgerFile, wall_ms};
use ingle_route::policy::{Endpoint, Key, Policy, Situation, Wish};

use crate::connection::Watch;
use crate::env::{Env, say};
use crate::exit::Failure;
use crate::metering::{book, ledger_path, now_ms};
use crate::{feedback, network, zone};

/// How long an endpoint may be silent: it may have a long prompt to read first.
pub const SILENCE: Duration = Duration::from_secs(120);
/// What programs call this one in rules.
pub const APP: &str = "ingle run";

/// Where the policy is.
pub fn policy_path(env: &Env) -> PathBuf {
    env.dirs.config.join("route.toml")
}

/// The user's policy; that nothing leaves where there is none.
pub fn policy(env: &Env) -> Result<Policy, Failure> {
    let path = policy_path(env);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Failure::file(&path, &e)),
    };
    Policy::parse(&path.display().to_string(), &text).map_err(Failure::usage)
}

/// What left.
pub fn egress_log(env: &Env) -> EgressLog {
    EgressLog::new(env.dirs.state.join("egress.jsonl"))
}

/// Where the user wants answers from.
pub fn wish(env: &Env) -> Wish {
    match env.settings.text("route") {
        Some("local") => Wish::Local,
        Some("cloud") => Wish::Cloud,
        _ => Wish::Auto,
    }
}

/// What is known of this moment, and of what is asked in it.
pub fn situation(app: Option<&str>, policy: &Policy, env: &Env) -> Situation {
    let sources = if env.is_file_piped { vec!["file".to_owned()] } else { Vec::new() };
    Situation { sources, ..now(app, &Watch::new(policy, env)) }
}

/// The same for who looks at the network again and again.
pub fn now(app: Option<&str>, watch: &Watch) -> Situation {
    let connection = watch.now();
    let senses = Senses::read(&Tree::system());
    Situation {
        app: app.map(str::to_owned),
        network: connection.network,
        network_seen: Some(connection.seen),
        battery: senses.battery.map(|battery| f64::from(battery.percent) / 100.0),
        charging: senses.battery.map(|battery| !battery.is_discharging),
        temperature: senses.heat.map(|heat| heat.milli_c as f64 / 1000.0),
        minute: Some((wall_ms(now_ms(), zone::ahead_ms) / 60_000 % 1440) as u16),
        ..Situation::default()
    }
}

/// What the settings make of a request.
pub enum Way {
    /// It is answered here.
    Here,
    /// It may be answered elsewhere after a local attempt, or at once.
    Open(Box<Router>),
    /// It is answered elsewhere.
    There(Box<Router>),
}

/// What requests share.
pub fn desk(policy: Policy, env: &Env) -> Result<Arc<Desk>, Failure> {
    Ok(Arc::new(Desk {
        policy,
        book: book(env)?,
        ledger: LedgerFile::new(ledger_path(env)),
        keeps_rows: env.settings.is_on("ledger"),
        log: egress_log(env),
        confidence: feedback::learned_or_built_in(env),
        zone: zone::ahead_ms,
        resting: Mutex::default(),
        promised: Mutex::default(),
    }))
}

impl Way {
    /// Of a prompt.
    ///
    /// # Errors
    /// [`Failure::blocked`] when elsewhere is asked for and the policy keeps the request.
    pub fn of(prompt: &str, system: Option<&str>, wanted: &Wanted, env: &Env) -> Result<Self, Failure> {
        let wish = wish(env);
        if wish == Wish::Local {
            return Ok(Self::Here);
        }
        let policy = policy(env)?;
        if policy.endpoints.is_empty() && wish == Wish::Auto {
            return Ok(Self::Here);
        }
        let system = system.map(|text| Message { role: Role::System, text: text.to_owned() });
        let user = Message { role: Role::User, text: prompt.to_owned() };
        let messages: Vec<Message> = system.into_iter().chain([user]).collect();
        let situation = Situation { wish, ..situation(Some(APP), &policy, env) };
        let desk = desk(policy, env)?;
        let blocked = |why: String| {
            if let Err(error) = desk.refused(Some(APP), now_ms()) {
                say(format_args!("note: {error}; what is refused is not kept"));
            }
            Err(Failure::blocked(why))
        };
        let router = match desk.way(&messages, wanted, &situation) {
            desk::Way::Open(router) => router,
            desk::Way::Kept(kept) if wish == Wish::Cloud => return blocked(kept.to_string()),
            desk::Way::Here | desk::Way::Kept(_) => return Ok(Self::Here),
            desk::Way::Ask(asking) => match agreed(asking.question().would_leave(), env)? {
                true => asking.agreed(),
                false if wish == Wish::Cloud => {
                    let why = "this request stays on the device: a rule asks, and nobody agreed";
                    return blocked(why.to_owned());
                }
                false => return Ok(Self::Here),
            },
        };
        Ok(if wish == Wish::Cloud { Self::There(router) } else { Self::Open(router) })
    }
}

/// What becomes of messages that some of the device's own work goes into.
pub enum Release {
    /// They may leave.
    Open(Box<Router>),
    /// They stay, and why.
    Stays(String),
}

/// Puts `messages`, whose words come from `sources`, to the gate, and to the user where a rule says so.
pub fn release(
    desk: &Arc<Desk>,
    messages: &[Message],
    sources: &[&str],
    wanted: &Wanted,
    env: &Env,
) -> Result<Release, Failure> {
    let situation = situation_of(sources, &desk.policy, env);
    Ok(match desk.way(messages, wanted, &situation) {
        desk::Way::Open(router) => Release::Open(router),
        desk::Way::Here => Release::Stays("nobody else may be asked".to_owned()),
        desk::Way::Kept(kept) => Release::Stays(kept.to_string()),
        desk::Way::Ask(asking) => match agreed(asking.question().would_leave(), env)? {
            true => Release::Open(asking.agreed()),
            false => {
                let why = asking.question().would_leave().verdict().why.to_string();
                Release::Stays(format!("this request stays on the device: {why} asks, and nobody agreed"))
            }
        },
    })
}

/// What is known of a request whose words come from `sources` too.
pub fn situation_of(sources: &[&str], policy: &Policy, env: &Env) -> Situation {
    let mut situation = Situation { wish: wish(env), ..situation(Some(APP), policy, env) };
    situation.sources.extend(sources.iter().map(|&source| source.to_owned()));
    situation
}

/// Shows what would leave and asks.
fn agreed(outgoing: &Outgoing, env: &Env) -> Result<bool, Failure> {
    if !env.can_ask() {
        return Ok(false);
    }
    let texts = outgoing.messages().iter().map(|message| &message.text).chain(&outgoing.wanted().stop);
    let n_bytes: usize = texts.map(String::len).sum();
    say(format_args!("This would leave the device ({}), {n_bytes} bytes of text:", outgoing.verdict().why));
    for line in outgoing.shown().lines() {
        say(format_args!("  {line}"));
    }
    env.ask("Send it?", false)
}

/// Asks elsewhere; `show` gets the answer as it comes, or that what it got is void. `instead` says whether an answer from here stood before.
///
/// # Errors
/// [`Failure::network`] when nobody answered.
pub fn ask(
    router: &Router,
    instead: Option<Instead>,
    env: &Env,
    show: &mut dyn FnMut(Piece<'_>),
) -> Result<Answered, Failure> {
    try_ask(router, instead, env, show)?.map_err(failure)
}

/// How the program ends without an answer from elsewhere.
pub fn failure(error: CloudError) -> Failure {
    match error {
        CloudError::Interrupted(_) => Failure::interrupted(),
        CloudError::Log(EgressError::Broken { .. }, _) => Failure::invalid(error),
        CloudError::Log(..) => Failure::failed(error),
        error => Failure::network(error),
    }
}

/// The same for who wants to know what an attempt without an answer took.
pub fn try_ask(
    router: &Router,
    instead: Option<Instead>,
    env: &Env,
    show: &mut dyn FnMut(Piece<'_>),
) -> Result<Result<Answered, CloudError>, Failure> {
    let policy = router.policy();
    let named: Vec<_> = policy.endpoints.iter().map(|endpoint| &endpoint.url).collect();
    let client = network::client_to(&named, SILENCE, env)?;
    let answered = router.ask(&client, &Here { interrupted: &env.interrupted }, instead, show);
    if let Ok(Answered { unkept: Some(error), .. }) = &answered {
        say(format_args!("note: {error}; what answers take is not kept"));
    }
    Ok(answered)
}

/// Says why a request is or is not sent, where there was something to decide.
pub fn say_decision(decision: &Decision) {
    if decision.route == Route::Cloud {
        say(format_args!("asking elsewhere: {}", decision.why));
    }
}

/// Time and keys of this process.
pub struct Here<'a> {
    /// Raised when nobody waits any more.
    pub interrupted: &'a AtomicBool,
}

impl Surroundings for Here<'_> {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn wait(&self, ms: u64) -> bool {
        let (start, time) = (Instant::now(), Duration::from_millis(ms));
        while start.elapsed() < time && !self.interrupted.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(50).min(time.saturating_sub(start.elapsed())));
        }
        !self.interrupted.load(Relaxed)
    }

    fn key(&self, endpoint: &Endpoint) -> Result<Option<String>, String> {
        let wrong = |what: String| Err(format!("no key: {what}"));
        match &endpoint.key {
            None => Ok(None),
            Some(Key::Variable(name)) => match std::env::var(name) {
                Ok(key) if !key.trim().is_empty() => Ok(Some(key.trim().to_owned())),
                _ => wrong(format!("{name} is not set")),
            },
            Some(Key::File(path)) => match std::fs::read_to_string(path) {
                Ok(key) if !key.trim().is_empty() => Ok(Some(key.trim().to_owned())),
                Ok(_) => wrong(format!("{path} is empty")),
                Err(e) => wrong(format!("{path}: {e}")),
            },
        }
    }
}
