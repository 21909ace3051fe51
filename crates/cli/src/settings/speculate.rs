//! What `--speculate` may say: names of the engine's shelf of drafters, some with an argument.

use ingle_engine::spec::{self, Kind};

/// What `auto` takes.
const AUTO: &[&str] = &["form", "lookup"];

/// Checks what is given for `--speculate`, and gives it back.
pub fn check(text: &str) -> Result<String, String> {
    named(text).map(|_| text.to_owned())
}

/// The kinds that `text` names, each with what stands behind the colon.
pub fn named(text: &str) -> Result<Vec<(&'static Kind, &str)>, String> {
    let of = |name: &str| spec::kind(name).map_err(|_| expected());
    let mut all = Vec::new();
    for item in text.split(',').filter(|_| text != "off") {
        let (name, argument) = item.split_once(':').unwrap_or((item, ""));
        if item == "auto" {
            AUTO.iter().try_for_each(|name| of(name).map(|kind| all.push((kind, ""))))?;
            continue;
        }
        let kind = of(name)?;
        if argument.is_empty() != kind.argument.is_empty() {
            return Err(expected());
        }
        all.push((kind, argument));
    }
    Ok(all)
}

/// What may be said, for those who said otherwise.
pub fn expected() -> String {
    let forms = spec::DRAFTERS.iter().map(|kind| match kind.argument {
        "" => kind.name.to_owned(),
        argument => format!("{}:{argument}", kind.name),
    });
    format!("expected auto, off, or with commas some of {}", forms.collect::<Vec<_>>().join(", "))
}
