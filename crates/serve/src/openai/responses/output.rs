//! What an answer is as items: its thoughts, what it says and whom it calls.

use serde_json::{Value as Json, json};

use crate::reply::{Call, Piece};

/// How a text is part of an item, and what its events are called.
#[derive(Debug)]
pub struct Part {
    /// The item's list of such parts.
    pub list: &'static str,
    /// What the place in that list is called.
    pub index: &'static str,
    /// The type of such a part.
    pub kind: &'static str,
    /// The part begins.
    pub added: &'static str,
    /// More of its text.
    pub delta: &'static str,
    /// All of its text.
    pub done: &'static str,
    /// The part is complete.
    pub part_done: &'static str,
}

/// What a message says.
pub static TEXT: Part = Part {
    list: "content",
    index: "content_index",
    kind: "output_text",
    added: "response.content_part.added",
    delta: "response.output_text.delta",
    done: "response.output_text.done",
    part_done: "response.content_part.done",
};

/// What a model says to itself.
pub static THOUGHTS: Part = Part {
    kind: "reasoning_text",
    delta: "response.reasoning_text.delta",
    done: "response.reasoning_text.done",
    ..TEXT
};

/// The same for who asks for a summary, and reads nothing else: it leaves nothing out.
pub static SUMMARY: Part = Part {
    list: "summary",
    index: "summary_index",
    kind: "summary_text",
    added: "response.reasoning_summary_part.added",
    delta: "response.reasoning_summary_text.delta",
    done: "response.reasoning_summary_text.done",
    part_done: "response.reasoning_summary_part.done",
};

impl Part {
    /// The part that is this text.
    pub fn json(&self, text: &str, logprobs: Json) -> Json {
        if self.kind == TEXT.kind {
            json!({ "type": self.kind, "text": text, "annotations": [], "logprobs": logprobs })
        } else {
            json!({ "type": self.kind, "text": text })
        }
    }
}

/// How the id of a piece's item begins.
pub fn prefix(piece: &Piece) -> &'static str {
    match piece {
        Piece::Thought(_) => "rs_",
        Piece::Text(_) => "msg_",
        Piece::Call(_) => "fc_",
    }
}

/// The item of a message, of thoughts or of a call, with these parts of its text.
pub fn item(piece: &Piece, id: &str, status: &str, thoughts: &Part, parts: Json) -> Json {
    match piece {
        Piece::Text(_) => {
            json!({ "id": id, "type": "message", "status": status, "role": "assistant", "content": parts })
        }
        Piece::Thought(_) => {
            let mut item = json!({ "id": id, "type": "reasoning", "status": status, "summary": [] });
            item[thoughts.list] = parts;
            item
        }
        Piece::Call(Call { id: call_id, name, arguments }) => json!({
            "id": id, "type": "function_call", "status": status,
            "call_id": call_id, "name": name, "arguments": arguments,
        }),
    }
}
