//! Conversations to prompts, by the chat template that came with the model.
//!
//! Templates are Jinja as the transformers library runs it: trimmed and stripped blocks, `raise_exception`, `strftime_now`,
//! Python's `tojson`, Python's string methods, `{% generation %}`. minijinja does the work; this file sets it up and makes up for
//! the differences.
//!
//! A template is somebody else's program, so it runs on a budget: instructions (minijinja's fuel), bytes that they make and
//! steps that they take on long values. minijinja can meter what is printed and what filters make, not what operators and
//! brackets do; `prepare` therefore puts filters of ours behind their operands and behind what they made (`a ~ b` becomes
//! `a|joined ~ b|joined`). A list may hold another twice and that another twice: what counts is what would be written if it
//! were printed. `meter` does the counting, `builtins` says what minijinja's own filters cost. Whatever a template says, it
//! ends within a second or two.

mod builtins;
pub mod known;
mod meter;
mod now;
mod prepare;
mod python;

use std::sync::Arc;
use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{Environment, ErrorKind, Value, context};
use serde_json::Value as Json;

use meter::Meter;
pub use now::Now;
use prepare::prepare;
use python::{python_str, string_method, to_json};

use crate::error::{Error, Result, printable};

/// The longest published template has 30 kB.
const SOURCE_BYTES_MAX: usize = 1 << 20;
/// What one rendering may print, join and make by filters, together.
const BUDGET_BYTES: u64 = 64 << 20;
/// Instructions of one rendering; a message takes a few hundred, of some templates a thousand.
const FUEL_MAX: u64 = 4_000_000;
/// Fuel is less where stretches of plain text, or names, are so long that printing or finding them on all of it would
/// exceed this.
const PLAIN_BYTES_MAX: u64 = 1 << 30;
const RECURSION_MAX: usize = 100;
const TOO_LONG: &str = "it ran for too long";

/// The stack that [`ChatTemplate::render`] may need for a hostile template: lists nested one in another as often as the
/// instructions allow are dropped one inside another. A thread with such a stack costs address space, and memory only when
/// it is used; published templates need a few kilobytes.
pub const RENDER_STACK_BYTES: usize = 256 << 20;

/// A template that compiles.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    source: String,
    fuel: u64,
}

/// What a template is given.
#[derive(Debug, Clone)]
pub struct RenderInput<'a> {
    /// An array of messages.
    pub messages: &'a Json,
    /// An array of tools.
    pub tools: Option<&'a Json>,
    /// Whether the answer's beginning comes last.
    pub add_generation_prompt: bool,
    /// How the model's BOS is written.
    pub bos_token: &'a str,
    /// How the model's EOS is written.
    pub eos_token: &'a str,
    /// What `strftime_now` tells.
    pub now: Now,
    /// Further variables, such as `enable_thinking`.
    pub extra: serde_json::Map<String, Json>,
}

impl ChatTemplate {
    /// Compiles `source`.
    ///
    /// # Errors
    /// [`Error::Template`] when it is not a template or too long.
    pub fn parse(source: &str) -> Result<Self> {
        if source.len() > SOURCE_BYTES_MAX {
            return Err(Error::Template(format!(
                "{} bytes, expected at most {SOURCE_BYTES_MAX}",
                source.len()
            )));
        }
        let (source, longest_plain) = prepare(source);
        let mut env = Environment::new();
        env.set_syntax(syntax()?);
        env.template_from_str(&source).map_err(|e| describe(&e))?;
        let fuel = (PLAIN_BYTES_MAX / longest_plain.max(1) as u64).min(FUEL_MAX);
        Ok(Self { source, fuel })
    }

    /// The prompt for a conversation. For a template that is not trusted call it on a thread with a stack of
    /// [`RENDER_STACK_BYTES`].
    ///
    /// # Errors
    /// [`Error::Template`] with the template's own words when it refuses the conversation (`raise_exception`), or what went
    /// wrong, or which limit it ran into.
    pub fn render(&self, input: &RenderInput) -> Result<String> {
        let meter = Meter::default();
        let refusal = Arc::new(OnceLock::new());
        let mut env = environment(&meter, &refusal, input.now)?;
        env.set_fuel(Some(self.fuel));
        let template = env.template_from_str(&self.source).map_err(|e| describe(&e))?;
        let given = context! {
            messages => Value::from(Serde(input.messages)),
            add_generation_prompt => input.add_generation_prompt,
            bos_token => input.bos_token,
            eos_token => input.eos_token,
        };
        // Without tools the name is undefined: templates ask `tools is defined` as well as `if tools`.
        let tools =
            input.tools.map_or_else(|| context! {}, |tools| context! { tools => Value::from(Serde(tools)) });
        let extra = Value::from(Serde(&input.extra));
        let mut out = Limited { text: Vec::new() };
        match template.render_captured_to(context! { ..tools, ..given, ..extra }, &mut out) {
            Ok(_) => {
                String::from_utf8(out.text).map_err(|_| Error::Template("it wrote half a character".into()))
            }
            Err(e) => Err(match refusal.get() {
                Some(message) => Error::Template(printable(message.clone())),
                None => describe(&e),
            }),
        }
    }
}

/// Where a prompt is collected, up to a limit.
struct Limited {
    text: Vec<u8>,
}

impl std::io::Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if (self.text.len() + bytes.len()) as u64 > BUDGET_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn describe(e: &minijinja::Error) -> Error {
    // A template's own words, or a name from it, may hold anything.
    Error::Template(printable(match e.kind() {
        ErrorKind::OutOfFuel => TOO_LONG.into(),
        ErrorKind::WriteFailure => format!("it wrote more than {} MB", BUDGET_BYTES >> 20),
        kind => {
            let place = e.line().map(|line| format!(" in line {line}")).unwrap_or_default();
            format!("{}{place}", e.detail().map_or_else(|| kind.to_string(), str::to_owned))
        }
    }))
}

fn fault(message: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, message.into())
}

fn syntax() -> Result<SyntaxConfig> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(false)
        .build()
        .map_err(|e| describe(&e))
}

/// Everything a template may use.
fn environment(meter: &Meter, refusal: &Arc<OnceLock<String>>, now: Now) -> Result<Environment<'static>> {
    let mut env = Environment::empty();
    env.set_syntax(syntax()?);
    env.set_recursion_limit(RECURSION_MAX);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);

    let m = meter.clone();
    env.set_formatter(move |out, _, value| {
        if let Some(text) = value.as_str() {
            m.spend(text.len())?;
            return out.write_str(text).map_err(minijinja::Error::from);
        }
        if value.is_undefined() {
            return Ok(());
        }
        let text = python_str(value)?;
        m.spend(text.len())?;
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    let m = meter.clone();
    env.set_unknown_method_callback(move |state, value, method, args| {
        m.work(method_steps(&m, value, method, args)?)?;
        if let Some(n) = growth(value, method, args)? {
            m.spend(n)?;
        }
        match string_method(value, method, args) {
            Some(made) => made,
            None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
        }
    });

    meter.add_filters(&mut env);
    builtins::add(&mut env, meter);
    let m = meter.clone();
    env.add_filter("tojson", move |value: Value, kwargs: Kwargs| {
        let text = to_json(&value, &kwargs)?;
        m.spend(text.len())?;
        Ok(text)
    });
    let m = meter.clone();
    env.add_filter("string", move |value: Value| {
        let text = python_str(&value)?;
        m.spend(text.len())?;
        Ok(text)
    });
    for name in ["escape", "e"] {
        let m = meter.clone();
        env.add_filter(name, move |value: Value| {
            let text = python_str(&value)?;
            m.spend(text.len() * 5)?;
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            Ok(text.replace('\'', "&#39;").replace('"', "&#34;"))
        });
    }
    let m = meter.clone();
    env.add_filter("join", move |values: Value, separator: Option<String>| {
        let mut out = String::new();
        for (i, value) in values.try_iter()?.enumerate() {
            let separator = if i > 0 { separator.as_deref().unwrap_or("") } else { "" };
            let text = python_str(&value)?;
            m.spend(separator.len() + text.len() + 1)?;
            out.push_str(separator);
            out.push_str(&text);
        }
        Ok(out)
    });
    let m = meter.clone();
    env.add_filter("replace", move |value: Value, old: String, new: String| {
        let text = python_str(&value)?;
        m.spend(replaced_bytes(&text, &old, &new))?;
        Ok(text.replace(&old, &new))
    });
    // Materialising a list takes its length; a lazily joined one can claim any.
    let m = meter.clone();
    env.add_filter("list", move |value: Value| {
        let mut items = Vec::new();
        for item in value.try_iter()? {
            m.spend(LIST_ITEM_BYTES)?;
            items.push(item);
        }
        Ok(Value::from(items))
    });
    let refusal = refusal.clone();
    env.add_function(
        "raise_exception",
        move |message: Value| -> std::result::Result<Value, minijinja::Error> {
            let message = python_str(&message)?;
            let _ = refusal.set(message.clone());
            Err(fault(message))
        },
    );
    let m = meter.clone();
    env.add_function("strftime_now", move |format: String| {
        m.spend(format.len().saturating_mul(STRFTIME_BYTES))?;
        now.strftime(&format)
    });
    Ok(env)
}

/// The most that a character of a time's format becomes.
const STRFTIME_BYTES: usize = 8;

/// What a method may have to look at; what it makes counts besides.
fn method_steps(
    meter: &Meter,
    value: &Value,
    method: &str,
    args: &[Value],
) -> std::result::Result<usize, minijinja::Error> {
    let text = value.as_str();
    // A map looks up its key; what `get` gives instead costs nothing.
    let looked_at = if value.kind() == ValueKind::Map { &args[..args.len().min(1)] } else { args };
    let mut others = 1usize;
    for arg in looked_at {
        others = others.saturating_add(meter.weigh(arg)?);
    }
    Ok(match (text, method) {
        (Some(text), "strip" | "lstrip" | "rstrip") => text.len().saturating_mul(others),
        (Some(text), _) => (text.len().saturating_add(others)).saturating_mul(4),
        _ if value.kind() == ValueKind::Map => others,
        _ => meter.weigh(value)?.saturating_add(others),
    })
}

/// At least what a method of a text would make that can make more than it was given; `None` for all other methods.
fn growth(
    value: &Value,
    method: &str,
    args: &[Value],
) -> std::result::Result<Option<usize>, minijinja::Error> {
    let Some(text) = value.as_str() else { return Ok(None) };
    let arg = |i: usize| args.get(i).and_then(Value::as_str).unwrap_or("");
    Ok(Some(match method {
        "replace" => replaced_bytes(text, arg(0), arg(1)),
        "join" => {
            let Some(values) = args.first() else { return Ok(None) };
            let mut n = 0usize;
            for item in values.try_iter()? {
                n = n.saturating_add(text.len() + printed_bytes(&item)?);
                if n as u64 > BUDGET_BYTES {
                    break;
                }
            }
            n
        }
        "format" => {
            // Each place may take any argument, and a number may be a width.
            let places = text.matches('{').count();
            let widths = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
            let widest = widths.map(|digits| digits.parse().unwrap_or(usize::MAX)).max().unwrap_or(0);
            let mut longest = widest;
            for arg in args {
                longest = longest.max(printed_bytes(arg)?);
            }
            places.saturating_mul(longest).saturating_add(text.len())
        }
        "split" | "rsplit" | "splitlines" => {
            let parts = match arg(0) {
                "" => text.split_ascii_whitespace().count(),
                separator => text.matches(separator).count() + 1,
            };
            parts.saturating_mul(LIST_ITEM_BYTES).saturating_add(text.len())
        }
        _ => return Ok(None),
    }))
}

/// What an item of a list takes.
const LIST_ITEM_BYTES: usize = 48;

fn printed_bytes(value: &Value) -> std::result::Result<usize, minijinja::Error> {
    Ok(match value.as_str() {
        Some(text) => text.len(),
        None => python_str(value)?.len(),
    })
}

fn replaced_bytes(text: &str, old: &str, new: &str) -> usize {
    text.len().saturating_add(text.matches(old).count().saturating_mul(new.len()))
}
