//! OpenAI's routes, and what they have in common.

pub mod chat;
pub mod completions;
pub mod messages;
pub mod models;
pub mod responses;
pub mod tools;

use ingle_engine::generate::Finish;
use ingle_engine::sample::Logprob;
use serde_json::{Value as Json, json};

use crate::answering::{Framing, Told};
use crate::ask::TokenLogprobs;
use crate::fields::Fields;
use crate::refusal::Refusal;
use crate::reply::{Reply, SoFar};
use crate::served::Served;

/// Fields that requests may give and that change no answer: what they say is about an account, a bill, or a cache that finds its
/// way without.
pub static ACCEPTED: &[&str] =
    &["user", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"];

/// What `metadata` may have, as OpenAI has it.
const METADATA_MAX: usize = 16;
const METADATA_KEY_MAX: usize = 64;
const METADATA_VALUE_MAX: usize = 512;

/// The most answers to one request.
pub const ANSWERS_MAX: usize = 16;

/// Takes how an answer is streamed, if it is, and whether its usage is told at the end.
pub fn take_stream(fields: &mut Fields) -> Result<(Option<Framing>, bool), Refusal> {
    let stream = fields.flag("stream")?.unwrap_or(false).then_some(Framing::Events);
    let Some(mut options) = fields.object("stream_options")? else { return Ok((stream, false)) };
    let usage = options.flag("include_usage")?.unwrap_or(false);
    options.harmless(&["include_obfuscation"]);
    options.end()?;
    Ok((stream, usage))
}

/// Takes `metadata`, which only the Responses API says again.
pub fn take_metadata(fields: &mut Fields) -> Result<(), Refusal> {
    let Some(metadata) = fields.take("metadata") else { return Ok(()) };
    let fits = |(key, value): (&String, &Json)| {
        let value = value.as_str().map(|value| value.chars().count());
        key.chars().count() <= METADATA_KEY_MAX && value.is_some_and(|n| n <= METADATA_VALUE_MAX)
    };
    if metadata.as_object().is_some_and(|map| map.len() <= METADATA_MAX && map.iter().all(fits)) {
        return Ok(());
    }
    let expected = format!(
        "expected up to {METADATA_MAX} texts of {METADATA_VALUE_MAX} characters under names of {METADATA_KEY_MAX}"
    );
    Err(fields.refused("metadata", expected))
}

/// A response in one piece.
pub fn response(
    object: &str,
    id: &str,
    created: u64,
    served: &Served,
    choices: Json,
    so_far: &SoFar,
) -> Json {
    let mut response = json!({
        "id": id, "object": object, "created": created, "model": served.name, "choices": choices,
        "usage": usage(so_far), "timings": so_far.timings(),
    });
    so_far.sign(&mut response);
    if so_far.n_dropped() > 0 {
        response["dropped_tokens"] = so_far.n_dropped().into();
    }
    response
}

/// Ends a stream: with the usage in a `chunk` without choices, if it is to be told.
pub fn end_stream(usage_in: Option<Json>, so_far: &SoFar, to: &mut Told) {
    if let Some(mut chunk) = usage_in {
        chunk["usage"] = usage(so_far);
        chunk["timings"] = so_far.timings();
        so_far.sign(&mut chunk);
        to.document(&chunk);
    }
    to.data("[DONE]");
}

/// Ends a stream with what went wrong.
pub fn fail_stream(refusal: &Refusal, to: &mut Told) {
    to.document(&refusal.json());
    to.data("[DONE]");
}

/// Why an answer ended, in OpenAI's words.
pub fn reason(reply: &Reply) -> &'static str {
    match reply.finish() {
        Some(Finish::EndOfText | Finish::Stop(_) | Finish::Banned) if reply.calls().next().is_some() => {
            "tool_calls"
        }
        Some(Finish::EndOfText | Finish::Stop(_) | Finish::Banned) => "stop",
        Some(Finish::Length | Finish::Context | Finish::Cancelled) | None => "length",
    }
}

/// Tokens used.
pub fn usage(so_far: &SoFar) -> Json {
    let (n_prompt, n_reused, n_generated) = so_far.n_tokens();
    json!({
        "prompt_tokens": n_prompt,
        "completion_tokens": n_generated,
        "total_tokens": n_prompt + n_generated,
        "prompt_tokens_details": { "cached_tokens": n_reused },
    })
}

/// `logprobs.content` of some tokens.
pub fn logprobs_json(served: &Served, tokens: &[TokenLogprobs]) -> Json {
    let one = |token: &Logprob| {
        let bytes = served.token_text(token.id);
        // JSON has no infinity; OpenAI writes -9999 for what can't be.
        let logprob = token.logprob.max(-9999.0);
        json!({ "token": String::from_utf8_lossy(&bytes), "logprob": logprob, "bytes": bytes })
    };
    let tokens = tokens.iter().map(|token| {
        let mut entry = one(&token.chosen);
        entry["top_logprobs"] = token.top.iter().map(one).collect();
        entry
    });
    tokens.collect()
}
