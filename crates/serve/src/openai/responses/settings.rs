//! How a request wants its response made, and the settings that a response repeats.

use ingle_engine::generate::Overflow;
use ingle_engine::sample::LOGPROBS_MAX;
use serde_json::{Map, Value as Json, json};

use super::output::{Part, SUMMARY, THOUGHTS};
use crate::dialogue::{Thinking, Tools};
use crate::fields::Fields;
use crate::form::{self, Form};
use crate::ids;
use crate::openai::chat::thinking_of;
use crate::openai::tools::take_tools;
use crate::openai::{ACCEPTED, take_metadata};
use crate::refusal::Refusal;
use crate::sampling::{self, Sampling};

/// The fields that a response repeats as they were given, and what they are, as JSON, where they were not.
static REPEATED: &[(&str, &str)] = &[
    ("background", "false"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("previous_response_id", "null"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort": null, "summary": null}"#),
    ("safety_identifier", "null"),
    ("store", "true"),
    ("text", r#"{"format": {"type": "text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("user", "null"),
];

/// What a request asks for beside its input.
#[derive(Debug)]
pub struct Settings {
    /// The response that this one goes on from.
    pub previous: Option<String>,
    /// What the model is told before everything else; an earlier response's instructions are not.
    pub instructions: Option<String>,
    /// What it may call.
    pub tools: Tools,
    /// The form of what it says.
    pub form: Option<Form>,
    /// Whether it is to think.
    pub thinking: Option<Thinking>,
    /// How thoughts are told.
    pub thoughts: &'static Part,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens.
    pub max_tokens: Option<usize>,
    /// Whether log-probabilities are wanted, and of how many tokens beside the chosen.
    pub logprobs: Option<usize>,
    /// Whether the response is kept.
    pub stores: bool,
    /// What a response says of all this.
    pub repeated: Map<String, Json>,
}

/// Takes them, and all that is left.
pub fn take(mut fields: Fields) -> Result<Settings, Refusal> {
    let mut repeated = Map::new();
    for (name, default) in REPEATED {
        let given = fields.get(name).cloned();
        // The defaults are JSON, which a test says.
        let value = given.unwrap_or_else(|| serde_json::from_str(default).unwrap_or_default());
        repeated.insert((*name).to_owned(), value);
    }
    let (previous, instructions) = (fields.text("previous_response_id")?, fields.text("instructions")?);
    let form = take_text(&mut fields, &mut repeated)?;
    let (thinking, thoughts) = take_reasoning(&mut fields)?;
    let logprobs = take_logprobs(&mut fields)?;
    let tools = take_tools(&mut fields)?;
    let max_tokens = fields.count("max_output_tokens", usize::MAX)?;
    let stores = fields.flag("store")?.unwrap_or(true);
    take_metadata(&mut fields)?;
    fields.unsupported("background", &[json!(false)])?;
    fields.harmless(ACCEPTED);
    // Calls are counted only to tools that a server has.
    fields.count("max_tool_calls", usize::MAX)?;
    let overflow = take_truncation(&mut fields)?;
    let mut sampling = sampling::take(&mut fields, ids::seed())?;
    sampling.overflow = overflow.unwrap_or(sampling.overflow);
    fields.end()?;
    let truncation = if sampling.overflow == Overflow::Error { "disabled" } else { "auto" };
    repeated.insert("truncation".into(), truncation.into());
    repeated.insert("temperature".into(), number(sampling.params.temperature));
    repeated.insert("top_p".into(), number(sampling.params.top_p));
    repeated.insert("service_tier".into(), "default".into());
    Ok(Settings {
        previous,
        instructions,
        tools,
        form,
        thinking,
        thoughts,
        sampling,
        max_tokens,
        logprobs,
        stores,
        repeated,
    })
}

/// A setting as it was given: the shortest number that is it.
fn number(setting: f32) -> Json {
    setting.to_string().parse::<f64>().map_or(Json::Null, Json::from)
}

/// `text`, or a grammar of llama.cpp's kind.
fn take_text(fields: &mut Fields, repeated: &mut Map<String, Json>) -> Result<Option<Form>, Refusal> {
    if fields.get("response_format").is_some() {
        let message = "response_format: the Responses API has it under \"text\", as \"format\"";
        return Err(Refusal::field("response_format", message));
    }
    let other = form::take(fields)?;
    let Some(mut text) = fields.object("text")? else { return Ok(other) };
    let form = match text.take("format") {
        Some(format) => form::of_format("text.format", format)?,
        None => {
            if let Some(Json::Object(text)) = repeated.get_mut("text") {
                text.insert("format".into(), json!({ "type": "text" }));
            }
            None
        }
    };
    text.unsupported("verbosity", &[json!("medium")])?;
    text.end()?;
    match (form, other) {
        (Some(form), Some(_)) => Err(form.clashes("another field says the answer's form")),
        (form, other) => Ok(form.or(other)),
    }
}

/// `reasoning`: how much, and whether thoughts are told as a summary of themselves.
fn take_reasoning(fields: &mut Fields) -> Result<(Option<Thinking>, &'static Part), Refusal> {
    let Some(mut reasoning) = fields.object("reasoning")? else { return Ok((None, &THOUGHTS)) };
    let thinking = reasoning.text("effort")?.map(thinking_of);
    let (old, new) = (reasoning.text("generate_summary")?, reasoning.text("summary")?);
    let thoughts = match new.or(old).as_deref() {
        None => &THOUGHTS,
        Some("auto" | "concise" | "detailed") => &SUMMARY,
        Some(other) => {
            let why = format!("expected \"auto\", \"concise\" or \"detailed\", not {other:?}");
            return Err(reasoning.refused("summary", why));
        }
    };
    reasoning.end()?;
    Ok((thinking, thoughts))
}

/// `include` and `top_logprobs`.
fn take_logprobs(fields: &mut Fields) -> Result<Option<usize>, Refusal> {
    let mut wanted = false;
    for name in fields.texts("include")? {
        match name.as_str() {
            "message.output_text.logprobs" => wanted = true,
            other => {
                let message = format!("include: this server has no {other:?}");
                return Err(Refusal::field("include", message));
            }
        }
    }
    let top = fields.count("top_logprobs", LOGPROBS_MAX)?;
    Ok((wanted || top.is_some_and(|top| top > 0)).then_some(top.unwrap_or(0)))
}

/// `truncation`, which says what `overflow` says.
fn take_truncation(fields: &mut Fields) -> Result<Option<Overflow>, Refusal> {
    let wrong = |message: &str| Refusal::field("truncation", message);
    let overflow = match fields.text("truncation")?.as_deref() {
        None => return Ok(None),
        Some("auto") => Overflow::DropOldest,
        Some("disabled") => Overflow::Error,
        Some(_) => return Err(wrong("truncation: expected \"auto\" or \"disabled\"")),
    };
    if fields.get("overflow").is_some() {
        return Err(wrong("truncation: \"overflow\" is given too, which says the same"));
    }
    Ok(Some(overflow))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &Json) -> Result<Settings, Refusal> {
        take(Fields::parse(body.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn settings_are_repeated_as_given_or_as_they_are_without() {
        for (name, default) in REPEATED {
            assert!(serde_json::from_str::<Json>(default).is_ok(), "{name}: {default}");
        }
        let tool =
            json!({ "type": "function", "name": "f", "parameters": { "type": "object" }, "strict": true });
        let given = json!({ "temperature": 0.7, "tools": [tool], "metadata": { "a": "b" }, "text": {}, "truncation": "auto" });
        let settings = taken(&given).unwrap();
        for name in ["temperature", "tools", "metadata", "truncation"] {
            assert_eq!(settings.repeated[name], given[name], "{name}");
        }
        assert_eq!(settings.repeated["text"], json!({ "format": { "type": "text" } }));
        assert_eq!((&settings.repeated["store"], &settings.repeated["user"]), (&json!(true), &Json::Null));
        assert!(settings.stores && settings.sampling.overflow == Overflow::DropOldest);
        assert!(!taken(&json!({ "store": false })).unwrap().stores);
    }

    #[test]
    fn thoughts_are_a_summary_for_who_asks_for_one() {
        let thoughts = |reasoning: Json| taken(&json!({ "reasoning": reasoning })).map(|s| s.thoughts.kind);
        assert_eq!(thoughts(json!({ "effort": "low" })).unwrap(), "reasoning_text");
        assert_eq!(thoughts(json!({ "summary": "auto" })).unwrap(), "summary_text");
    }

    #[test]
    fn what_cannot_be_met_is_refused_by_name() {
        let long = "x".repeat(600);
        for (given, name) in [
            (json!({ "background": true }), "background"),
            (json!({ "conversation": "conv_1" }), "conversation"),
            (json!({ "prompt": { "id": "p" } }), "prompt"),
            (json!({ "tools": [{ "type": "web_search" }] }), "\"web_search\""),
            (json!({ "include": ["reasoning.encrypted_content"] }), "reasoning.encrypted_content"),
            (json!({ "text": { "format": { "type": "yaml" } } }), "text.format"),
            (json!({ "text": { "verbosity": "low" } }), "verbosity"),
            (
                json!({ "text": { "format": { "type": "json_object" } }, "grammar": "root ::= \"x\"" }),
                "text.format",
            ),
            (json!({ "response_format": { "type": "json_object" } }), "\"text\""),
            (json!({ "reasoning": { "summary": "short" } }), "reasoning.summary"),
            (json!({ "reasoning": { "depth": 1 } }), "depth"),
            (json!({ "truncation": "some" }), "truncation"),
            (json!({ "truncation": "auto", "overflow": "error" }), "truncation"),
            (json!({ "top_logprobs": 99 }), "top_logprobs"),
            (json!({ "metadata": { "a": 1 } }), "metadata"),
            (json!({ "metadata": { "a": long } }), "metadata"),
            (json!({ "max_tokens": 3 }), "max_tokens"),
        ] {
            let error = taken(&given).unwrap_err().to_string();
            assert!(error.contains(name), "{given}: {error}");
        }
    }
}
