//! From conversations to the ids a model is given.

use std::time::{SystemTime, UNIX_EPOCH};

use ingle_engine::chat::{self, Prompt};
use ingle_engine::model_file::{Loaded, ModelFile};
use ingle_model::prompt::{ChatTemplate, Now};

use super::Conversation;
use crate::exit::Failure;

/// The template a file carries.
pub fn template_of(file: &ModelFile) -> Result<Option<ChatTemplate>, Failure> {
    Ok(file.template()?)
}

/// Turns conversations into ids for one model.
#[derive(Debug)]
pub struct Prompter<'a> {
    loaded: &'a Loaded,
    prompter: chat::Prompter,
}

impl<'a> Prompter<'a> {
    /// For `loaded`, with the template its file carries.
    pub fn new(loaded: &'a Loaded) -> Result<Self, Failure> {
        Ok(Self { prompter: chat::Prompter::new(loaded)?, loaded })
    }

    /// Whether there is a template: without one the model continues text and knows no roles.
    pub fn has_template(&self) -> bool {
        self.prompter.has_template()
    }

    /// The ids of a conversation that the model is to answer.
    pub fn prompt(&self, conversation: &Conversation) -> Result<Prompt, Failure> {
        self.prompt_with(conversation, serde_json::Map::new())
    }

    /// The same for an answer without thoughts, where the template lets the model be asked for that.
    pub fn thoughtless(&self, conversation: &Conversation) -> Result<Prompt, Failure> {
        let off = |name: &str| (name.to_owned(), false.into());
        self.prompt_with(conversation, ["enable_thinking", "thinking"].map(off).into_iter().collect())
    }

    fn prompt_with(
        &self,
        conversation: &Conversation,
        extra: serde_json::Map<String, serde_json::Value>,
    ) -> Result<Prompt, Failure> {
        let messages = conversation.to_json();
        let conversation =
            chat::Conversation { messages: &messages, tools: None, extra, now: now(), begun: "" };
        Ok(self.prompter.prompt(self.loaded, &conversation)?)
    }

    /// Drops the oldest turns until the prompt leaves `room` in a context of `ctx`; returns how many messages went.
    pub fn drop_turns(
        &self,
        conversation: &mut Conversation,
        ctx: usize,
        room: usize,
    ) -> Result<usize, Failure> {
        let before = conversation.len();
        if self.has_template() {
            while self.prompt(conversation)?.ids.len() + room > ctx && conversation.drop_oldest() {}
        }
        Ok(before - conversation.len())
    }
}

/// This moment, in UTC: the system's time zone is not asked for.
pub fn now() -> Now {
    Now::from_unix(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}
