//! Tools in OpenAI's words, and which of them are to be called.

use serde_json::{Value as Json, json};

use crate::dialogue::{ToolChoice, Tools};
use crate::fields::Fields;
use crate::refusal::Refusal;

/// Takes `tools`, `tool_choice` and `parallel_tool_calls`.
pub fn take_tools(fields: &mut Fields) -> Result<Tools, Refusal> {
    let mut tools = take_list(fields)?;
    choose(&mut tools, fields)?;
    tools.parallel = fields.flag("parallel_tool_calls")?.unwrap_or(true);
    Ok(tools)
}

/// Takes `tools` alone.
pub fn take_list(fields: &mut Fields) -> Result<Tools, Refusal> {
    let mut tools = Tools::default();
    for tool in fields.objects("tools")?.unwrap_or_default() {
        push(&mut tools, tool)?;
    }
    Ok(tools)
}

/// One tool: what says it is under `function`, or beside the type as the Responses API has it.
fn push(tools: &mut Tools, mut tool: Fields) -> Result<(), Refusal> {
    let mut function = match take_function(&mut tool)? {
        Some(function) => tool.end().map(|()| function)?,
        None => tool,
    };
    let name = take_tool_name(&mut function)?;
    let description = function.text("description")?;
    let parameters = match function.take("parameters") {
        None => json!({ "type": "object", "properties": {} }),
        Some(schema @ Json::Object(_)) => schema,
        Some(_) => return Err(function.refused("parameters", "expected a JSON Schema")),
    };
    let strict = function.flag("strict")?.unwrap_or(false);
    function.unsupported("defer_loading", &[json!(false)])?;
    function.end()?;
    tools.push(&name, description.as_deref(), parameters, strict);
    Ok(())
}

/// Takes the `type`, which has to be a function's, and what stands under `function`, if anything.
fn take_function(tool: &mut Fields) -> Result<Option<Fields>, Refusal> {
    match tool.text("type")?.as_deref() {
        Some("function") => tool.object("function"),
        Some(other) => {
            Err(tool.refused("type", format_args!("{other:?} is not known, only tools of type \"function\"")))
        }
        None => Err(tool.refused("type", "none given, expected \"function\"")),
    }
}

/// Takes the name of a tool as it may be called.
pub fn take_tool_name(tool: &mut Fields) -> Result<String, Refusal> {
    let is_name = |name: &String| {
        (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    let wrong = "expected a name of 1 to 64 letters, digits, \"_\", \"-\" or \".\"";
    tool.text("name")?.filter(is_name).ok_or_else(|| tool.refused("name", wrong))
}

/// Takes `tool_choice`: a word, a function, or a list of those that are allowed.
fn choose(tools: &mut Tools, fields: &mut Fields) -> Result<(), Refusal> {
    if let Some(Json::String(word)) = fields.get("tool_choice") {
        let choice = by_word(word).ok_or_else(|| {
            fields.refused(
                "tool_choice",
                format_args!("expected \"none\", \"auto\" or \"required\", not {word:?}"),
            )
        })?;
        fields.take("tool_choice");
        tools.choice = choice;
        return Ok(());
    }
    let Some(mut choice) = fields.object("tool_choice")? else { return Ok(()) };
    match choice.get("type").and_then(Json::as_str) {
        Some("function") => tools.choice = ToolChoice::Named(name_of(choice)?),
        Some("allowed_tools") => {
            choice.take("type");
            let mut allowed = match choice.object("allowed_tools")? {
                Some(allowed) => choice.end().map(|()| allowed)?,
                None => choice,
            };
            let mode = allowed.text("mode")?.unwrap_or_else(|| "auto".into());
            let mode = by_word(&mode).filter(|choice| *choice != ToolChoice::None);
            tools.choice =
                mode.ok_or_else(|| allowed.refused("mode", "expected \"auto\" or \"required\""))?;
            let named = allowed.objects("tools")?.ok_or_else(|| allowed.refused("tools", "none given"))?;
            let names = named.into_iter().map(name_of).collect::<Result<Vec<_>, _>>()?;
            let is_there = |name: &&String| tools.list.iter().any(|tool| tool.tool.name == **name);
            if let Some(other) = names.iter().find(|name| !is_there(name)) {
                return Err(allowed.refused("tools", format_args!("no tool has the name {other:?}")));
            }
            allowed.end()?;
            tools.keep(&names);
        }
        _ => return Err(choice.refused("type", "expected \"function\" or \"allowed_tools\"")),
    }
    Ok(())
}

fn by_word(word: &str) -> Option<ToolChoice> {
    match word {
        "none" => Some(ToolChoice::None),
        "auto" => Some(ToolChoice::Auto),
        "required" => Some(ToolChoice::Required),
        _ => None,
    }
}

/// The tool that is meant by its name alone.
fn name_of(mut tool: Fields) -> Result<String, Refusal> {
    let mut function = match take_function(&mut tool)? {
        Some(function) => tool.end().map(|()| function)?,
        None => tool,
    };
    let name = function.needed_text("name")?;
    function.end().map(|()| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &Json) -> Result<Tools, Refusal> {
        take_tools(&mut Fields::parse(body.to_string().as_bytes()).unwrap())
    }

    fn tool(name: &str) -> Json {
        json!({ "type": "function", "function": { "name": name } })
    }

    fn chosen(choice: &Json) -> Result<Tools, Refusal> {
        taken(&json!({ "tools": [tool("a"), tool("b")], "tool_choice": choice }))
    }

    #[test]
    fn tools_are_named_and_chosen() {
        assert_eq!(chosen(&json!("required")).unwrap().choice, ToolChoice::Required);
        for named in [tool("b"), json!({ "type": "function", "name": "b" })] {
            assert_eq!(chosen(&named).unwrap().choice, ToolChoice::Named("b".into()));
        }
        let list = json!({ "mode": "required", "tools": [tool("b")] });
        let beside = json!({ "type": "allowed_tools", "tools": [{ "type": "function", "name": "b" }] });
        for (allowed, choice) in [
            (json!({ "type": "allowed_tools", "allowed_tools": list }), ToolChoice::Required),
            (beside, ToolChoice::Auto),
        ] {
            let tools = chosen(&allowed).unwrap();
            assert_eq!((tools.list.len(), tools.list[0].tool.name.as_str()), (1, "b"));
            assert_eq!(tools.choice, choice);
        }
    }

    #[test]
    fn what_a_tool_or_a_choice_may_not_say_is_named_with_its_place() {
        let function = |more: Json| {
            let mut function = json!({ "name": "f" });
            function.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({ "tools": [tool("a"), { "type": "function", "function": function }] })
        };
        let choice = |choice: Json| json!({ "tools": [tool("a")], "tool_choice": choice });
        let allowed = |more: Json| choice(json!({ "type": "allowed_tools", "allowed_tools": more }));
        for (body, path) in [
            (function(json!({ "name": "no spaces" })), "tools[1].function.name"),
            (function(json!({ "parameters": [] })), "tools[1].function.parameters"),
            (function(json!({ "strict": "yes" })), "tools[1].function.strict"),
            (function(json!({ "colour": 1 })), "tools[1].function.colour"),
            (json!({ "tools": [{ "type": "web_search" }] }), "tools[0].type: \"web_search\""),
            (
                json!({ "tools": [{ "type": "function", "function": { "name": "f" }, "foo": 1 }] }),
                "tools[0].foo",
            ),
            (json!({ "tools": [{ "type": "function", "name": "f", "foo": 1 }] }), "tools[0].foo"),
            (choice(json!("always")), "tool_choice"),
            (choice(json!({ "type": "x" })), "tool_choice.type"),
            (
                choice(json!({ "type": "function", "function": { "name": "a", "foo": 1 } })),
                "tool_choice.function.foo",
            ),
            (
                allowed(json!({ "tools": [tool("b")] })),
                "tool_choice.allowed_tools.tools: no tool has the name \"b\"",
            ),
            (allowed(json!({ "tools": [tool("a")], "mode": "none" })), "tool_choice.allowed_tools.mode"),
            (allowed(json!({ "tools": [tool("a")], "foo": 1 })), "tool_choice.allowed_tools.foo"),
        ] {
            let error = taken(&body).unwrap_err().to_string();
            assert!(error.contains(path), "{body}: {error}");
        }
    }
}
