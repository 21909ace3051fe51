//! Conversations to prompts, with the stack a template may need.

use ingle_model::prompt::{ChatTemplate, RENDER_STACK_BYTES, RenderInput};

/// Renders on a thread of its own, whose stack holds what a hostile template can nest before its budget ends it; only
/// what is touched costs memory.
///
/// # Errors
/// As [`ChatTemplate::render`].
pub fn render(template: &ChatTemplate, input: &RenderInput<'_>) -> ingle_model::Result<String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("ingle-template".into())
            .stack_size(RENDER_STACK_BYTES)
            .spawn_scoped(scope, || template.render(input));
        let failed = |what: &str| Err(ingle_model::Error::Template(what.into()));
        match thread.map(|t| t.join()) {
            Ok(Ok(rendered)) => rendered,
            Ok(Err(_)) => failed("rendering broke off, expected a prompt"),
            Err(_) => failed("the system gave no thread to render on, expected one"),
        }
    })
}
