//! What a conversation asks of a model, whatever API it came by, and the question that it becomes.
//!
//! Messages and tools are in the words of chat templates, which are OpenAI's. What must hold is held by a grammar: a call where one
//! is demanded, calls of a strict tool whenever the model makes some, or the form of the answer; none of it begins before the model
//! has thought.

use std::sync::Arc;

use ingle_engine::chat::{Conversation, Prompt};
use ingle_engine::constrain::Otherwise;
use ingle_engine::output::{Calls, Delivery, Options, Tool};
use ingle_model::prompt::Now;
use serde_json::{Map, Value as Json, json};

use crate::ask::{Question, Reading};
use crate::elsewhere::Words;
use crate::form::Form;
use crate::refusal::Refusal;
use crate::sampling::Sampling;
use crate::served::Served;

/// What a conversation asks for.
#[derive(Debug)]
pub struct Dialogue {
    /// The messages, in templates' words.
    pub messages: Json,
    /// What the answer begins with, which the model goes on from; empty where it begins itself.
    pub begun: String,
    /// The tools.
    pub tools: Tools,
    /// The form of what is said.
    pub form: Option<Form>,
    /// Whether the model is to think, where the request says so.
    pub thinking: Option<Thinking>,
    /// Further variables of the template.
    pub extra: Map<String, Json>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens of an answer; `None` for as many as there is room for.
    pub max_tokens: Option<usize>,
    /// Whether log-probabilities are wanted, and of how many tokens beside the chosen.
    pub logprobs: Option<usize>,
    /// Answers wanted.
    pub n: usize,
}

/// The tools of a conversation.
#[derive(Debug)]
pub struct Tools {
    /// All of them.
    pub list: Vec<OfferedTool>,
    /// Which of them are to be called.
    pub choice: ToolChoice,
    /// Whether an answer may have several calls.
    pub parallel: bool,
}

/// A tool of a conversation.
#[derive(Debug)]
pub struct OfferedTool {
    /// Its name and schema.
    pub tool: Tool,
    /// What templates are told of it.
    told: Json,
    /// Whether its schema is to be held whenever it is called.
    is_strict: bool,
}

/// Which tools are to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// None.
    None,
    /// Any, or none.
    Auto,
    /// Any, but at least one.
    Required,
    /// This one.
    Named(String),
}

/// Whether a model is to think before it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Thinking {
    /// It is not.
    Off,
    /// It is.
    On,
    /// It is, and so much: a word that the template knows.
    Effort(String),
}

impl Default for Tools {
    fn default() -> Self {
        Self { list: Vec::new(), choice: ToolChoice::Auto, parallel: true }
    }
}

impl Tools {
    /// Takes another tool.
    pub fn push(&mut self, name: &str, description: Option<&str>, parameters: Json, is_strict: bool) {
        let mut function = json!({ "name": name, "parameters": parameters });
        if let Some(description) = description {
            function["description"] = description.into();
        }
        let told = json!({ "type": "function", "function": function });
        self.list.push(OfferedTool { tool: Tool { name: name.to_owned(), parameters }, told, is_strict });
    }

    /// Leaves those of these names.
    pub fn keep(&mut self, names: &[String]) {
        self.list.retain(|offered| names.contains(&offered.tool.name));
    }

    /// What templates are told of them; nothing where there is none.
    pub fn told(&self) -> Option<Json> {
        (!self.list.is_empty()).then(|| self.list.iter().map(|offered| offered.told.clone()).collect())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|offered| offered.tool.name.as_str())
    }

    /// # Errors
    /// When two tools have one name, or the one that is to be called is not there.
    fn check(&self) -> Result<(), Refusal> {
        for (i, name) in self.names().enumerate() {
            if self.names().take(i).any(|other| other == name) {
                return Err(Refusal::field("tools", format!("tools: two have the name {name:?}")));
            }
        }
        match &self.choice {
            ToolChoice::Named(name) if self.names().all(|other| other != name) => {
                Err(Refusal::field("tool_choice", format!("tool_choice: no tool has the name {name:?}")))
            }
            ToolChoice::Required if self.list.is_empty() => {
                Err(Refusal::field("tool_choice", "tool_choice: a call is required, but there are no tools"))
            }
            _ => Ok(()),
        }
    }

    /// Whether one that may be called is strict.
    ///
    /// # Errors
    /// When the model writes calls in a way of which its schema can't be held.
    fn check_strict(&self, served: &Served) -> Result<bool, Refusal> {
        let strict =
            self.list.iter().filter(|offered| offered.is_strict && self.may_call(&offered.tool.name));
        let mut is_strict = false;
        for OfferedTool { tool, .. } in strict {
            is_strict = true;
            if !served.format.holds(&tool.parameters) {
                let why = format!(
                    "tools: strict: {:?} has a schema that can't be held, as model {:?} writes texts bare in calls ({}): \
                     expected one type for each value and no limits of texts and numbers",
                    tool.name, served.name, served.format.name
                );
                return Err(Refusal::field("tools", why));
            }
        }
        Ok(is_strict)
    }

    fn may_call(&self, tool: &str) -> bool {
        match &self.choice {
            ToolChoice::None => false,
            ToolChoice::Auto | ToolChoice::Required => true,
            ToolChoice::Named(name) => tool == name,
        }
    }

    /// Those that may be called.
    fn callable(&self) -> Arc<[Tool]> {
        let tools = self.list.iter().map(|offered| &offered.tool);
        tools.filter(|tool| self.may_call(&tool.name)).cloned().collect()
    }

    /// Whether the answer must call.
    fn demands(&self) -> bool {
        matches!(self.choice, ToolChoice::Required | ToolChoice::Named(_))
    }
}

impl Thinking {
    /// Sets the variables by which templates are told.
    fn tell(&self, served: &Served, extra: &mut Map<String, Json>) -> Result<(), Refusal> {
        let (prompter, thinks) = (&served.prompter, *self != Self::Off);
        let switches = ["enable_thinking", "thinking"];
        let mut told = false;
        for switch in switches.into_iter().filter(|switch| prompter.mentions(switch)) {
            told = true;
            extra.entry(switch).or_insert_with(|| thinks.into());
        }
        match self {
            Self::Effort(effort) if prompter.mentions("reasoning_effort") => {
                extra.entry("reasoning_effort").or_insert_with(|| effort.as_str().into());
            }
            Self::Off if !told && prompter.mentions("<think") => {
                return Err(Refusal::request("this model's template can't be told not to think"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Dialogue {
    /// The prompt that it is to `served`, however long.
    ///
    /// # Errors
    /// When the template refuses the messages, or the tools are not what they should be.
    pub fn prompt(&mut self, served: &Served, now: Now) -> Result<Prompt, Refusal> {
        self.tools.check()?;
        if let Some(thinking) = &self.thinking {
            thinking.tell(served, &mut self.extra)?;
        }
        rename_thoughts(&mut self.messages, served);
        let told = self.tools.told();
        let conversation = Conversation {
            messages: &self.messages,
            tools: told.as_ref().filter(|_| self.tools.choice != ToolChoice::None),
            extra: self.extra.clone(),
            now,
            begun: &self.begun,
        };
        Ok(served.prompter.prompt(served.loaded(), &conversation)?)
    }

    /// What is asked, if it is nothing but words.
    fn words(&self) -> Option<Words> {
        let is_plain = self.begun.is_empty()
            && self.tools.list.is_empty()
            && self.form.is_none()
            && self.logprobs.is_none()
            && self.n == 1;
        Words::of(&self.messages, &self.extra).filter(|_| is_plain)
    }

    /// The question that it is to `served`; whether its prompt has room is seen when it is asked.
    ///
    /// # Errors
    /// Those of [`Self::prompt`]; and when what is demanded can't be held.
    pub fn question(mut self, served: &Served, now: Now) -> Result<Question, Refusal> {
        let prompt = self.prompt(served, now)?;
        let words = self.words();
        let (callable, demands) = (self.tools.callable(), self.tools.demands());
        let calls = if self.tools.parallel { Calls::Many } else { Calls::One };
        if !self.begun.is_empty() {
            // What holds an answer's form holds all of it.
            if let Some(form) = &self.form {
                return Err(form.clashes("the last message begins the answer"));
            }
            if demands {
                let why = "tool_choice: a call can't be demanded where the last message begins the answer";
                return Err(Refusal::field("tool_choice", why));
            }
        }
        let is_strict = self.tools.check_strict(served)?;
        let holds_calls = |otherwise| {
            let compiled = served.loaded().call_constraint(served.format, &callable, calls, otherwise);
            compiled.map(Some).map_err(|e| Refusal::field("tools", format!("tools: {e}")))
        };
        let constraint = match &self.form {
            Some(form) if demands => return Err(form.clashes("tool_choice demands a call")),
            Some(form) if callable.is_empty() => Some(form.compile(served)?),
            Some(form) => Some(form.or_calls(served, &callable, calls)?),
            None if demands => holds_calls(Otherwise::Nothing)?,
            None if is_strict => holds_calls(Otherwise::Text)?,
            None => None,
        };
        let options = Options {
            tools: callable,
            inside: prompt.inside,
            // What a grammar guides is a call from its first word on.
            delivery: if demands { Delivery::Early } else { Delivery::Proven },
        };
        let constraint = constraint.map(|form| prompt.behind_thoughts(form, served.format));
        Ok(Question {
            prompt: prompt.ids,
            keep: prompt.keep,
            sampling: self.sampling,
            max_tokens: self.max_tokens.unwrap_or(usize::MAX),
            logprobs: self.logprobs,
            constraint,
            reading: Some(Reading {
                format: served.format,
                markers: served.markers.clone(),
                options,
                one_call: !self.tools.parallel,
            }),
            margins: false,
            abort: None,
            words,
            n: self.n,
        })
    }
}

/// Takes the last of `messages` where it is the assistant's: what it says is the beginning of the answer.
///
/// # Errors
/// When it does more than say something, or nothing comes before it.
pub fn take_begun(messages: &mut Vec<Json>) -> Result<String, Refusal> {
    let Some(last) = messages.pop_if(|last| last["role"] == "assistant") else { return Ok(String::new()) };
    let wrong =
        |why: &str| Err(Refusal::field("messages", format!("messages: the last is the assistant's, {why}")));
    let thoughts = last["reasoning_content"].as_str().unwrap_or_default();
    match last["content"].as_str() {
        _ if messages.is_empty() => wrong("expected one before it"),
        _ if !last["tool_calls"].is_null() || !thoughts.is_empty() => {
            wrong("and has calls or thoughts; only a text can be gone on from")
        }
        begun => Ok(begun.unwrap_or_default().to_owned()),
    }
}

/// Puts earlier thoughts, which messages have as `reasoning_content`, where the template looks for them. One that reads `thinking`
/// has no place for thoughts and words beside a call, so the words go first there.
fn rename_thoughts(messages: &mut Json, served: &Served) {
    let reads = |name| served.prompter.mentions(name);
    if reads("reasoning_content") || !reads(".thinking") {
        return;
    }
    let messages = messages.as_array_mut().into_iter().flatten().filter_map(Json::as_object_mut);
    for message in messages {
        let speaks = message.get("content").and_then(Json::as_str).is_some_and(|text| !text.is_empty());
        match message.shift_remove("reasoning_content") {
            Some(thoughts) if !(speaks && message.contains_key("tool_calls")) => {
                message.insert("thinking".to_owned(), thoughts);
            }
            _ => {}
        }
    }
}
