//! A chat template: compiled and rendered over a conversation with tools. Whatever it says, it ends within its budget.
//! Needs a large stack (`ulimit -s 262144`), as the program gives it.
// libFuzzer: -max_len=512 -entropic_scale_per_exec_time=1
#![no_main]

use std::sync::LazyLock;

use ingle_fuzz::assert_sentence;
use ingle_model::prompt::{ChatTemplate, Now, RenderInput};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value, json};

static CONVERSATION: LazyLock<(Value, Value)> = LazyLock::new(|| {
    let call = json!({"type": "function", "function": {"name": "add", "arguments": {"a": 1, "b": [2.5, null, true]}}});
    let messages = json!([
        {"role": "system", "content": "Be <brief>.\n"},
        {"role": "user", "content": "1 + 1? \u{1F98A}"},
        {"role": "assistant", "content": "<think>hm</think>", "tool_calls": [call]},
        {"role": "tool", "content": "2", "tool_call_id": "1"},
        {"role": "user", "content": ""},
    ]);
    let tools = json!([{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {
        "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "array"}}, "required": ["a"]}}}]);
    (messages, tools)
});

const NOW: Now = Now { year: 2026, month: 1, day: 2, hour: 3, minute: 4, second: 5 };

fuzz_target!(|source: &str| {
    let Ok(template) = ChatTemplate::parse(source) else { return };
    let (messages, tools) = &*CONVERSATION;
    // One rendering of the two is enough for an input, whose length says which.
    let tools = source.len().is_multiple_of(2).then_some(tools);
    let extra: Map<String, Value> = [("enable_thinking".to_owned(), Value::Bool(true))].into_iter().collect();
    let rendered = template.render(&RenderInput {
        messages,
        tools,
        add_generation_prompt: tools.is_none(),
        bos_token: "<s>",
        eos_token: "</s>",
        now: NOW,
        extra,
    });
    assert_sentence(rendered.map(drop));
});
