//! From conversations to the ids a model is given.

use std::time::{SystemTime, UNIX_EPOCH};

use ingle_engine::chat::render;
use ingle_engine::model_file::{Loaded, ModelFile};
use ingle_model::prompt::{ChatTemplate, Now, RenderInput};
use ingle_model::token::{Parse, Tokenizer};

use super::Conversation;
use crate::exit::Failure;

/// The template a file carries.
pub fn template_of(file: &ModelFile) -> Result<Option<ChatTemplate>, Failure> {
    let source = file.template_source()?;
    Ok(source.map(ChatTemplate::parse).transpose().map_err(|e| file.model_error(e))?)
}

/// How a special token is written; empty when the model has none.
pub fn written(tokenizer: &Tokenizer, id: Option<u32>) -> String {
    let name = id.and_then(|id| tokenizer.token_name(id)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Turns conversations into ids for one model.
#[derive(Debug)]
pub struct Prompter<'a> {
    file: &'a ModelFile,
    tokenizer: &'a Tokenizer,
    template: Option<ChatTemplate>,
    bos: String,
    eos: String,
}

/// Ids, and how many of them at the start must stay when others are dropped.
#[derive(Debug)]
pub struct Prompt {
    /// The ids.
    pub ids: Vec<u32>,
    /// Ids of BOS and the system message.
    pub keep: usize,
}

impl<'a> Prompter<'a> {
    /// For `loaded`, with the template its file carries.
    pub fn new(loaded: &'a Loaded) -> Result<Self, Failure> {
        let tokenizer = loaded.tokenizer()?;
        Ok(Self {
            template: template_of(&loaded.file)?,
            bos: written(tokenizer, tokenizer.bos()),
            eos: written(tokenizer, tokenizer.eos()),
            file: &loaded.file,
            tokenizer,
        })
    }

    /// Whether there is a template: without one the model continues text and knows no roles.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The ids of a conversation that the model is to answer.
    pub fn prompt(&self, conversation: &Conversation) -> Result<Prompt, Failure> {
        let ids = self.ids(conversation, true)?;
        let bos = usize::from(self.tokenizer.bos().is_some_and(|bos| ids.first() == Some(&bos)));
        let system = conversation.system();
        // Some templates refuse a system message alone; then only BOS is known to be the beginning.
        let alone = if system.len() == 0 { Vec::new() } else { self.ids(&system, false).unwrap_or_default() };
        let common = alone.iter().zip(&ids).take_while(|(a, b)| a == b).count();
        Ok(Prompt { keep: common.max(bos), ids })
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
            while self.ids(conversation, true)?.len() + room > ctx && conversation.drop_oldest() {}
        }
        Ok(before - conversation.len())
    }

    fn ids(&self, conversation: &Conversation, asks: bool) -> Result<Vec<u32>, Failure> {
        let mut ids = Vec::new();
        let bos = self.tokenizer.bos().filter(|_| self.tokenizer.adds_bos());
        let Some(template) = &self.template else {
            ids.extend(bos);
            self.encode(&conversation.plain(), Parse::Text, &mut ids)?;
            return Ok(ids);
        };
        let rendered = render(
            template,
            &RenderInput {
                messages: &conversation.to_json(),
                tools: None,
                add_generation_prompt: asks,
                bos_token: &self.bos,
                eos_token: &self.eos,
                now: now(),
                extra: serde_json::Map::new(),
            },
        );
        let text = rendered.map_err(|e| self.file.model_error(e))?;
        self.encode(&text, Parse::Special, &mut ids)?;
        // Most templates write BOS themselves.
        if let Some(bos) = bos.filter(|bos| ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }

    fn encode(&self, text: &str, parse: Parse, ids: &mut Vec<u32>) -> Result<(), Failure> {
        Ok(self.tokenizer.encode(text, parse, ids).map_err(|e| self.file.model_error(e))?)
    }
}

/// This moment, in UTC: the system's time zone is not asked for.
pub fn now() -> Now {
    moment(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// The calendar of `seconds` since 1970 (Hinnant's days-to-civil algorithm).
fn moment(seconds: u64) -> Now {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let z = days + 719_468; // days since 0000-03-01
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    Now {
        year: (era * 400 + year_of_era + u64::from(month <= 2)) as u16,
        month: month as u8,
        day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
        hour: (second / 3600) as u8,
        minute: (second / 60 % 60) as u8,
        second: (second % 60) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_knows_leap_years() {
        assert_eq!(moment(0), Now::parse_iso("1970-01-01T00:00:00").unwrap());
        assert_eq!(moment(951_782_400), Now::parse_iso("2000-02-29T00:00:00").unwrap());
        assert_eq!(moment(1_735_689_599), Now::parse_iso("2024-12-31T23:59:59").unwrap());
        assert_eq!(moment(4_107_542_400), Now::parse_iso("2100-03-01T00:00:00").unwrap());
    }
}
