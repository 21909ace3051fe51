//! Formats of calls against what others say they are: grammars against llguidance, which must take a call of the format and
//! nothing else, and published chat templates, whose own calls must be read back.

use std::path::Path;
use std::sync::Arc;

use ingle_engine::output::{
    Beside, Calls, Delivery, Demand, FORMATS, Format, Options, Parser, Part, Tool, detect,
};
use ingle_engine::{Error, chat};
use ingle_model::prompt::{ChatTemplate, Now, RenderInput};
use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde_json::{Value, json};
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

/// Schemas go to llguidance as they are.
fn as_it_is(schema: &Value) -> ingle_engine::Result<Value> {
    Ok(schema.clone())
}

fn tools() -> Vec<Tool> {
    let add = json!({
        "type": "object",
        "properties": {"a": {"type": "integer"}, "text": {"type": "string"}, "unit": {"enum": ["c", "f"]},
            "on": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["a", "text"],
    });
    vec![
        Tool { name: "add".into(), parameters: add },
        Tool {
            name: "now".into(),
            parameters: json!({"type": "object", "properties": {}, "additionalProperties": false}),
        },
    ]
}

/// What a text of `format` says: text, and calls with their arguments.
fn read(format: &'static Format, tools: &[Tool], text: &str) -> (String, Vec<(String, Value)>) {
    let options = Options { tools: Arc::from(tools), inside: None, delivery: Delivery::Proven };
    let (mut said, mut calls, mut arguments) = (String::new(), Vec::new(), String::new());
    let mut on = |part: Part<'_>| match part {
        Part::Text(text) => said.push_str(text),
        Part::CallBegin { name, .. } => calls.push((name.to_owned(), Value::Null)),
        Part::Arguments(json) => arguments.push_str(json),
        Part::CallEnd { .. } => {
            calls.last_mut().unwrap().1 = serde_json::from_str(&std::mem::take(&mut arguments)).unwrap();
        }
        Part::Reasoning(_) | Part::Markup(_) => {}
        Part::CallFailed => unreachable!("calls are proven"),
    };
    let mut answer = Parser::new(format, options);
    answer.push(text, &mut on);
    answer.finish(&mut on);
    (said, calls)
}

/// A vocabulary of bytes and these special tokens; the last token ends a text.
fn vocabulary(specials: &[&str]) -> TokEnv {
    let mut words: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
    words.extend(specials.iter().map(|s| [&[TokTrie::SPECIAL_TOKEN_MARKER], s.as_bytes()].concat()));
    words.push(b"\xff<end>".to_vec());
    let info = TokRxInfo::new(words.len() as u32, words.len() as u32 - 1);
    Arc::new(ApproximateTokEnv::new(TokTrie::from(&info, &words)))
}

/// Whether the grammar takes all of `text`, then and not before may end, and nothing else.
fn takes(grammar: &str, specials: &[&str], text: &str) -> bool {
    let env = vocabulary(specials);
    let factory = ParserFactory::new_simple(&env).unwrap();
    let mut matcher = Matcher::new(factory.create_parser(TopLevelGrammar::from_lark(grammar.to_owned())));
    assert!(!matcher.is_error(), "{}\n{grammar}", matcher.get_error().unwrap_or_default());
    let mut rest = text;
    while !rest.is_empty() {
        let special = specials.iter().position(|special| rest.starts_with(special));
        let (id, len) =
            special.map_or((u32::from(rest.as_bytes()[0]), 1), |i| (256 + i as u32, specials[i].len()));
        // Bytes of one character go in one after the other.
        let len = if special.is_none() { rest.chars().next().map_or(1, char::len_utf8) } else { len };
        let ids: Vec<u32> = if special.is_some() {
            vec![id]
        } else {
            rest.as_bytes()[..len].iter().map(|b| u32::from(*b)).collect()
        };
        for id in ids {
            if matcher.consume_token(id).is_err() {
                return false;
            }
        }
        rest = &rest[len..];
    }
    matcher.is_accepting().unwrap()
}

/// A call as the format's own template would write it.
fn written(format: &Format, name: &str, arguments: &str) -> String {
    let json = |key: &str| format!("{{\"name\": \"{name}\", \"{key}\": {arguments}}}");
    match format.name {
        "hermes" => format!("<tool_call>\n{}\n</tool_call>", json("arguments")),
        "llama3" => json("parameters"),
        "mistral" => format!("[TOOL_CALLS]{name}[ARGS]{arguments}"),
        "phi4" => format!("<|tool_call|>[{}]<|/tool_call|>", json("arguments")),
        "granite" => format!("<|tool_call|>[{}]", json("arguments")),
        "deepseek" => format!(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>{name}<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
        ),
        "harmony" => format!(" to=functions.{name}<|channel|>commentary json<|message|>{arguments}<|call|>"),
        other => unreachable!("{other} does not write JSON"),
    }
}

/// Calls that each format's grammar must take, and ones that it must not.
fn cases(format: &Format) -> (Vec<String>, Vec<String>) {
    let full = r#"{"a": 1, "text": "x <b> \"é\""}"#;
    match format.name {
        "qwen3-coder" => {
            let call = |inner: &str| format!("<tool_call>\n<function=add>\n{inner}</function>\n</tool_call>");
            let a = "<parameter=a>\n1\n</parameter>\n";
            let text = "<parameter=text>\nx <b>\n\"é\"\n</parameter>\n";
            let unit = |unit: &str| format!("<parameter=unit>\n{unit}\n</parameter>\n");
            (
                vec![call(&format!("{a}{text}")), call(&format!("{a}{text}{}", unit("c")))],
                vec![
                    call(a),
                    call(text),
                    call(&format!("{a}{text}{}", unit("k"))),
                    call(&format!("{a}{text}")).replace("add", "sub"),
                ],
            )
        }
        "lfm2" => {
            let call = |inner: &str| format!("<|tool_call_start|>[{inner}]<|tool_call_end|>");
            (
                vec![
                    call(r#"add(a=1, text="x é")"#),
                    call(r#"add(a=1, text="x", on=True, tags=["y"]), now()"#),
                ],
                vec![call("add(a=1)"), call(r#"add(a="1", text="x")"#), call("sub()"), call("")],
            )
        }
        "gemma" => {
            let call = |inner: &str| format!("<|tool_call>call:{inner}<tool_call|>");
            (
                vec![
                    call(r#"add{a:1,text:<|"|>x {é} "y"<|"|>}"#),
                    call(r#"add{a:1,text:<|"|><|"|>,unit:<|"|>c<|"|>,tags:[<|"|>y<|"|>,<|"|>z<|"|>]}"#),
                    call("now{}"),
                ],
                vec![call("add{a:1}"), call(r#"add{a:x,text:<|"|>x<|"|>}"#), call("sub{}")],
            )
        }
        _ => (
            vec![written(format, "add", full), written(format, "now", "{}")],
            vec![
                written(format, "add", "{}"),
                written(format, "add", r#"{"a": "1", "text": ""}"#),
                written(format, "sub", "{}"),
                written(format, "add", full) + "!",
            ],
        ),
    }
}

#[test]
fn grammars_take_calls_and_nothing_else() {
    let tools = tools();
    for format in FORMATS.iter().filter(|format| !format.example.is_empty()) {
        // Markers as tokens of the vocabulary, and as plain text.
        let markers: Vec<&str> = format.markers().filter(|marker| marker.ends_with(['>', ']'])).collect();
        for specials in [&markers[..], &[]] {
            let token = |text: &str| Some(256 + specials.iter().position(|s| *s == text)? as u32);
            let template = "[ARGS]";
            let demand = Demand {
                tools: &tools,
                calls: Calls::Many,
                beside: Beside::Nothing,
                template,
                token: &token,
                schema: &as_it_is,
            };
            let grammar = format.grammar(&demand).unwrap().unwrap();
            let (good, bad) = cases(format);
            for text in &good {
                assert!(takes(&grammar, specials, text), "{} refuses {text}\n{grammar}", format.name);
                let (said, calls) = read(format, &tools, text);
                assert!(said.is_empty() && !calls.is_empty(), "{}: {text} is read as {said:?}", format.name);
            }
            for text in bad.iter().chain([&String::new(), &"No.".to_owned()]) {
                assert!(!takes(&grammar, specials, text), "{} takes {text:?}\n{grammar}", format.name);
            }
        }
    }
}

#[test]
fn one_call_is_one() {
    let tools = tools();
    let hermes = detect("<tool_call>");
    let demand = |calls| Demand {
        tools: &tools[1..],
        calls,
        beside: Beside::Nothing,
        template: "",
        token: &|_| None,
        schema: &as_it_is,
    };
    let one = written(hermes, "now", "{}");
    let two = format!("{one}\n{one}");
    let [many, single] =
        [Calls::Many, Calls::One].map(|calls| hermes.grammar(&demand(calls)).unwrap().unwrap());
    assert!(takes(&many, &[], &two) && takes(&many, &[], &one));
    assert!(takes(&single, &[], &one) && !takes(&single, &[], &two));
    assert!(
        !takes(&single, &[], &written(hermes, "add", r#"{"a": 1, "text": ""}"#)),
        "a named tool is the only one"
    );
    assert_eq!(FORMATS.last().unwrap().grammar(&demand(Calls::One)).unwrap(), None);
}

#[test]
fn a_schema_that_cannot_be_held_refuses_the_grammar() {
    let refuse = |schema: &Value| match schema["type"] == "object" || schema["type"] == "integer" {
        true => Err(Error::Input(format!("{}, expected another", schema["type"]))),
        false => Ok(schema.clone()),
    };
    let tools = tools();
    for format in FORMATS.iter().filter(|format| !format.example.is_empty()) {
        let demand = Demand {
            tools: &tools,
            calls: Calls::One,
            beside: Beside::Nothing,
            template: "",
            token: &|_| None,
            schema: &refuse,
        };
        assert!(
            format.grammar(&demand).unwrap_err().to_string().ends_with(", expected another"),
            "{}",
            format.name
        );
    }
}

/// The format that each published template speaks, whether it writes calls of an assistant's turn. DeepSeek's do so only for a
/// content of null and arguments that are a text, and leave the end of a single call out.
const TEMPLATES: &[(&str, &str, bool)] = &[
    ("HuggingFaceTB-SmolLM3-3B", "plain", false),
    ("LFM2.5-Instruct", "lfm2", false),
    ("Mistral-Small-3.2-24B-Instruct-2506", "mistral", true),
    ("NousResearch-Hermes-3-Llama-3.1-8B-tool_use", "hermes", true),
    ("Qwen-Qwen2.5-7B-Instruct", "hermes", true),
    ("Qwen-Qwen3-0.6B", "hermes", true),
    ("Qwen3-Coder", "qwen3-coder", true),
    ("Qwen3.5-4B", "qwen3-coder", true),
    ("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek", false),
    ("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek", false),
    ("google-gemma-2-2b-it", "plain", false),
    ("google-gemma-4-31B-it", "gemma", true),
    ("ibm-granite-granite-4.0", "hermes", true),
    ("meta-llama-Llama-3.1-8B-Instruct", "llama3", true),
    ("meta-llama-Llama-3.2-3B-Instruct", "llama3", true),
    ("microsoft-Phi-3.5-mini-instruct", "plain", false),
    ("openai-gpt-oss-120b", "harmony", true),
];

#[test]
fn calls_that_published_templates_write_are_read_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/templates");
    if !folder.exists() {
        eprintln!("skipped: no reference data at ../shared/golden/templates");
        return;
    }
    let tools = tools();
    let arguments = json!({"a": 1, "text": "x <b> é\ny", "on": true, "tags": ["p", "q"]});
    let declared = tools.iter().map(|tool| {
        let function = json!({"name": tool.name, "description": "Adds.", "parameters": tool.parameters});
        json!({"type": "function", "function": function})
    });
    let declared = Value::Array(declared.collect());
    let call =
        json!({"type": "function", "id": "abcdefghi", "function": {"name": "add", "arguments": arguments}});
    let user = json!({"role": "user", "content": "1 + 1?"});
    let assistant = json!({"role": "assistant", "content": "", "tool_calls": [call]});
    let mut n_read = 0;
    for (name, format, writes) in TEMPLATES {
        let source = std::fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
        let detected = detect(&source);
        assert_eq!(detected.name, *format, "{name}");
        if !writes {
            continue;
        }
        let template = ChatTemplate::parse(&source).unwrap();
        let render = |messages: Value, add_generation_prompt: bool| {
            let input = RenderInput {
                messages: &messages,
                tools: Some(&declared),
                add_generation_prompt,
                bos_token: "<bos>",
                eos_token: "<eos>",
                now: Now { year: 2026, month: 1, day: 2, hour: 3, minute: 4, second: 5 },
                extra: serde_json::Map::new(),
            };
            chat::render(&template, &input).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let prompt = render(json!([user.clone()]), false);
        let whole = render(json!([user.clone(), assistant.clone()]), false);
        let turn = whole.strip_prefix(&prompt).unwrap_or_else(|| panic!("{name}: {whole}"));
        // What begins the model's turn is the prompt's, and what ends it ends the answer.
        let starts = [
            "<|im_start|>assistant\n",
            "<|start_header_id|>assistant<|end_header_id|>\n\n",
            "<|turn>model\n",
            "<|start_of_role|>assistant<|end_of_role|>",
            "<｜Assistant｜>",
            "<|im_start|>assistant",
        ];
        let turn = starts.iter().find_map(|start| turn.strip_prefix(start)).unwrap_or(turn);
        let ends =
            ["<|im_end|>", "<|eot_id|>", "<eos>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "<turn|>"];
        let turn = ends.iter().find_map(|end| turn.split_once(end)).map_or(turn, |(turn, _)| turn);
        let (said, calls) = read(detected, &tools, turn);
        assert_eq!(calls, [("add".to_owned(), arguments.clone())], "{name}: {turn}");
        assert_eq!(said.trim(), "", "{name}: {turn}");
        n_read += 1;
    }
    assert_eq!(n_read, TEMPLATES.iter().filter(|(_, _, writes)| *writes).count());
}
