//! The way of a request, the same for every program: what the policy and the gate make of it, who is asked when, the answer from
//! elsewhere, and its row in the ledger.
//!
//! A [`Desk`] has what all requests share: the policy, prices, the ledger, the log of what left, and which endpoints rest. A
//! request's [`Way`] is to stay, or a [`Router`], which decides before and after a local attempt and asks elsewhere. What is the
//! program's own (clocks, keys, connections, sensors, asking its user) it lends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ingle_net::Client;

use crate::cloud::plan::{Health, Limits};
use crate::cloud::wire::Finish;
use crate::cloud::{self, Bytes, Cloud, CloudError, Piece, Surroundings};
use crate::confidence::{Ending, Learned, Margins, Rule};
use crate::decide::{self, Abilities, Decision, Needs, Stakes};
use crate::egress::EgressLog;
use crate::gate::{Gate, Kept, Message, Outgoing, Question, Release, Wanted};
use crate::ledger::{Book, Instead, LedgerError, LedgerFile, Place, Row, Zone, day_began, wall_ms};
use crate::policy::{Endpoint, Policy, Situation, Wish};
use crate::score::{ROUTELLM, Scorer};

/// How long endpoints have, all together, in milliseconds.
const DEADLINE_MS: u64 = 180_000;
/// Bytes of a token, where nobody counts.
const TOKEN_BYTES: usize = 4;
/// Tokens of an answer, where nobody says, for what it would cost.
const ANSWER_TOKENS: usize = 512;

/// What all requests share.
#[derive(Debug)]
pub struct Desk {
    /// Who may be asked, and under which rules.
    pub policy: Policy,
    /// Prices.
    pub book: Book,
    /// The ledger.
    pub ledger: LedgerFile,
    /// Whether rows are added to it; what was spent is read from it in any case.
    pub keeps_rows: bool,
    /// What left.
    pub log: EgressLog,
    /// How surely chosen tokens become the probability that an answer is right.
    pub confidence: Learned,
    /// By how much clocks are ahead of UTC, for the days of budgets.
    pub zone: Zone,
    /// Until when endpoints rest, by their names.
    pub resting: Mutex<BTreeMap<String, u64>>,
    /// What requests that have no row yet are expected to take of the day's budget.
    pub promised: Mutex<Spent>,
}

/// Of a day's budget.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spent {
    /// Money, in the budget's currency.
    pub money: f64,
    /// Tokens.
    pub tokens: u64,
}

/// A share of the budget that is kept for a request under way, and given back with its end, when the ledger has what it took.
struct Promise<'a> {
    desk: &'a Desk,
    share: Spent,
}

impl Spent {
    fn is_within(self, left: Self) -> bool {
        self.money <= left.money && self.tokens <= left.tokens
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        let mut promised = self.desk.promised();
        promised.money = (promised.money - self.share.money).max(0.0);
        promised.tokens = promised.tokens.saturating_sub(self.share.tokens);
    }
}

/// What becomes of a request.
pub enum Way {
    /// It is answered on the device, as it is asked to be or as there is nobody else.
    Here,
    /// A rule keeps it on the device.
    Kept(Kept),
    /// It may leave once the user has said so.
    Ask(Asking),
    /// It may leave.
    Open(Box<Router>),
}

/// A request that waits for the user.
pub struct Asking {
    question: Question,
    router: Box<dyn FnOnce(Outgoing) -> Box<Router> + Send>,
}

/// The way of one request that may leave.
pub struct Router {
    desk: Arc<Desk>,
    gate: Gate,
    needs: Needs,
    /// Who asks, as rows have it.
    by: Option<String>,
    /// As it may leave.
    outgoing: Outgoing,
}

/// An answer from elsewhere.
#[derive(Debug)]
pub struct Answered {
    /// Its text, with the values that the gate took out.
    pub text: String,
    /// Who gave it.
    pub endpoint: String,
    /// Why it ended.
    pub finish: Finish,
    /// What it took, as the ledger has it.
    pub row: Row,
    /// Why that is not in the ledger, where it should be.
    pub unkept: Option<LedgerError>,
}

impl Asking {
    /// What the user is asked.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// The user has seen it and says yes.
    pub fn agreed(self) -> Box<Router> {
        (self.router)(self.question.agreed())
    }
}

impl Desk {
    /// The way of a request in `situation`.
    pub fn way(self: &Arc<Self>, messages: &[Message], wanted: &Wanted, situation: &Situation) -> Way {
        let wish = situation.wish;
        if wish == Wish::Local || (wish == Wish::Auto && self.policy.endpoints.is_empty()) {
            return Way::Here;
        }
        let mut gate = Gate::new(self.policy.clone());
        let release = gate.release(messages, wanted, situation);
        // Only what is far too long is ruled out by it.
        let n_prompt: usize = messages.iter().map(|message| message.text.len() / TOKEN_BYTES).sum();
        let n_tokens = n_prompt + wanted.max_tokens.map_or(ANSWER_TOKENS, |n| n as usize);
        let needs = Needs { n_tokens, tools: false, language: None, modalities: Vec::new() };
        let (desk, by) = (self.clone(), situation.app.clone());
        let router = move |outgoing| Box::new(Router { desk, gate, needs, by, outgoing });
        match release {
            Release::Released(outgoing) => Way::Open(router(outgoing)),
            Release::Kept(kept) => Way::Kept(kept),
            Release::Ask(question) => Way::Ask(Asking { question, router: Box::new(router) }),
        }
    }

    /// Writes down that a request of `by` was to be answered elsewhere, and was kept and refused.
    ///
    /// # Errors
    /// That the ledger can't be written.
    pub fn refused(&self, by: Option<&str>, now_ms: u64) -> Result<(), LedgerError> {
        self.keep(&Row { by: by.map(str::to_owned), ..Row::new(now_ms, Place::Refused) })
    }

    fn keep(&self, row: &Row) -> Result<(), LedgerError> {
        if self.keeps_rows { self.ledger.append(row) } else { Ok(()) }
    }

    fn promised(&self) -> MutexGuard<'_, Spent> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is left of the day's budget, where requests under way take what is `promised`. Without a budget no end.
    fn left(&self, promised: &Spent, now_ms: u64) -> Result<Spent, LedgerError> {
        let budget = self.policy.budget;
        if budget.money.is_none() && budget.tokens.is_none() {
            return Ok(Spent { money: f64::INFINITY, tokens: u64::MAX });
        }
        let today = day_began(wall_ms(now_ms, self.zone), self.zone);
        let (mut nano, mut tokens) = (0u64, promised.tokens);
        self.ledger.read(|row: Row| {
            if row.at_ms >= today && matches!(row.place, Place::There | Place::Redacted) {
                nano = nano.saturating_add(row.money.map_or(0, |money| money.nano.value));
                tokens = tokens.saturating_add(row.tokens_in).saturating_add(row.tokens_out);
            }
        })?;
        let money = nano as f64 / 1e9 + promised.money;
        Ok(Spent {
            money: budget.money.map_or(f64::INFINITY, |most| (most - money).max(0.0)),
            tokens: budget.tokens.map_or(u64::MAX, |most| most.saturating_sub(tokens)),
        })
    }

    /// Until when `endpoints` rest, after what other requests saw of them.
    fn health(&self, endpoints: &[&Endpoint]) -> Health {
        let resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        Health::until(endpoints.iter().map(|e| resting.get(&e.name).copied().unwrap_or(0)).collect())
    }

    fn learn(&self, endpoints: &[&Endpoint], before: &Health, after: &Health) {
        let mut resting = self.resting.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, endpoint) in endpoints.iter().enumerate() {
            if before.until_ms(at) != after.until_ms(at) {
                resting.insert(endpoint.name.clone(), after.until_ms(at));
            }
        }
    }
}

impl Router {
    /// Whether something is taken out of what is asked.
    pub fn is_redacted(&self) -> bool {
        !self.outgoing.redacted().is_empty()
    }

    /// Which of the texts that are to end an answer this is.
    pub fn place_of_stop(&self, stop: &str) -> Option<usize> {
        self.outgoing.wanted().stop.iter().position(|wanted| wanted == stop)
    }

    /// The policy that lets it out.
    pub fn policy(&self) -> &Policy {
        &self.desk.policy
    }

    /// Whether the local attempt is left out, which has room for `ctx` tokens.
    ///
    /// # Errors
    /// That the ledger can't be read, which knows what is left of the budget.
    pub fn before(&self, prompt: &str, ctx: usize, now_ms: u64) -> Result<Decision, LedgerError> {
        let gain = Scorer::parse(ROUTELLM).ok().map(|scorer| scorer.gain(prompt));
        let local = Abilities { ctx, tools: true, languages: Vec::new(), modalities: Vec::new() };
        let (cloud, stakes) = self.prospects(now_ms)?;
        Ok(decide::before(&self.needs, &local, cloud.as_ref(), gain, &stakes))
    }

    /// The probability that an answer of the local model of this number is right, by how surely its tokens were chosen.
    pub fn confidence(&self, model: u64, margins: &Margins, ending: Ending) -> f64 {
        self.desk.confidence.of(Some(model)).probability(&margins.features(ending))
    }

    /// The rule by which the local attempt is given up while it comes; `None` where the policy has none, or where asking elsewhere would not
    /// be worth it even in place of an answer that is surely wrong.
    ///
    /// # Errors
    /// As [`Self::before`].
    pub fn abort(&self, now_ms: u64) -> Result<Option<Rule>, LedgerError> {
        let Some(rule) = self.desk.policy.abort else { return Ok(None) };
        Ok((self.after(0.0, now_ms)?.route == decide::Route::Cloud).then_some(rule))
    }

    /// What becomes of a local answer that is right with the probability `right`, as [`Self::confidence`] has it.
    ///
    /// # Errors
    /// As [`Self::before`].
    pub fn after(&self, right: f64, now_ms: u64) -> Result<Decision, LedgerError> {
        let (cloud, stakes) = self.prospects(now_ms)?;
        Ok(decide::after(&self.needs, right, cloud.as_ref(), &stakes))
    }

    fn endpoints(&self) -> Vec<&Endpoint> {
        let all = self.desk.policy.endpoints.iter();
        all.filter(|endpoint| endpoint.ctx >= self.needs.n_tokens).collect()
    }

    /// What asking `endpoint` is expected to take of the budget.
    fn share(&self, endpoint: &Endpoint) -> Spent {
        Spent { money: self.cost(endpoint), tokens: self.needs.n_tokens as u64 }
    }

    /// The endpoints that what is left of the day's budget pays for, with as much of it kept for this request, and in words those that it
    /// does not.
    fn promise(&self, now_ms: u64) -> Result<(Vec<&Endpoint>, Vec<String>, Promise<'_>), LedgerError> {
        let desk = &*self.desk;
        // Held while the ledger is read: two requests must not both be given the same rest.
        let mut promised = desk.promised();
        let left = desk.left(&promised, now_ms)?;
        let (paid, unpaid): (Vec<_>, Vec<_>) =
            self.endpoints().into_iter().partition(|endpoint| self.share(endpoint).is_within(left));
        let money = paid.iter().map(|endpoint| self.cost(endpoint)).fold(0.0, f64::max);
        let tokens = if paid.is_empty() { 0 } else { self.needs.n_tokens as u64 };
        let share = Spent { money, tokens };
        promised.money += share.money;
        promised.tokens = promised.tokens.saturating_add(share.tokens);
        let unpaid =
            unpaid.iter().map(|e| format!("{}: it would take more than is left of the day's budget", e.name));
        Ok((paid, unpaid.collect(), Promise { desk, share }))
    }

    /// The best endpoint, and what is at stake.
    fn prospects(&self, now_ms: u64) -> Result<(Option<decide::Cloud>, Stakes), LedgerError> {
        let policy = &self.desk.policy;
        let promised = *self.desk.promised();
        let left = self.desk.left(&promised, now_ms)?;
        let worth = policy.worth;
        let stakes =
            Stakes { worth: worth.right, budget_left: left.money, direct_gain_min: worth.direct_gain };
        let endpoints = self.endpoints();
        let paid = endpoints.iter().find(|endpoint| self.share(endpoint).is_within(left));
        let best = paid.or(endpoints.first()).filter(|_| self.needs.n_tokens as u64 <= left.tokens);
        let cloud = best.map(|endpoint| decide::Cloud {
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
        let money = self.desk.book.cloud_money(&endpoint.model, n_in as u64, n_out as u64);
        money.map_or(0.0, |money| money.nano.value as f64 / 1e9)
    }

    /// Asks elsewhere by `client`, whom the day's budget pays for; `show` gets the answer as it comes, or that what it got is void. Where an answer was begun here, which has
    /// its row already, `instead` says that this one comes in its place. The bytes of an attempt have their row even where there is no
    /// answer.
    ///
    /// # Errors
    /// When nobody answered, or nobody may be asked as the log can't be written.
    pub fn ask(
        &self,
        client: &Client,
        surroundings: &dyn Surroundings,
        instead: Option<Instead>,
        show: &mut dyn FnMut(Piece<'_>),
    ) -> Result<Answered, CloudError> {
        let start_ms = surroundings.now_ms();
        let promise = self.promise(start_ms).map_err(|e| {
            let why = format!("nothing leaves while what was spent is not known: {e}");
            CloudError::NoAnswer(vec![why], Bytes::default())
        })?;
        let (endpoints, unpaid, _promise) = promise;
        let cloud = Cloud { client, log: &self.desk.log, surroundings, limits: Limits::default() };
        let mut rehydrator = self.gate.rehydrator();
        let mut text = String::new();
        let mut on = |piece: Piece<'_>| match piece {
            Piece::From(_) => show(piece),
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
        let before = self.desk.health(&endpoints);
        let mut health = before.clone();
        let deadline_ms = start_ms + DEADLINE_MS;
        let answer = cloud.ask(&self.outgoing, &endpoints, &mut health, deadline_ms, &mut on);
        self.desk.learn(&endpoints, &before, &health);
        let end_ms = surroundings.now_ms();
        let wall_ms = end_ms.saturating_sub(start_ms);
        match answer {
            Ok(answer) => {
                let rest = rehydrator.finish();
                show(Piece::Text(&rest));
                text.push_str(&rest);
                let endpoint = endpoints[answer.endpoint];
                let row = self.row(Some((endpoint, &answer)), answer.bytes, [end_ms, wall_ms]);
                let row = Row { instead, ..row };
                let unkept = self.desk.keep(&row).err();
                Ok(Answered { text, endpoint: endpoint.name.clone(), finish: answer.finish, row, unkept })
            }
            Err(mut error) => {
                let bytes = error.bytes();
                if bytes.out > 0 {
                    let row = self.row(None, bytes, [end_ms, wall_ms]);
                    // Whoever asked is told that there is no answer, which is worse.
                    let _ = self.desk.keep(&Row { instead: Some(Instead::NoAnswer), ..row });
                }
                if let CloudError::NoAnswer(tried, _) = &mut error {
                    tried.extend(unpaid);
                }
                Err(error)
            }
        }
    }

    /// The row of an answer from elsewhere, or of bytes that left for none.
    fn row(
        &self,
        answer: Option<(&Endpoint, &cloud::Answer)>,
        bytes: Bytes,
        [at_ms, wall_ms]: [u64; 2],
    ) -> Row {
        let place = if self.is_redacted() { Place::Redacted } else { Place::There };
        let mut row = Row {
            by: self.by.clone(),
            wall_ms,
            bytes_out: bytes.out,
            bytes_in: bytes.r#in,
            ..Row::new(at_ms, place)
        };
        if let Some((endpoint, answer)) = answer {
            // The budget must not stand still where an endpoint does not count.
            let sent: usize = self.outgoing.messages().iter().map(|message| message.text.len()).sum();
            let guess = |n_bytes: usize| (n_bytes / TOKEN_BYTES) as u64;
            let n_in = answer.tokens_in.unwrap_or(guess(sent));
            let n_out = answer.tokens_out.unwrap_or(guess(answer.text.len()));
            let book = &self.desk.book;
            let energy = book.cloud_energy(n_in, n_out);
            row.model = Some(format!("{}/{}", endpoint.name, endpoint.model));
            (row.tokens_in, row.tokens_out) = (n_in, n_out);
            row.money = book.cloud_money(&endpoint.model, n_in, n_out);
            row.co2e = book.cloud_carbon(&energy);
            row.energy = Some(energy);
        }
        row
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("needs", &self.needs).finish_non_exhaustive()
    }
}
