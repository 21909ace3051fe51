//! Where else the server's answers may come from: `route`'s desk with this program's clock, keys, files and connections.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ingle_net::{Client, Options};
use ingle_route::cloud::{Bytes, CloudError, Piece};
use ingle_route::desk::{Answered, Desk, Router};
use ingle_route::ledger::Instead;
use ingle_route::policy::{Situation, Wish};

use crate::accounts::SERVER;
use crate::connection::Watch;
use crate::env::{Env, say};
use crate::exit::Failure;
use crate::metering::now_ms;
use crate::network;
use crate::routing::{self, Here, SILENCE};

/// The server's way elsewhere.
#[derive(Debug)]
pub struct Elsewhere {
    desk: Arc<Desk>,
    wish: Wish,
    watch: Watch,
    client: Options,
}

impl Elsewhere {
    /// As policy and settings say.
    pub fn new(env: &Env) -> Result<Self, Failure> {
        let policy = routing::policy(env)?;
        let named: Vec<_> = policy.endpoints.iter().map(|endpoint| &endpoint.url).collect();
        let client = network::options_to(&named, SILENCE, env)?;
        let (wish, watch) = (routing::wish(env), Watch::new(&policy, env));
        Ok(Self { desk: routing::desk(policy, env)?, wish, watch, client })
    }
}

impl ingle_serve::Elsewhere for Elsewhere {
    fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    fn wish(&self) -> Wish {
        self.wish
    }

    fn situation(&self, by: Option<&str>) -> Situation {
        routing::now(Some(by.unwrap_or(SERVER)), &self.watch)
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn ask(
        &self,
        router: &Router,
        instead: Option<Instead>,
        interrupted: &Arc<AtomicBool>,
        on: &mut dyn FnMut(Piece<'_>),
    ) -> Result<Answered, CloudError> {
        let options = Options { interrupted: interrupted.clone(), ..self.client.clone() };
        let client =
            Client::new(options).map_err(|e| CloudError::NoAnswer(vec![e.to_string()], Bytes::default()))?;
        let answered = router.ask(&client, &Here { interrupted }, instead, on)?;
        if let Some(error) = &answered.unkept {
            say(format_args!("note: {error}; what answers take is not kept"));
        }
        Ok(answered)
    }
}
