//! The program's settings: a config file, variables and flags, layered as the program does. Whatever they say is refused in a
//! sentence, or gives settings that can be asked for all they hold and that say the same when they are said again.
//!
//! An input is the file, the variables, a line `NAME=VALUE` each, and the flags, an argument to a line, with a zero byte
//! between each two of them.
// libFuzzer: -max_len=600
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use clap::Command;
use ingle_fuzz::assert_sentence;
use libfuzzer_sys::fuzz_target;
use settings::{COMPUTE, EVERYWHERE, Kind, METERING, SETTINGS, Settings};

/// The module is part of the program and not of a library; it knows nothing else of the program.
#[expect(dead_code, unused_imports, reason = "the program asks for more")]
#[path = "../../../crates/cli/src/settings/mod.rs"]
mod settings;

/// A verb that takes every setting.
static COMMAND: LazyLock<Command> = LazyLock::new(|| {
    let command = settings::args(Command::new("x").no_binary_name(true), &settings::sampling_names());
    let own = ["max-tokens", "ctx", "overflow"];
    settings::args(settings::args(settings::args(settings::args(command, &own), COMPUTE), METERING), EVERYWHERE)
});

/// What the rest of the program asks.
fn ask(settings: &Settings) {
    // Values that are right one by one may be refused together.
    assert_sentence(settings.params(|| 7).check());
    for setting in SETTINGS.iter() {
        match setting.kind {
            Kind::Uint(min, max) => {
                assert!(settings.uint(setting.name).is_none_or(|n| (min..=max).contains(&n)));
            }
            Kind::Switch => assert!(matches!(settings.text(setting.name), Some("true" | "false"))),
            Kind::Text(_, check) => assert!(settings.text(setting.name).is_none_or(|text| check(text).is_ok())),
            Kind::Choice(_) | Kind::Sampling(_) => {}
        }
    }
}

fn layer(file: &str, variables: &str, flags: &str) -> Result<(), String> {
    let flags = if flags.is_empty() { Vec::new() } else { flags.split('\n').collect() };
    let Ok(matches) = COMMAND.clone().try_get_matches_from(flags) else { return Ok(()) };
    let var = |name: &str| {
        let mut said = variables.lines().filter_map(|line| line.split_once('='));
        said.find(|(variable, _)| *variable == name).map(|(_, value)| value.to_owned())
    };
    let settings = Settings::layer(&matches, var, Some((Path::new("config.toml"), file)))?;
    ask(&settings);

    let none = COMMAND.clone().try_get_matches_from([""; 0]).expect("no flag is needed");
    let said = |variable: &str| {
        let setting = SETTINGS.iter().find(|setting| setting.variable() == variable)?;
        settings.text(setting.name).map(str::to_owned)
    };
    let again = Settings::layer(&none, said, None).expect("what was taken is taken again");
    for setting in SETTINGS.iter() {
        let text = settings.text(setting.name);
        assert!(text == Some("") || again.text(setting.name) == text, "{}: {text:?}", setting.name);
    }
    Ok(())
}

fuzz_target!(|input: &[u8]| {
    let Ok(input) = str::from_utf8(input) else { return };
    let mut parts = input.splitn(3, '\0');
    let [file, variables, flags] = [(); 3].map(|()| parts.next().unwrap_or_default());
    assert_sentence(layer(file, variables, flags));
});
