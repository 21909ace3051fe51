//! The settings know nothing of the rest of the program: they are fuzzed as a module of their own, and this is built as that is.

#[expect(dead_code, unused_imports, reason = "the program asks for more")]
#[path = "../src/settings/mod.rs"]
mod settings;

#[test]
fn every_default_is_a_value_that_may_be_written() {
    for setting in settings::SETTINGS.iter() {
        if let (settings::Kind::Text(_, check), Some(default)) = (&setting.kind, &setting.default) {
            assert!(check(default).is_ok(), "{}: {default}", setting.name);
        }
    }
}
