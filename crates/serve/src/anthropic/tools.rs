//! Tools in Anthropic's words.

use serde_json::{Value as Json, json};

use crate::dialogue::{ToolChoice, Tools};
use crate::fields::Fields;
use crate::openai::tools::take_tool_name;
use crate::refusal::Refusal;

/// Takes `tools` and `tool_choice`.
pub fn take_tools(fields: &mut Fields) -> Result<Tools, Refusal> {
    let mut tools = Tools::default();
    for tool in fields.objects("tools")?.unwrap_or_default() {
        push(&mut tools, tool)?;
    }
    if let Some(choice) = fields.object("tool_choice")? {
        choose(&mut tools, choice)?;
    }
    Ok(tools)
}

fn push(tools: &mut Tools, mut tool: Fields) -> Result<(), Refusal> {
    if let Some(kind) = tool.text("type")?.filter(|kind| kind != "custom") {
        let why = format!("{kind:?} is not known, only tools that the client runs (\"custom\")");
        return Err(tool.refused("type", why));
    }
    let name = take_tool_name(&mut tool)?;
    let description = tool.text("description")?;
    let schema = tool.take("input_schema").filter(Json::is_object);
    let schema = schema.ok_or_else(|| tool.refused("input_schema", "expected a JSON Schema"))?;
    let strict = tool.flag("strict")?.unwrap_or(false);
    tool.unsupported("defer_loading", &[json!(false)])?;
    tool.unsupported("input_examples", &[json!([])])?;
    tool.unsupported("allowed_callers", &[json!(["direct"])])?;
    tool.harmless(&["cache_control", "eager_input_streaming"]);
    tool.end()?;
    tools.push(&name, description.as_deref(), schema, strict);
    Ok(())
}

fn choose(tools: &mut Tools, mut choice: Fields) -> Result<(), Refusal> {
    tools.choice = match choice.text("type")?.as_deref() {
        Some("auto") => ToolChoice::Auto,
        Some("any") => ToolChoice::Required,
        Some("none") => ToolChoice::None,
        Some("tool") => ToolChoice::Named(choice.needed_text("name")?),
        _ => return Err(choice.refused("type", "expected \"auto\", \"any\", \"tool\" or \"none\"")),
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
        assert_eq!(one.list[0].tool.parameters, json!({ "type": "object" }));
        assert_eq!(take(json!({ "type": "none" })).unwrap().choice, ToolChoice::None);
        for wrong in [json!("any"), json!({ "type": "tool" }), json!({ "type": "any", "x": 1 })] {
            assert!(take(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_tool_may_not_say_is_named() {
        for (more, word) in [
            (json!({ "type": "web_search_20250305" }), "tools[0].type: \"web_search"),
            (json!({ "name": "no spaces" }), "name"),
            (json!({ "input_schema": [] }), "input_schema"),
            (json!({ "defer_loading": true }), "defer_loading"),
            (json!({ "colour": "red" }), "tools[0].colour"),
        ] {
            let error = taken(&json!({ "tools": [tool(more)] })).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
