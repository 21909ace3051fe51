//! `POST /v1/messages`: an answer is a list of blocks, and a stream tells of each block that it starts, grows and stops.

use std::sync::Arc;

use ingle_engine::generate::Finish;
use serde_json::{Value as Json, json};

use super::take_dialogue;
use crate::answering::{Asked, Dialect, Framing, Told};
use crate::app::App;
use crate::ask::{Said, What};
use crate::fields::Fields;
use crate::guard::Caller;
use crate::ids;
use crate::refusal::Refusal;
use crate::reply::{Piece, Reply, SoFar};
use crate::sampling;

/// What stands where Anthropic signs thoughts: nobody checks it when they come back.
const SIGNATURE: &str = "unsigned";

/// An answer in the words of Messages.
#[derive(Debug)]
pub struct Message {
    id: String,
    model: String,
    stops: Vec<String>,
    tells_thoughts: bool,
    /// Tokens of the prompt, as long as nothing is known of those that are there already.
    n_prompt: usize,
    /// The block that is being told, and how many were begun.
    block: Option<Block>,
    n_blocks: usize,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Thinking,
    Text,
    ToolUse,
}

impl Dialect for Message {
    fn read(app: &Arc<App>, _: Caller, mut fields: Fields) -> Result<Asked<Self>, Refusal> {
        let served = app.answerer(fields.text("model")?.as_deref())?;
        let stream = fields.flag("stream")?.unwrap_or(false).then_some(Framing::Events);
        let max_tokens = fields.count("max_tokens", usize::MAX)?;
        let max_tokens = max_tokens
            .ok_or_else(|| Refusal::field("max_tokens", "max_tokens: none given, expected a whole number"))?;
        let stops = sampling::take_stops(&mut fields, "stop_sequences")?;
        fields.unsupported("stop", &[])?;
        let sampling = sampling::take(&mut fields, ids::seed())?;
        let sampling = sampling::Sampling { stop: stops.clone(), ..sampling };
        let (mut dialogue, tells_thoughts) = take_dialogue(&served, &mut fields, sampling)?;
        fields.end()?;
        dialogue.max_tokens = Some(max_tokens);
        let question = dialogue.question(&served, app.calendar())?;
        let dialect = Self {
            id: ids::fresh("msg_"),
            model: served.name.clone(),
            stops,
            tells_thoughts,
            n_prompt: question.prompt.len(),
            block: None,
            n_blocks: 0,
        };
        Ok(Asked { served, question, stream, dialect })
    }

    fn whole(&mut self, so_far: &SoFar) -> Json {
        let reply = &so_far.replies[0];
        let content = reply.pieces.iter().filter_map(|piece| self.content(piece)).collect();
        let mut message = self.message(content, &usage(so_far));
        let (reason, sequence) = self.stop(reply);
        message["stop_reason"] = reason.into();
        message["stop_sequence"] = sequence.into();
        message["timings"] = so_far.timings();
        so_far.sign(&mut message);
        if so_far.n_dropped() > 0 {
            message["dropped_tokens"] = so_far.n_dropped().into();
        }
        message
    }

    fn begin(&mut self, to: &mut Told) {
        let usage = json!({
            "input_tokens": self.n_prompt, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": 0,
        });
        event(to, json!({ "type": "message_start", "message": self.message(json!([]), &usage) }));
        self.ping(to);
    }

    fn tell(&mut self, said: &Said, so_far: &SoFar, to: &mut Told) {
        match &said.what {
            What::Text { text, .. } if text.is_empty() => {}
            What::Text { text, thinks: true, .. } => {
                let begun = json!({ "type": "thinking", "thinking": "", "signature": "" });
                self.go_on(Block::Thinking, begun, to);
                if self.tells_thoughts {
                    self.delta(json!({ "type": "thinking_delta", "thinking": text }), to);
                }
            }
            What::Text { text, thinks: false, .. } => {
                self.go_on(Block::Text, json!({ "type": "text", "text": "" }), to);
                self.delta(json!({ "type": "text_delta", "text": text }), to);
            }
            What::CallBegin { id, name } => {
                self.close(to);
                let begun = json!({ "type": "tool_use", "id": id, "name": name, "input": {} });
                self.go_on(Block::ToolUse, begun, to);
            }
            What::Arguments(json) => {
                self.delta(json!({ "type": "input_json_delta", "partial_json": json }), to);
            }
            What::CallEnd => self.close(to),
            // The end tells of it.
            What::Dropped(_) => {}
            What::End(_) => {
                self.close(to);
                let (reason, sequence) = self.stop(&so_far.replies[said.index]);
                let delta = json!({ "stop_reason": reason, "stop_sequence": sequence });
                let mut last = json!({
                    "type": "message_delta", "delta": delta, "usage": usage(so_far), "timings": so_far.timings(),
                });
                so_far.sign(&mut last);
                if so_far.n_dropped() > 0 {
                    last["dropped_tokens"] = so_far.n_dropped().into();
                }
                event(to, last);
                event(to, json!({ "type": "message_stop" }));
            }
        }
    }

    fn fail(&mut self, refusal: &Refusal, to: &mut Told) {
        event(to, refusal.anthropic());
    }

    fn ping(&self, to: &mut Told) {
        event(to, json!({ "type": "ping" }));
    }
}

impl Message {
    fn message(&self, content: Json, usage: &Json) -> Json {
        json!({
            "id": self.id, "type": "message", "role": "assistant", "model": self.model, "content": content,
            "stop_reason": null, "stop_sequence": null, "usage": usage,
        })
    }

    /// Why an answer ended, and by which of the texts that end it.
    fn stop(&self, reply: &Reply) -> (&'static str, Option<&str>) {
        match reply.finish() {
            Some(Finish::EndOfText | Finish::Stop(_) | Finish::Banned) if reply.calls().next().is_some() => {
                ("tool_use", None)
            }
            Some(Finish::Stop(i)) => ("stop_sequence", self.stops.get(i).map(String::as_str)),
            Some(Finish::EndOfText | Finish::Banned) => ("end_turn", None),
            Some(Finish::Context) => ("model_context_window_exceeded", None),
            Some(Finish::Length | Finish::Cancelled) | None => ("max_tokens", None),
        }
    }

    /// A piece of an answer as a block.
    fn content(&self, piece: &Piece) -> Option<Json> {
        Some(match piece {
            Piece::Text(text) | Piece::Thought(text) if text.is_empty() => return None,
            Piece::Thought(text) => {
                let thinking = if self.tells_thoughts { text } else { "" };
                json!({ "type": "thinking", "thinking": thinking, "signature": SIGNATURE })
            }
            Piece::Text(text) => json!({ "type": "text", "text": text }),
            Piece::Call(call) => {
                let input = serde_json::from_str(&call.arguments).ok().filter(Json::is_object);
                let mut block =
                    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input });
                if input.is_none() {
                    // The answer was cut within the call.
                    block["input"] = json!({});
                    block["partial_json"] = call.arguments.as_str().into();
                }
                block
            }
        })
    }

    /// Begins a block as `begun`, unless the one that is being told is such a one.
    fn go_on(&mut self, block: Block, begun: Json, to: &mut Told) {
        if self.block == Some(block) {
            return;
        }
        self.close(to);
        self.block = Some(block);
        event(to, json!({ "type": "content_block_start", "index": self.n_blocks, "content_block": begun }));
        self.n_blocks += 1;
    }

    fn delta(&self, delta: Json, to: &mut Told) {
        let index = self.n_blocks.saturating_sub(1);
        event(to, json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    }

    fn close(&mut self, to: &mut Told) {
        let Some(block) = self.block.take() else { return };
        if block == Block::Thinking {
            self.delta(json!({ "type": "signature_delta", "signature": SIGNATURE }), to);
        }
        let index = self.n_blocks.saturating_sub(1);
        event(to, json!({ "type": "content_block_stop", "index": index }));
    }
}

/// An event, which is called what its type is.
fn event(to: &mut Told, json: Json) {
    to.event(json["type"].as_str().unwrap_or_default(), &json);
}

/// Tokens used: those of the prompt that were there already are told apart, not counted twice.
fn usage(so_far: &SoFar) -> Json {
    let (n_prompt, n_reused, n_generated) = so_far.n_tokens();
    json!({
        "input_tokens": n_prompt - n_reused, "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": n_reused, "output_tokens": n_generated,
    })
}
