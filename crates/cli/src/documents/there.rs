//! The way elsewhere for what `assist` makes of a question: the gate, the user, the endpoints, and a count of what left.

use std::sync::Arc;

use ingle_assist::course::Leaving;
use ingle_assist::told::Left;
use ingle_route::cloud::CloudError;
use ingle_route::desk::Desk;
use ingle_route::gate::Wanted;
use ingle_route::ledger::{Instead, Place};
use ingle_route::policy::Wish;

use crate::env::{Env, say};
use crate::exit::Failure;
use crate::metering::now_ms;
use crate::routing::{self, APP, Release};

/// The way elsewhere, and what left by it.
pub struct There<'a> {
    desk: Arc<Desk>,
    wanted: Wanted,
    /// Elsewhere was asked for: where the plan stays or gets no answer, that is a failure.
    must: bool,
    env: &'a Env,
    /// Whether an answer stands in place of what is read here.
    stands: bool,
    /// What left.
    pub left: Left,
}

impl<'a> There<'a> {
    /// By `desk`, as the user wants it.
    pub fn new(desk: Arc<Desk>, wanted: Wanted, env: &'a Env) -> Self {
        let must = routing::wish(env) == Wish::Cloud;
        Self { desk, wanted, must, env, stands: false, left: Left::default() }
    }

    /// Asks elsewhere; `None` where what was to leave stays, or nobody answers.
    pub fn ask(&mut self, leaving: &Leaving) -> Result<Option<String>, Failure> {
        let is_plan = leaving.sources.is_empty();
        let must = self.must && is_plan;
        let mut wanted = self.wanted.clone();
        if is_plan {
            // What was said is the length of the answer.
            wanted.max_tokens = None;
        }
        let release = routing::release(&self.desk, &leaving.messages, leaving.sources, &wanted, self.env)?;
        let router = match release {
            Release::Open(router) => router,
            Release::Stays(why) if must => {
                if let Err(error) = self.desk.refused(Some(APP), now_ms()) {
                    say(format_args!("note: {error}; what is refused is not kept"));
                }
                return Err(Failure::blocked(why));
            }
            Release::Stays(why) => {
                say(format_args!("note: {why}; what is known here answers"));
                return Ok(None);
            }
        };
        // What is read here has one row, in whose place the first answer from elsewhere comes; a plan is no answer.
        let instead = if is_plan || self.stands { Instead::NoAnswer } else { Instead::OfHere };
        let error = match routing::try_ask(&router, Some(instead), self.env, &mut |_| {})? {
            Ok(answered) => {
                self.stands |= !is_plan;
                self.left.count(answered.row.bytes_out, leaving);
                self.left.answered_by = Some(answered.endpoint);
                self.left.is_redacted |= answered.row.place == Place::Redacted;
                return Ok(Some(answered.text));
            }
            Err(error) => error,
        };
        self.left.count(error.bytes().out, leaving);
        if matches!(error, CloudError::NoAnswer(..)) && !must {
            say(format_args!("note: {error}; what is known here answers"));
            return Ok(None);
        }
        Err(routing::failure(error))
    }
}
