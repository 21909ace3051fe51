//! Chat templates against Python's Jinja as the transformers library sets it up, and hostile ones against the limits.

use std::path::PathBuf;

use ingle_model::Error;
use ingle_model::prompt::{ChatTemplate, Now, RenderInput};
use serde_json::{Value, json};

/// The folder of reference outputs (`INGLE_GOLDEN`, or ../shared/golden), when it is there.
fn golden(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("INGLE_GOLDEN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if !path.is_dir() {
        eprintln!("skipped: no reference outputs at {}", path.display());
        return None;
    }
    Some(path)
}

fn render(source: &str, case: &Value) -> Result<String, Error> {
    let mut extra = case.as_object().cloned().unwrap_or_default();
    let messages = extra.remove("messages").unwrap_or(json!([]));
    let tools = extra.remove("tools");
    let prompt = extra.remove("add_generation_prompt").is_none_or(|v| v == true);
    ChatTemplate::parse(source)?.render(&RenderInput {
        messages: &messages,
        tools: tools.as_ref(),
        add_generation_prompt: prompt,
        bos_token: "<s>",
        eos_token: "</s>",
        now: Now::parse_iso("2026-01-02T03:04:05").unwrap(),
        extra,
    })
}

#[test]
fn prompts_equal_the_reference() {
    let Some(folder) = golden("templates") else { return };
    let reference: Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    let mut n = 0;
    for (name, cases) in reference["expected"].as_object().unwrap() {
        let source = std::fs::read_to_string(folder.join(name)).unwrap();
        for (case, expected) in cases.as_object().unwrap() {
            n += 1;
            let found = render(&source, &reference["cases"][case]);
            let right = match (&found, expected["ok"].as_str(), expected["error"].as_str()) {
                (Ok(found), Some(expected), _) => found == expected,
                (Err(Error::Template(found)), _, Some(expected)) => expected.ends_with(found.as_str()),
                _ => false,
            };
            if !right {
                wrong.push(format!("{name} {case}\n  found    {found:?}\n  expected {expected}"));
            }
        }
    }
    assert!(n >= 144, "{n} cases");
    assert!(wrong.is_empty(), "{} of {n} differ:\n{}", wrong.len(), wrong.join("\n"));
}
