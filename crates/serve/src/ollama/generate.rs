//! `POST /api/generate`: a prompt is answered, or, where it is `raw`, gone on with as it stands.

use serde_json::{Map, Value as Json, json};

use super::answer::{Kind, Subject};
use crate::dialogue::Tools;
use crate::fields::Fields;
use crate::refusal::Refusal;

/// Answers to a prompt.
#[derive(Debug)]
pub struct Generate;

impl Kind for Generate {
    fn subject(fields: &mut Fields) -> Result<Subject, Refusal> {
        let prompt = fields.text("prompt")?.unwrap_or_default();
        let system = fields.text("system")?.filter(|system| !system.is_empty());
        let raw = fields.flag("raw")?.unwrap_or(false);
        for name in ["suffix", "template"] {
            fields.unsupported(name, &[json!("")])?;
        }
        for name in ["context", "images"] {
            fields.unsupported(name, &[json!([])])?;
        }
        if raw && system.is_some() {
            return Err(Refusal::field("system", "system: a raw prompt has no place for it"));
        }
        if prompt.is_empty() {
            return Ok(Subject::Nothing);
        }
        if raw {
            return Ok(Subject::Text(prompt));
        }
        let system = system.map(|system| json!({ "role": "system", "content": system }));
        let user = json!({ "role": "user", "content": prompt });
        Ok(Subject::Conversation(system.into_iter().chain([user]).collect(), Tools::default()))
    }

    fn put(mut said: Map<String, Json>, line: &mut Json) {
        line["response"] = said.shift_remove("content").unwrap_or_default();
        if let Some(thoughts) = said.shift_remove("thinking") {
            line["thinking"] = thoughts;
        }
    }
}
