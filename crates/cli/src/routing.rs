//! Here or there, for one answer: the policy, the gate, the decision and the endpoints of `route` at work.
//!
//! `route.toml` beside `config.toml` says who may be asked and under which rules; without it nothing leaves and nothing here is done.
//! Where the policy lets a request out, the local model answers first; what its tokens say of themselves decides whether
//! somebody else is asked. An answer from elsewhere gets the values back that the gate took out, and a row in the ledger.

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ingle_engine::governor::Senses;
use ingle_engine::sysfs::Tree;
use ingle_route::cloud::plan::{Health, Limits};
use ingle_route::cloud::{self, Bytes, Cloud, CloudError, Piece, Surroundings};
use ingle_route::confidence::{Confidence, Ending, Margins};
use ingle_route::decide::{self, Abilities, Decision, Needs, Route, Stakes};
use ingle_route::egress::{EgressError, EgressLog};
use ingle_route::gate::{Gate, Message, Outgoing, Release, Role, Wanted};
use ingle_route::ledger::{Book, LedgerFile, Place, Row};
use ingle_route::policy::{Endpoint, Key, Network, Policy, Situation, Wish};
use ingle_route::score::{ROUTELLM, Scorer};

use crate::env::{Env, say};
use crate::exit::Failure;
use crate::metering::{book, ledger_path, now_ms};
use crate::network;

/// How long endpoints have, all together.
const DEADLINE: Duration = Duration::from_secs(180);
/// How long an endpoint may be silent: it may have a long prompt to read first.
const SILENCE: Duration = Duration::from_secs(120);
/// Bytes of a token, where nobody counts.
const TOKEN_BYTES: usize = 4;
/// Tokens of an answer, where nobody says, for what it would cost.
const ANSWER_TOKENS: usize = 512;
/// What programs call this one in rules.
const APP: &str = "ingle run";
const DAY_MS: u64 = 86_400_000;

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

/// What is known of this moment.
pub fn situation(env: &Env) -> Situation {
    let senses = Senses::read(&Tree::system());
    Situation {
        app: Some(APP.to_owned()),
        network: env.settings.is_on("offline").then_some(Network::Offline),
        battery: senses.battery.map(|battery| f64::from(battery.percent) / 100.0),
        charging: senses.battery.map(|battery| !battery.is_discharging),
        temperature: senses.heat.map(|heat| heat.milli_c as f64 / 1000.0),
        minute: Some((now_ms() / 60_000 % 1440) as u16),
        ..Situation::default()
    }
}

/// The way of one request.
pub struct Router<'a> {
    env: &'a Env,
    gate: Gate,
    book: Book,
    needs: Needs,
    /// As it may leave.
    outgoing: Outgoing,
}

/// What the settings make of a request.
pub enum Way<'a> {
    /// It is answered here.
    Here,
    /// It may be answered elsewhere after a local attempt, or at once.
    Open(Router<'a>),
    /// It is answered elsewhere.
    There(Router<'a>),
}

/// An answer from elsewhere.
pub struct Answered {
    /// Its text, with the values that the gate took out.
    pub text: String,
    /// Who gave it.
    pub endpoint: String,
    /// Whether something was taken out.
    pub redacted: bool,
}

impl<'a> Way<'a> {
    /// Of a prompt.
    ///
    /// # Errors
    /// [`Failure::blocked`] when elsewhere is asked for and the policy keeps the request.
    pub fn of(prompt: &str, system: Option<&str>, wanted: &Wanted, env: &'a Env) -> Result<Self, Failure> {
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
        let mut gate = Gate::new(policy);
        let situation = Situation { wish, ..situation(env) };
        let outgoing = match gate.release(&messages, wanted, &situation) {
            Release::Released(outgoing) => outgoing,
            Release::Kept(kept) if wish == Wish::Cloud => return Err(Failure::blocked(kept)),
            Release::Kept(_) => return Ok(Self::Here),
            Release::Ask(question) => match agreed(question.would_leave(), env)? {
                true => question.agreed(),
                false if wish == Wish::Cloud => {
                    return Err(Failure::blocked(
                        "this request stays on the device: a rule asks, and nobody agreed",
                    ));
                }
                false => return Ok(Self::Here),
            },
        };
        // Only what is far too long is ruled out by it.
        let n_prompt: usize = messages.iter().map(|message| message.text.len() / TOKEN_BYTES).sum();
        let n_answer = wanted.max_tokens.map_or(ANSWER_TOKENS, |n| n as usize);
        let needs =
            Needs { n_tokens: n_prompt + n_answer, tools: false, language: None, modalities: Vec::new() };
        let router = Router { env, gate, book: book(env)?, needs, outgoing };
        Ok(if wish == Wish::Cloud { Self::There(router) } else { Self::Open(router) })
    }
}

/// Shows what would leave and asks.
fn agreed(outgoing: &Outgoing, env: &Env) -> Result<bool, Failure> {
    if !(env.stdin_is_terminal && env.stderr_is_terminal) {
        return Ok(false);
    }
    say(format_args!("This would leave the device ({}):", outgoing.verdict().why));
    for message in outgoing.messages() {
        say(format_args!("  {}: {}", message.role.name(), message.text));
    }
    say("Send it? [y/N]");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|e| Failure::file("stdin", &e))?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

impl Router<'_> {
    /// Whether the local attempt is left out.
    pub fn before(&self, prompt: &str, ctx: usize) -> Result<Decision, Failure> {
        let gain = Scorer::parse(ROUTELLM).map_err(Failure::failed)?.gain(prompt);
        let local = Abilities { ctx, tools: true, languages: Vec::new(), modalities: Vec::new() };
        let (cloud, stakes) = self.prospects()?;
        Ok(decide::before(&self.needs, &local, cloud.as_ref(), Some(gain), &stakes))
    }

    /// What becomes of a local answer.
    pub fn after(&self, margins: &Margins, ending: Ending) -> Result<Decision, Failure> {
        let right = Confidence::built_in().probability(&margins.features(ending));
        let (cloud, stakes) = self.prospects()?;
        Ok(decide::after(&self.needs, right, cloud.as_ref(), &stakes))
    }

    fn endpoints(&self) -> Vec<&Endpoint> {
        self.gate.policy().endpoints.iter().filter(|endpoint| endpoint.ctx >= self.needs.n_tokens).collect()
    }

    /// The best endpoint, and what is at stake.
    fn prospects(&self) -> Result<(Option<decide::Cloud>, Stakes), Failure> {
        let policy = self.gate.policy();
        let spent = self.spent_today()?;
        let worth = policy.worth;
        let money_left = policy.budget.money.map_or(f64::INFINITY, |most| most - spent.0);
        let tokens_left =
            policy.budget.tokens.is_none_or(|most| spent.1 + self.needs.n_tokens as u64 <= most);
        let stakes =
            Stakes { worth: worth.right, budget_left: money_left, direct_gain_min: worth.direct_gain };
        let cloud = self.endpoints().first().filter(|_| tokens_left).map(|endpoint| decide::Cloud {
            abilities: Abilities {
                ctx: endpoint.ctx,
                tools: endpoint.tools,
                languages: endpoint.languages.clone(),
                modalities: Vec::new(),
            },
            right: endpoint.right,
            cost: self.cost(endpoint),
        });
        Ok((cloud, stakes))
    }

    /// What a request is expected to cost; 0 where the price table does not know the model, as on a machine of one's own.
    fn cost(&self, endpoint: &Endpoint) -> f64 {
        let n_out = self.outgoing.wanted().max_tokens.map_or(ANSWER_TOKENS, |n| n as usize);
        let n_in = self.needs.n_tokens.saturating_sub(n_out);
        let money = self.book.cloud_money(&endpoint.model, n_in as u64, n_out as u64);
        money.map_or(0.0, |money| money.nano.value as f64 / 1e9)
    }

    /// Money and tokens of answers from elsewhere since midnight, UTC.
    fn spent_today(&self) -> Result<(f64, u64), Failure> {
        let budget = self.gate.policy().budget;
        if budget.money.is_none() && budget.tokens.is_none() {
            return Ok((0.0, 0));
        }
        let today = now_ms() / DAY_MS * DAY_MS;
        let (mut nano, mut tokens) = (0, 0);
        let read = LedgerFile::new(ledger_path(self.env)).read(|row: Row| {
            if row.at_ms >= today && matches!(row.place, Place::There | Place::Redacted) {
                nano += row.money.map_or(0, |money| money.nano.value);
                tokens += row.tokens_in + row.tokens_out;
            }
        });
        read.map_err(Failure::failed)?;
        Ok((nano as f64 / 1e9, tokens))
    }

    /// Asks elsewhere; `show` gets the answer as it comes, or that what it got is void.
    ///
    /// # Errors
    /// [`Failure::network`] when nobody answered.
    pub fn ask(&self, show: &mut dyn FnMut(Piece<'_>)) -> Result<Answered, Failure> {
        let policy = self.gate.policy();
        let endpoints = self.endpoints();
        let named: Vec<_> = policy.endpoints.iter().map(|endpoint| &endpoint.url).collect();
        let (client, log) = (network::client_to(&named, SILENCE, self.env)?, egress_log(self.env));
        let surroundings = Here { env: self.env };
        let limits = Limits::default();
        let cloud = Cloud { client: &client, log: &log, surroundings: &surroundings, limits };
        let (start, deadline) = (Instant::now(), now_ms() + DEADLINE.as_millis() as u64);
        let mut rehydrator = self.gate.rehydrator();
        let mut text = String::new();
        let mut on = |piece: Piece<'_>| match piece {
            Piece::Text(part) => {
                let part = rehydrator.push(part);
                text.push_str(&part);
                show(Piece::Text(&part));
            }
            Piece::Void => {
                rehydrator = self.gate.rehydrator();
                text.clear();
                show(Piece::Void);
            }
        };
        let answer = cloud.ask(&self.outgoing, &endpoints, &mut Health::default(), deadline, &mut on);
        let rest = rehydrator.finish();
        show(Piece::Text(&rest));
        text.push_str(&rest);
        match answer {
            Ok(answer) => {
                let endpoint = endpoints[answer.endpoint];
                let redacted = !self.outgoing.redacted().is_empty();
                self.keep(Some((endpoint, &answer)), answer.bytes, start.elapsed());
                Ok(Answered { text, endpoint: endpoint.name.clone(), redacted })
            }
            Err(error) => {
                if let CloudError::NoAnswer(_, bytes) | CloudError::Interrupted(bytes) = &error {
                    self.keep(None, *bytes, start.elapsed());
                }
                Err(match error {
                    CloudError::Interrupted(_) => Failure::interrupted(),
                    CloudError::Log(EgressError::Broken { .. }) => Failure::invalid(error),
                    CloudError::Log(_) => Failure::failed(error),
                    error => Failure::network(error),
                })
            }
        }
    }

    /// Writes the row of an answer from elsewhere, or of bytes that left for none.
    fn keep(&self, answer: Option<(&Endpoint, &cloud::Answer)>, bytes: Bytes, wall: Duration) {
        if !self.env.settings.is_on("ledger") || (answer.is_none() && bytes.out == 0) {
            return;
        }
        let place = if self.outgoing.redacted().is_empty() { Place::There } else { Place::Redacted };
        let mut row = Row {
            by: Some(APP.to_owned()),
            wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            bytes_out: bytes.out,
            bytes_in: bytes.r#in,
            ..Row::new(now_ms(), place)
        };
        if let Some((endpoint, answer)) = answer {
            // The budget must not stand still where an endpoint does not count.
            let sent: usize = self.outgoing.messages().iter().map(|message| message.text.len()).sum();
            let guess = |n_bytes: usize| (n_bytes / TOKEN_BYTES) as u64;
            let n_in = answer.tokens_in.unwrap_or(guess(sent));
            let n_out = answer.tokens_out.unwrap_or(guess(answer.text.len()));
            let energy = self.book.cloud_energy(n_in, n_out);
            row.model = Some(format!("{}/{}", endpoint.name, endpoint.model));
            (row.tokens_in, row.tokens_out) = (n_in, n_out);
            row.money = self.book.cloud_money(&endpoint.model, n_in, n_out);
            row.co2e = self.book.cloud_carbon(&energy);
            row.energy = Some(energy);
        }
        if let Err(error) = LedgerFile::new(ledger_path(self.env)).append(&row) {
            say(format_args!("note: {error}; what answers take is not kept"));
        }
    }
}

/// Says why a request is or is not sent, where there was something to decide.
pub fn say_decision(decision: &Decision) {
    if decision.route == Route::Cloud {
        say(format_args!("asking elsewhere: {}", decision.why));
    }
}

/// Time and keys of this process.
struct Here<'a> {
    env: &'a Env,
}

impl Surroundings for Here<'_> {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn wait(&self, ms: u64) -> bool {
        let (start, time) = (Instant::now(), Duration::from_millis(ms));
        while start.elapsed() < time && !self.env.interrupted.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(50).min(time.saturating_sub(start.elapsed())));
        }
        !self.env.interrupted.load(Relaxed)
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
