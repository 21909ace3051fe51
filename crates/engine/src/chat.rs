//! Conversations to prompts, with the stack a template may need.

use ingle_model::prompt::{ChatTemplate, Now, RENDER_STACK_BYTES, RenderInput};
use ingle_model::token::{Parse, Tokenizer};
use serde_json::{Map, Value as Json};

use crate::constrain::Constraint;
use crate::error::{Error, Result};
use crate::model_file::Loaded;
use crate::output::{Format, Reasoning};
use crate::tools_as_text::written_out;

/// How a model is spoken to: its template, if it carries one, and how it writes its beginning and end.
#[derive(Debug)]
pub struct Prompter {
    template: Option<ChatTemplate>,
    source: String,
    format: &'static Format,
    bos: String,
    eos: String,
}

/// What becomes a prompt.
#[derive(Debug, Clone)]
pub struct Conversation<'a> {
    /// An array of messages.
    pub messages: &'a Json,
    /// An array of tools.
    pub tools: Option<&'a Json>,
    /// Further variables of the template, such as `enable_thinking`.
    pub extra: Map<String, Json>,
    /// What the template is told of the time.
    pub now: Now,
    /// What the answer begins with, which the model goes on from; empty where it begins itself.
    pub begun: &'a str,
}

/// Ids, and how many of them at the start must stay when others are dropped.
#[derive(Debug)]
pub struct Prompt {
    /// The ids.
    pub ids: Vec<u32>,
    /// Ids of BOS and the system message.
    pub keep: usize,
    /// The thoughts that the answer begins inside of.
    pub inside: Option<&'static Reasoning>,
    thinks: bool,
}

impl Prompt {
    /// `form`, to begin behind what a model of `format` writes before its answer: thoughts that the prompt left open, or that the
    /// template speaks of and the conversation did not switch off.
    pub fn behind_thoughts(&self, form: Constraint, format: &Format) -> Constraint {
        if self.thinks { form.after_thoughts(format, self.inside) } else { form }
    }
}

impl Prompter {
    /// For `loaded`, with the template its file carries.
    ///
    /// # Errors
    /// When the model has no tokenizer, or its template can't be read.
    pub fn new(loaded: &Loaded) -> Result<Self> {
        let tokenizer = loaded.tokenizer()?;
        Ok(Self {
            template: loaded.file.template()?,
            source: loaded.file.template_source()?.unwrap_or_default().to_owned(),
            format: loaded.format()?,
            bos: written(tokenizer, tokenizer.bos()),
            eos: written(tokenizer, tokenizer.eos()),
        })
    }

    /// Whether there is a template: without one the model continues text and knows no roles.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// Whether the template speaks of `name`: a variable that it would not miss changes nothing.
    pub fn mentions(&self, name: &str) -> bool {
        self.source.contains(name)
    }

    /// How the model writes calls and thoughts.
    pub fn format(&self) -> &'static Format {
        self.format
    }

    /// The text of a conversation, up to the beginning of the answer if it `asks` for one; without a template all contents,
    /// one after the other. Arguments of calls are given as objects, and as text to templates that refuse those.
    ///
    /// # Errors
    /// When the template refuses the conversation.
    pub fn text(&self, loaded: &Loaded, conversation: &Conversation<'_>, asks: bool) -> Result<String> {
        let written;
        let (messages, tools) = if self.mentions("tools") {
            (conversation.messages, conversation.tools)
        } else {
            written = written_out(conversation.messages, conversation.tools);
            (&written, None)
        };
        let Some(template) = &self.template else { return Ok(plain(messages)) };
        let render_with = |messages: &Json| {
            let input = RenderInput {
                messages,
                tools,
                add_generation_prompt: asks,
                bos_token: &self.bos,
                eos_token: &self.eos,
                now: conversation.now,
                extra: conversation.extra.clone(),
            };
            render(template, &input)
        };
        // Some templates put arguments together with text, as they once were text.
        let rendered = render_with(messages).or_else(|e| match arguments_as_text(messages) {
            Some(messages) => render_with(&messages).map_err(|_| e),
            None => Err(e),
        });
        rendered.map_err(|e| loaded.file.model_error(e))
    }

    /// The ids of a conversation that the model is to answer, up to what the answer begins with.
    ///
    /// # Errors
    /// As [`Self::text`]; [`Error::Input`] for an answer that is begun where the template opens thoughts.
    pub fn prompt(&self, loaded: &Loaded, conversation: &Conversation<'_>) -> Result<Prompt> {
        let mut text = self.text(loaded, conversation, true)?;
        let inside = self.format.opened_by(&text).filter(|_| self.has_template());
        let is_begun = !conversation.begun.is_empty();
        if is_begun && inside.is_some() {
            let why = "the answer is begun, but this model's template has it begin with thoughts; ask it not to think";
            return Err(Error::Input(why.into()));
        }
        if is_begun {
            text.push_str(self.format.before_text.unwrap_or_default());
            text.push_str(conversation.begun);
        }
        let ids = self.ids(loaded, &text)?;
        let bos = usize::from(loaded.tokenizer()?.bos().is_some_and(|bos| ids.first() == Some(&bos)));
        let messages = conversation.messages.as_array().map_or(&[][..], Vec::as_slice);
        let system: Vec<Json> = messages.iter().take_while(|m| m["role"] == "system").cloned().collect();
        // Some templates refuse a system message alone; then only BOS is known to be the beginning.
        let alone = if system.is_empty() {
            Vec::new()
        } else {
            let messages = Json::Array(system);
            let alone = Conversation { messages: &messages, ..conversation.clone() };
            self.text(loaded, &alone, false).and_then(|text| self.ids(loaded, &text)).unwrap_or_default()
        };
        let common = alone.iter().zip(&ids).take_while(|(a, b)| a == b).count();
        let is_off = ["enable_thinking", "thinking"]
            .iter()
            .any(|name| conversation.extra.get(*name) == Some(&false.into()));
        let may_open = !is_off && self.format.reasoning.iter().any(|reasoning| self.mentions(reasoning.open));
        let thinks = !is_begun && (inside.is_some() || self.format.before_text.is_some() || may_open);
        Ok(Prompt { keep: common.max(bos), ids, inside, thinks })
    }

    fn ids(&self, loaded: &Loaded, text: &str) -> Result<Vec<u32>> {
        let tokenizer = loaded.tokenizer()?;
        let (mut ids, bos) = (Vec::new(), tokenizer.bos().filter(|_| tokenizer.adds_bos()));
        let parse = if self.has_template() { Parse::Special } else { Parse::Text };
        tokenizer.encode(text, parse, &mut ids).map_err(|e| loaded.file.model_error(e))?;
        // Most templates write BOS themselves.
        if let Some(bos) = bos.filter(|bos| ids.first() != Some(bos)) {
            ids.insert(0, bos);
        }
        Ok(ids)
    }
}

/// How a special token is written; empty when the model has none.
pub fn written(tokenizer: &Tokenizer, id: Option<u32>) -> String {
    let name = id.and_then(|id| tokenizer.token_name(id)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Messages in which the arguments of calls are texts; none where there are no calls.
fn arguments_as_text(messages: &Json) -> Option<Json> {
    let mut messages = messages.clone();
    let calls = messages.as_array_mut()?.iter_mut().filter_map(|m| m.get_mut("tool_calls")?.as_array_mut());
    let mut found = false;
    for arguments in calls.flatten().filter_map(|call| call.get_mut("function")?.get_mut("arguments")) {
        found = true;
        *arguments = arguments.to_string().into();
    }
    found.then_some(messages)
}

fn plain(messages: &Json) -> String {
    let messages = messages.as_array().map_or(&[][..], Vec::as_slice);
    messages.iter().filter_map(|m| m["content"].as_str()).collect()
}

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
