//! Anthropic's routes: `POST /v1/messages` and `/v1/messages/count_tokens`.
//!
//! Messages, tools and thinking become a [`Dialogue`] in the words of chat templates. What a prompt has in common with earlier ones is
//! found without being marked, so `cache_control` changes nothing. Left out, and refused by name: images, documents, tools that the
//! server would run, containers.

pub mod create;
mod messages;
mod tools;

use std::sync::Arc;

use axum::Json as AsJson;
use axum::extract::State;
use serde_json::{Map, Value as Json, json};

use self::messages::take_messages;
use self::tools::take_tools;
use crate::app::App;
use crate::dialogue::{Dialogue, Thinking};
use crate::fields::Fields;
use crate::form;
use crate::payload::{Payload, aside};
use crate::refusal::Refusal;
use crate::sampling::{self, Sampling};
use crate::served::Served;

/// Fields that requests may give and that change nothing: what they say is about an account, a bill, a place, or a cache that
/// finds its way without.
pub static ACCEPTED: &[&str] =
    &["metadata", "service_tier", "cache_control", "inference_geo", "user_profile_id", "workspace_id"];

/// `POST /v1/messages/count_tokens`
pub async fn count_tokens(
    State(app): State<Arc<App>>,
    Payload(body): Payload,
) -> Result<AsJson<Json>, Refusal> {
    let counting = move || {
        let mut fields = Fields::parse(&body)?;
        let served = app.model(fields.text("model")?.as_deref())?;
        let sampling = sampling::take(&mut Fields::none(), 0)?;
        let (mut dialogue, _) = take_dialogue(&served, &mut fields, sampling)?;
        fields.end()?;
        let prompt = dialogue.prompt(&served, app.calendar())?;
        Ok(AsJson(json!({ "input_tokens": prompt.ids.len() })))
    };
    aside(counting).await
}

/// Takes what both routes have in common; and whether thoughts are told.
fn take_dialogue(
    served: &Served,
    fields: &mut Fields,
    sampling: Sampling,
) -> Result<(Dialogue, bool), Refusal> {
    let (messages, begun) = take_messages(fields)?;
    let tools = take_tools(fields)?;
    let (thinking, tells_thoughts) = take_thinking(served, fields)?;
    let mut extra = Map::new();
    let mut form = None;
    if let Some(mut config) = fields.object("output_config")? {
        if let Some(effort) = config.text("effort")? {
            extra.insert("reasoning_effort".to_owned(), effort.into());
        }
        if let Some(format) = config.take("format") {
            form = form::of_format("output_config.format", format)?;
        }
        config.end()?;
    }
    fields.harmless(ACCEPTED);
    fields.unsupported("speed", &[json!("standard")])?;
    // All thoughts are kept as it is.
    let keeps_thoughts = json!({ "edits": [{ "type": "clear_thinking_20251015", "keep": "all" }] });
    fields.unsupported("context_management", &[json!({ "edits": [] }), keeps_thoughts])?;
    let dialogue = Dialogue {
        messages,
        begun,
        tools,
        form,
        thinking,
        extra,
        sampling,
        max_tokens: None,
        logprobs: None,
        n: 1,
    };
    Ok((dialogue, tells_thoughts))
}

/// Takes whether the model is to think, and whether its thoughts are told.
fn take_thinking(served: &Served, fields: &mut Fields) -> Result<(Option<Thinking>, bool), Refusal> {
    let Some(mut config) = fields.object("thinking")? else { return Ok((None, true)) };
    let kind = config.text("type")?;
    let tells = match config.text("display")?.as_deref() {
        None | Some("summarized") => true,
        Some("omitted") => false,
        Some(_) => {
            return Err(config.refused("display", "expected \"summarized\" or \"omitted\""));
        }
    };
    let thinking = match kind.as_deref() {
        Some("disabled") => Some(Thinking::Off),
        Some("adaptive") => served.thinks().then_some(Thinking::On),
        Some("enabled") if !served.thinks() => {
            let why = format!("thinking: {} is not known to think before it speaks", served.name);
            return Err(Refusal::field("thinking", why));
        }
        Some("enabled") => {
            // No limit of its own: thoughts count as tokens of the answer.
            if config.count("budget_tokens", usize::MAX)?.is_none() {
                return Err(config.refused("budget_tokens", "none given, expected a whole number"));
            }
            Some(Thinking::On)
        }
        _ => return Err(config.refused("type", "expected \"enabled\", \"adaptive\" or \"disabled\"")),
    };
    config.end()?;
    Ok((thinking, tells))
}
