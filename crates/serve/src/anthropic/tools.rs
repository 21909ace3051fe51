//! Tools in Anthropic's words.

use serde_json::{Value as Json, json};

use crate::dialogue::{ToolChoice, Tools};
use crate::fields::Fields;
use crate::openai::messages::is_name;
use crate::refusal::Refusal;

/// Takes `tools` and `tool_choice`.
pub fn take_tools(fields: &mut Fields) -> Result<Tools, Refusal> {
    let mut tools = Tools::default();
    let mut strict = None;
    match fields.take("tools") {
        None => {}
        Some(Json::Array(given)) => {
            for (i, tool) in given.into_iter().enumerate() {
                if push(&mut tools, i, tool)? {
                    strict.get_or_insert(i);
                }
            }
        }
        Some(_) => return Err(Refusal::field("tools", "tools: expected an array")),
    }
    if let Some(choice) = fields.take("tool_choice") {
        choose(&mut tools, choice)?;
    }
    match (strict, &tools.choice) {
        // A call that the model makes of its own accord is not guided.
        (Some(i), ToolChoice::Auto) => Err(Refusal::field(
            "tools",
            format!("tools[{i}]: strict: a schema is held where tool_choice is any or tool"),
        )),
        _ => Ok(tools),
    }
}

/// One tool; whether its schema is to be held.
fn push(tools: &mut Tools, i: usize, tool: Json) -> Result<bool, Refusal> {
    let wrong = |what: &str| Refusal::field("tools", format!("tools[{i}]: {what}"));
    let mut fields = Fields::of("tools", tool)?;
    if let Some(kind) = fields.text("type")?.filter(|kind| kind != "custom") {
        return Err(wrong(&format!(
            "the type {kind:?} is not known, only tools that the client runs (type \"custom\")"
        )));
    }
    let name = fields.text("name")?.filter(|name| is_name(name));
    let name =
        name.ok_or_else(|| wrong("expected a name of 1 to 64 letters, digits, \"_\", \"-\" or \".\""))?;
    let description = fields.text("description")?;
    let schema = fields.take("input_schema").filter(Json::is_object);
    let schema = schema.ok_or_else(|| wrong("input_schema: expected a JSON Schema"))?;
    let strict = fields.flag("strict")?.unwrap_or(false);
    fields.unsupported("defer_loading", &[json!(false)])?;
    fields.unsupported("input_examples", &[json!([])])?;
    fields.unsupported("allowed_callers", &[json!(["direct"])])?;
    fields.harmless(&["cache_control", "eager_input_streaming"]);
    fields.end()?;
    tools.push(&name, description.as_deref(), schema);
    Ok(strict)
}

fn choose(tools: &mut Tools, choice: Json) -> Result<(), Refusal> {
    let wrong = || {
        Refusal::field(
            "tool_choice",
            "tool_choice: expected type auto, any, tool with the name of one, or none",
        )
    };
    let mut choice = Fields::of("tool_choice", choice)?;
    let kind = choice.text("type")?.ok_or_else(wrong)?;
    tools.choice = match kind.as_str() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => ToolChoice::Named(choice.text("name")?.ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    tools.parallel = !choice.flag("disable_parallel_tool_use")?.unwrap_or(false);
    choice.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &Json) -> Result<Tools, Refusal> {
        take_tools(&mut Fields::parse(body.to_string().as_bytes()).unwrap())
    }

    fn tool(more: Json) -> Json {
        let mut tool = json!({ "name": "f", "description": "d", "input_schema": { "type": "object" } });
        tool.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        tool
    }

    #[test]
    fn tools_are_chosen_in_anthropics_words() {
        let take = |choice: Json| taken(&json!({ "tools": [tool(json!({}))], "tool_choice": choice }));
        assert_eq!(take(json!({ "type": "auto" })).unwrap().choice, ToolChoice::Auto);
        let any = take(json!({ "type": "any", "disable_parallel_tool_use": true })).unwrap();
        assert_eq!((any.choice, any.parallel), (ToolChoice::Required, false));
        let one = take(json!({ "type": "tool", "name": "f" })).unwrap();
        assert_eq!((one.choice, one.parallel), (ToolChoice::Named("f".into()), true));
        assert_eq!(one.list[0].1["function"]["parameters"], json!({ "type": "object" }));
        assert_eq!(take(json!({ "type": "none" })).unwrap().choice, ToolChoice::None);
        for wrong in [json!("any"), json!({ "type": "tool" }), json!({ "type": "any", "x": 1 })] {
            assert!(take(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_tool_may_not_say_is_named() {
        for (more, word) in [
            (json!({ "type": "web_search_20250305" }), "web_search"),
            (json!({ "name": "no spaces" }), "name"),
            (json!({ "input_schema": [] }), "input_schema"),
            (json!({ "strict": true }), "strict"),
            (json!({ "defer_loading": true }), "defer_loading"),
            (json!({ "colour": "red" }), "colour"),
        ] {
            let error = taken(&json!({ "tools": [tool(more)] })).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let held = json!({ "tools": [tool(json!({ "strict": true }))], "tool_choice": { "type": "any" } });
        assert!(taken(&held).is_ok());
    }
}
