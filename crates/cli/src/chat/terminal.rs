//! The chat at a terminal: a line editor with history, answers as they come, commands.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use ingle_engine::generate::Overflow;
use ingle_engine::kv_dir::fingerprint::number_of_model;
use ingle_engine::session::Session;
use ingle_route::confidence::Signal;
use rustyline::error::ReadlineError;
use rustyline::{Config, DefaultEditor};

use super::Conversation;
use super::answer::{Answer, Options, answer};
use super::commands::{self, Action, COMMANDS};
use super::lines::Assembler;
use super::prompt::Prompter;
use crate::at_rest::{self, Chosen, HISTORY_LABEL};
use crate::env::{Env, say, say_error};
use crate::exit::{Exit, Failure};
use crate::feedback::{self, Keeper};
use crate::metering::Metering;

const HISTORY_MAX: usize = 1000;

/// What the chat holds.
#[derive(Debug)]
pub struct Chat<'a> {
    /// Conversations to ids.
    pub prompter: &'a Prompter<'a>,
    /// What was said.
    pub conversation: Conversation,
    /// How to answer.
    pub options: Options,
    /// Whether figures follow every answer.
    pub stats: bool,
    /// The sequence.
    pub session: Session,
    /// What answers take.
    pub metering: Metering,
    /// Who keeps what is said of answers, if anybody.
    pub feedback: Option<Keeper>,
    /// The last answer, and the number by which its feedback is kept.
    pub last: Option<(Answer, u64)>,
}

/// Reads messages and answers them until the reader leaves.
pub fn run(mut chat: Chat<'_>, env: &Env) -> Result<Exit, Failure> {
    let mut editor = Editor::open(env)?;
    let loaded = chat.session.loaded();
    let how = if chat.prompter.has_template() { "" } else { ", no chat template: it goes on with your text" };
    say(format_args!(
        "{}: {}, context {}{how}. /help shows commands, Ctrl-D leaves.",
        loaded.file.name(),
        loaded.model.config.family.name,
        chat.session.ctx()
    ));
    while let Some(line) = editor.message()? {
        if line.trim().is_empty() {
            continue;
        }
        if line.starts_with('/') {
            match commands::parse(&line) {
                Ok((command, value)) => {
                    if chat.command(command.action, value) {
                        break;
                    }
                }
                Err(said) => say(said),
            }
            continue;
        }
        match chat.answer(&line, env) {
            Ok(()) => {}
            Err(failure) if failure.message.is_empty() => return Err(failure), // the terminal is gone
            Err(failure) => say_error(&failure.message),
        }
    }
    Ok(Exit::OK)
}

impl Chat<'_> {
    /// Answers a message; one that can't be answered is taken back.
    fn answer(&mut self, message: &str, env: &Env) -> Result<(), Failure> {
        let before = self.conversation.clone();
        self.conversation.push("user", message);
        let answered = self.try_answer(env);
        if answered.is_err() {
            self.conversation = before;
        }
        answered
    }

    fn try_answer(&mut self, env: &Env) -> Result<(), Failure> {
        let ctx = self.session.ctx();
        if self.options.overflow == Overflow::DropOldest {
            let n = self.prompter.drop_turns(&mut self.conversation, ctx, self.options.room(ctx))?;
            if n > 0 {
                say(format_args!(
                    "note: the oldest {n} messages were dropped to fit the context of {ctx} tokens"
                ));
            }
        }
        let prompt = self.prompter.prompt(&self.conversation)?;
        if prompt.ids.len() > ctx && self.options.overflow == Overflow::Error {
            return Err(Failure::failed(format!(
                "the conversation has {} tokens, the context {ctx}; /clear begins anew, --overflow drop-oldest \
                 forgets the oldest turns by itself",
                prompt.ids.len()
            )));
        }
        env.interrupted.store(false, Relaxed);
        let mut out = io::stdout();
        let answered = answer(&mut self.session, &prompt, &self.options, env, &mut self.metering, |piece| {
            out.write_all(piece.as_bytes())?;
            out.flush()
        });
        env.interrupted.store(false, Relaxed);
        let answer = answered?;
        writeln!(out)?;
        self.conversation.push("assistant", &answer.text);
        if answer.interrupted() {
            say("(stopped)");
        }
        answer.explain(ctx);
        if self.stats {
            answer.say_stats();
        }
        self.last = Some((answer, feedback::fresh()));
        Ok(())
    }

    /// Keeps what is said of the last answer.
    fn judge(&self, signal: Signal) {
        let (Some(keeper), Some((answer, number))) = (&self.feedback, &self.last) else {
            return say(if self.last.is_some() {
                "no feedback is kept: --feedback=false"
            } else {
                "no answer yet"
            });
        };
        let model = number_of_model(self.session.loaded());
        match keeper.keep(*number, model, (&answer.margins, answer.ending()), signal) {
            Ok(()) => say("kept: numbers of this answer, no words"),
            Err(why) => say_error(why),
        }
    }

    /// Does what a command asks for; `true` to leave.
    fn command(&mut self, action: Action, value: &str) -> bool {
        match action {
            Action::Exit => return true,
            Action::Help => {
                for c in COMMANDS {
                    say(format_args!("{:8} {:7} {}", c.name, c.value, c.about));
                }
                say(
                    "A line that ends in \\ goes on; \"\"\" opens and closes a block. Ctrl-C stops an answer.",
                );
            }
            Action::Clear => {
                self.conversation.clear();
                self.last = None;
                say("forgotten");
            }
            Action::System if !self.prompter.has_template() => {
                say("this model has no chat template, so there is no place for a system message");
            }
            Action::System => {
                self.conversation.set_system(Some(value));
                say(if value.is_empty() { "no system message" } else { "system message set" });
            }
            Action::Stats => match &self.last {
                Some((answer, _)) => answer.say_stats(),
                None => say("no answer yet"),
            },
            Action::Good => self.judge(Signal::Up),
            Action::Bad => self.judge(Signal::Down),
            Action::Save => {
                let text = format!("{:#}\n", self.conversation.to_json());
                match std::fs::write(value, text) {
                    Ok(()) => say(format_args!("{value}: {} messages", self.conversation.len())),
                    Err(e) => say_error(Failure::file(value, &e).message),
                }
            }
            Action::Load => match load(value) {
                Ok(conversation) => {
                    self.conversation = conversation;
                    say(format_args!("{value}: {} messages", self.conversation.len()));
                }
                Err(failure) => say_error(failure.message),
            },
        }
        false
    }
}

/// A saved conversation.
fn load(path: &str) -> Result<Conversation, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
    let json = serde_json::from_str(&text).map_err(|e| Failure::failed(format!("{path}: {e}")))?;
    Conversation::from_json(json).map_err(|said| Failure::failed(format!("{path}: {said}")))
}

/// The line editor and its history file: a JSON list of what was typed, in the form of all private files.
struct Editor {
    editor: DefaultEditor,
    history: PathBuf,
    at_rest: Option<Chosen>,
}

impl Editor {
    fn open(env: &Env) -> Result<Self, Failure> {
        let config = Config::builder().max_history_size(HISTORY_MAX).map_err(terminal)?.build();
        let editor = DefaultEditor::with_config(config).map_err(terminal)?;
        // A history that can't be kept is no reason not to talk, and one that can't be read none to write over it.
        let history = env.dirs.state.join("history.json");
        let mut opened = Self { editor, history, at_rest: None };
        let loaded = at_rest::chosen(env).and_then(|at_rest| opened.load(&at_rest, env).map(|()| at_rest));
        match loaded {
            Ok(at_rest) => opened.at_rest = Some(at_rest),
            Err(why) => say(format_args!("note: what is typed is not kept: {}", why.message)),
        }
        Ok(opened)
    }

    fn load(&mut self, at_rest: &Chosen, env: &Env) -> Result<(), Failure> {
        std::fs::create_dir_all(&env.dirs.state).map_err(|e| Failure::file(&env.dirs.state, &e))?;
        if !self.history.exists() {
            return Ok(());
        }
        at_rest.adopt(&self.history, HISTORY_LABEL)?;
        let text = at_rest.read_text(&self.history, HISTORY_LABEL)?;
        let lines: Vec<String> = serde_json::from_slice(&text)
            .map_err(|_| Failure::invalid(format!("{}: no list of lines", self.history.display())))?;
        for line in lines {
            let _ = self.editor.add_history_entry(line);
        }
        Ok(())
    }

    /// Without success it is not there the next time.
    fn save(&self) {
        let lines: Vec<&String> = self.editor.history().iter().collect();
        if let (Some(at_rest), Ok(text)) = (&self.at_rest, serde_json::to_vec(&lines)) {
            let _ = at_rest.write_text(&self.history, HISTORY_LABEL, &text);
        }
    }

    /// The next message; `None` when the reader leaves.
    fn message(&mut self) -> Result<Option<String>, Failure> {
        let mut lines = Assembler::default();
        loop {
            let mark = if lines.is_open() { "... " } else { "> " };
            match self.editor.readline(mark) {
                Ok(line) => {
                    if let Some(message) = lines.push(&line) {
                        if !message.trim().is_empty() {
                            let _ = self.editor.add_history_entry(&message);
                            self.save();
                        }
                        return Ok(Some(message));
                    }
                }
                Err(ReadlineError::Interrupted) if lines.is_open() => drop(lines.take()),
                Err(ReadlineError::Interrupted) => say("Ctrl-D or /exit leaves"),
                Err(ReadlineError::Eof) => return Ok(None),
                Err(e) => return Err(terminal(e)),
            }
        }
    }
}

fn terminal(error: ReadlineError) -> Failure {
    Failure::failed(format!("terminal: {error}"))
}
