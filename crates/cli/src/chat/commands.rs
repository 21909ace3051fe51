//! The shelf of what can be typed with a slash.

/// One command of the chat.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// With its slash.
    pub name: &'static str,
    /// What stands behind it, for the help; empty when nothing does.
    pub value: &'static str,
    /// One line.
    pub about: &'static str,
    /// What it asks for.
    pub action: Action,
}

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Show the shelf.
    Help,
    /// Write the conversation to a file.
    Save,
    /// Read one.
    Load,
    /// Forget what was said.
    Clear,
    /// Replace the system message.
    System,
    /// Show the last answer's figures.
    Stats,
    /// Say that the last answer is good.
    Good,
    /// Say that it is not.
    Bad,
    /// Leave.
    Exit,
}

/// Every command.
pub static COMMANDS: &[Command] = &[
    Command { name: "/help", value: "", about: "show this", action: Action::Help },
    Command { name: "/save", value: "FILE", about: "write the conversation as JSON", action: Action::Save },
    Command { name: "/load", value: "FILE", about: "go on with a saved conversation", action: Action::Load },
    Command {
        name: "/clear",
        value: "",
        about: "forget the conversation, keep the system message",
        action: Action::Clear,
    },
    Command {
        name: "/system",
        value: "[TEXT]",
        about: "set the system message, or remove it",
        action: Action::System,
    },
    Command {
        name: "/stats",
        value: "",
        about: "speed and memory of the last answer",
        action: Action::Stats,
    },
    Command {
        name: "/good",
        value: "",
        about: "the last answer is good: ten numbers of it are kept, no words",
        action: Action::Good,
    },
    Command { name: "/bad", value: "", about: "the last answer is not good", action: Action::Bad },
    Command { name: "/exit", value: "", about: "leave (also Ctrl-D)", action: Action::Exit },
];

/// What was typed: a command with its value, or the sentence that helps.
pub fn parse(line: &str) -> Result<(&'static Command, &str), String> {
    let (name, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let value = value.trim();
    let Some(command) = COMMANDS.iter().find(|c| c.name == name) else {
        let near = ingle_engine::near::nearest(name, COMMANDS.iter().map(|c| c.name));
        let near = near.map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        return Err(format!("no command {name}{near} (/help shows them all)"));
    };
    match (command.value, value) {
        ("FILE", "") => Err(format!("{name}: which file?")),
        ("", v) if !v.is_empty() => Err(format!("{name} takes nothing behind it")),
        _ => Ok((command, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_take_what_they_say() {
        assert_eq!(parse("/save  my chat.json ").unwrap().1, "my chat.json");
        assert_eq!(parse("/exit").unwrap().0.action, Action::Exit);
        assert_eq!(parse("/system").unwrap().1, "");
        assert!(parse("/save").unwrap_err().contains("which file"));
        assert!(parse("/clear all").is_err());
        assert!(parse("/exi").unwrap_err().contains("did you mean /exit?"));
    }
}
