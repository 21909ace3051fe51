//! Conversations to prompts, by the chat template that came with the model.
//!
//! Templates are Jinja as the transformers library runs it: trimmed and stripped blocks, `raise_exception`, `strftime_now`,
//! Python's `tojson`, Python's string methods, `{% generation %}`. minijinja does the work; this file sets it up and makes up for
//! the differences.
//!
//! A template is somebody else's program, so it runs on a budget: instructions (minijinja's fuel) and bytes. minijinja can
//! meter what is printed and what filters make, not what `~` and `+` join; [`prepare`] therefore rewrites `a ~ b` to
//! `a|metered ~ b`, and what a join makes is never longer than what was metered and its last part.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, ValueKind};
use minijinja::{Environment, ErrorKind, Value, context};
use serde_json::Value as Json;

use crate::error::{Error, Result};

/// The turns of a conversation between `<|im_start|>` and `<|im_end|>`: for models that bring no template.
pub const CHATML: &str = "{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

/// The longest published template has 30 kB.
const SOURCE_BYTES_MAX: usize = 1 << 20;
/// What one rendering may print, join and make by filters, together.
const BUDGET_BYTES: u64 = 64 << 20;
/// Instructions of one rendering; a message takes a few hundred.
const FUEL_MAX: u64 = 1_000_000;
/// Fuel is less where stretches of plain text are so long that printing them on all of it would exceed this.
const PLAIN_BYTES_MAX: u64 = 1 << 30;
const RECURSION_MAX: usize = 100;
const JSON_DEPTH_MAX: usize = 100;

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

    /// The built-in template called `name`; there is `chatml`.
    pub fn builtin(name: &str) -> Option<Self> {
        (name == "chatml").then(|| Self::parse(CHATML).expect("it is a template"))
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
                Some(message) => Error::Template(String::clone(message)),
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
    Error::Template(match e.kind() {
        ErrorKind::OutOfFuel => "it ran for too long".into(),
        ErrorKind::WriteFailure => format!("it wrote more than {} MB", BUDGET_BYTES >> 20),
        kind => {
            let place = e.line().map(|line| format!(" in line {line}")).unwrap_or_default();
            format!("{}{place}", e.detail().map_or_else(|| kind.to_string(), str::to_owned))
        }
    })
}

fn fault(message: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Bytes that one rendering has made.
#[derive(Debug, Clone, Default)]
struct Meter(Arc<AtomicU64>);

impl Meter {
    fn spend(&self, n: usize) -> std::result::Result<(), minijinja::Error> {
        if self.0.fetch_add(n as u64, Ordering::Relaxed).saturating_add(n as u64) > BUDGET_BYTES {
            return Err(fault(format!("it made more than {} MB", BUDGET_BYTES >> 20)));
        }
        Ok(())
    }

    /// Spends what copying `value` would take, and gives it back.
    fn pass(&self, value: Value) -> std::result::Result<Value, minijinja::Error> {
        let n = match value.kind() {
            ValueKind::String | ValueKind::Bytes => value.as_str().map_or(0, str::len),
            ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
                value.len().unwrap_or(0).saturating_mul(16)
            }
            _ => 0,
        };
        self.spend(n)?;
        Ok(value)
    }
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
    let mut env = Environment::new();
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
        if let Some(n) = growth(value, method, args)? {
            m.spend(n)?;
        }
        match string_method(value, method, args) {
            Some(made) => made,
            None => minijinja_contrib::pycompat::unknown_method_callback(state, value, method, args),
        }
    });

    let m = meter.clone();
    env.add_filter(METERED, move |value: Value| m.pass(value));
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
    // Their results can be far longer than what goes in, and no published template uses them.
    for name in ["indent", "format", "pprint", "batch", "slice", "urlencode", "split", "lines"] {
        env.remove_filter(name);
    }

    let refusal = refusal.clone();
    env.add_function(
        "raise_exception",
        move |message: Value| -> std::result::Result<Value, minijinja::Error> {
            let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
            let _ = refusal.set(message.clone());
            Err(fault(message))
        },
    );
    env.add_function("strftime_now", move |format: String| now.strftime(&format));
    Ok(env)
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

/// Python's string methods that minijinja-contrib lacks; `None` for all others.
fn string_method(
    value: &Value,
    method: &str,
    args: &[Value],
) -> Option<std::result::Result<Value, minijinja::Error>> {
    let text = value.as_str()?;
    let list = |parts: &[&str]| Value::from(parts.iter().map(|&part| Value::from(part)).collect::<Vec<_>>());
    let arg = || match args.first().and_then(Value::as_str) {
        Some(arg) => Ok(arg),
        None => Err(fault(format!("{method} takes a text"))),
    };
    let three = |parts: Option<(&str, &str)>, whole: [&str; 3]| {
        arg().map(|separator| match parts {
            Some((a, b)) => list(&[a, separator, b]),
            None => list(&whole),
        })
    };
    Some(match method {
        "removeprefix" => arg().map(|prefix| Value::from(text.strip_prefix(prefix).unwrap_or(text))),
        "removesuffix" => arg().map(|suffix| Value::from(text.strip_suffix(suffix).unwrap_or(text))),
        "partition" => three(arg().ok().and_then(|s| text.split_once(s)), [text, "", ""]),
        "rpartition" => three(arg().ok().and_then(|s| text.rsplit_once(s)), ["", "", text]),
        "rsplit" => arg().map(|separator| {
            let Some(n) = args.get(1).and_then(Value::as_usize) else {
                return list(&text.split(separator).collect::<Vec<_>>());
            };
            let mut parts: Vec<_> = text.rsplitn(n.saturating_add(1), separator).collect();
            parts.reverse();
            list(&parts)
        }),
        "casefold" => Ok(Value::from(text.to_lowercase())),
        _ => return None,
    })
}

/// Python's `str()`.
fn python_str(value: &Value) -> std::result::Result<String, minijinja::Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None => {
            let mut out = String::new();
            write_repr(value, 0, &mut out)?;
            Ok(out)
        }
    }
}

/// Python's `repr()`.
fn write_repr(value: &Value, depth: usize, out: &mut String) -> std::result::Result<(), minijinja::Error> {
    if depth > JSON_DEPTH_MAX || out.len() as u64 > BUDGET_BYTES {
        return Err(fault("it prints something too deep or too long"));
    }
    match value.kind() {
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::None => out.push_str("None"),
        ValueKind::String => {
            let text = value.as_str().unwrap_or("");
            let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
            out.push(quote);
            for c in text.chars() {
                match c {
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    '\\' => out.push_str("\\\\"),
                    c if c == quote => out.extend(['\\', c]),
                    c => out.push(c),
                }
            }
            out.push(quote);
        }
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => out.push_str(&python_float(number)),
            Err(_) => write!(out, "{value}").map_err(|_| fault("a number can't be printed"))?,
        },
        ValueKind::Seq => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.push(open);
            for (i, item) in value.try_iter()?.enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_repr(&item, depth + 1, out)?;
            }
            out.push(close);
        }
        ValueKind::Map => {
            out.push('{');
            for (i, key) in value.try_iter()?.enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_repr(&key, depth + 1, out)?;
                out.push_str(": ");
                write_repr(&value.get_item(&key)?, depth + 1, out)?;
            }
            out.push('}');
        }
        _ => write!(out, "{value}").map_err(|_| fault("a value can't be printed"))?,
    }
    Ok(())
}

/// Python's shortest form: `1.0`, `1e+16`, `1e-05`.
fn python_float(number: f64) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number:?}")
}

/// How `json.dumps` was asked to write.
struct JsonStyle {
    indent: Option<usize>,
    between_items: String,
    after_key: String,
    ascii: bool,
    sorted: bool,
}

/// Python's `json.dumps`, as transformers calls it: no escapes for HTML, text outside ASCII as it is.
fn to_json(value: &Value, kwargs: &Kwargs) -> std::result::Result<String, minijinja::Error> {
    let indent = kwargs.get::<Option<usize>>("indent")?.map(|n| n.min(64));
    let separators = kwargs.get::<Option<Vec<String>>>("separators")?;
    let (between_items, after_key) = match separators.as_deref() {
        Some([items, key]) => (items.clone(), key.clone()),
        Some(_) => return Err(fault("tojson takes two separators")),
        None => (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned()),
    };
    let style = JsonStyle {
        indent,
        between_items,
        after_key,
        ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sorted: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    kwargs.assert_all_used()?;
    let mut out = String::new();
    write_json(value, &style, 0, &mut out)?;
    Ok(out)
}

fn write_json(
    value: &Value,
    style: &JsonStyle,
    depth: usize,
    out: &mut String,
) -> std::result::Result<(), minijinja::Error> {
    if depth > JSON_DEPTH_MAX || out.len() as u64 > BUDGET_BYTES {
        return Err(fault("tojson was given something too deep or too long"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if value.is_integer() => {
            write!(out, "{value}").map_err(|_| fault("a number can't be written"))?;
        }
        ValueKind::Number => match python_float(f64::try_from(value.clone())?).as_str() {
            "nan" => out.push_str("NaN"),
            "inf" => out.push_str("Infinity"),
            "-inf" => out.push_str("-Infinity"),
            number => out.push_str(number),
        },
        ValueKind::String => write_json_text(value.as_str().unwrap_or(""), style.ascii, out),
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            let mut empty = true;
            for item in value.try_iter()? {
                json_gap(style, !empty, depth + 1, out);
                write_json(&item, style, depth + 1, out)?;
                empty = false;
            }
            if !empty {
                json_line(style, depth, out);
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            let mut keys: Vec<Value> = value.try_iter()?.collect();
            if style.sorted {
                keys.sort();
            }
            for (i, key) in keys.iter().enumerate() {
                json_gap(style, i > 0, depth + 1, out);
                let name = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                write_json_text(&name, style.ascii, out);
                out.push_str(&style.after_key);
                write_json(&value.get_item(key)?, style, depth + 1, out)?;
            }
            if !keys.is_empty() {
                json_line(style, depth, out);
            }
            out.push('}');
        }
        kind => return Err(fault(format!("tojson can't write {kind}"))),
    }
    Ok(())
}

/// What stands before an item.
fn json_gap(style: &JsonStyle, follows: bool, depth: usize, out: &mut String) {
    if follows {
        out.push_str(&style.between_items);
    }
    json_line(style, depth, out);
}

fn json_line(style: &JsonStyle, depth: usize, out: &mut String) {
    if let Some(indent) = style.indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent * depth));
    }
}

fn write_json_text(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' || ascii && c > '~' => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A moment, broken down by the caller: this crate reads no clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Now {
    /// Reads `2026-01-02T03:04:05` or its date alone.
    pub fn parse_iso(text: &str) -> Result<Self> {
        let wrong = || Error::Input(format!("the time {text:?} is not like 2026-01-02T03:04:05"));
        let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
        let numbers = |text: &str, separator| -> Option<[u16; 3]> {
            let parts: Option<Vec<u16>> = text.split(separator).map(|part| part.parse().ok()).collect();
            parts?.try_into().ok()
        };
        let [year, month, day] = numbers(date, '-').ok_or_else(wrong)?;
        let [hour, minute, second] = numbers(time.trim_end_matches('Z'), ':').ok_or_else(wrong)?;
        if !(1..=9999).contains(&year)
            || !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || hour > 23
            || minute > 59
            || second > 60
        {
            return Err(wrong());
        }
        let small = |n: u16| n as u8;
        Ok(Self {
            year,
            month: small(month),
            day: small(day),
            hour: small(hour),
            minute: small(minute),
            second: small(second),
        })
    }

    /// Days since the year's first.
    fn day_of_year(self) -> u16 {
        const BEFORE: [u16; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap =
            self.year.is_multiple_of(4) && !self.year.is_multiple_of(100) || self.year.is_multiple_of(400);
        BEFORE[usize::from(self.month.clamp(1, 12) - 1)]
            + u16::from(self.day.max(1) - 1)
            + u16::from(leap && self.month > 2)
    }

    /// 0 is Sunday.
    fn weekday(self) -> usize {
        let years = usize::from(self.year.max(1)) - 1;
        // 1 January of year 1 was a Monday.
        (1 + years * 365 + years / 4 - years / 100 + years / 400 + usize::from(self.day_of_year())) % 7
    }

    fn strftime(self, format: &str) -> std::result::Result<String, minijinja::Error> {
        let month = MONTHS[usize::from(self.month.clamp(1, 12) - 1)];
        let day = DAYS[self.weekday()];
        let hour12 = (self.hour + 11) % 12 + 1;
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let code = chars.next();
            let (bare, code) = if code == Some('-') { (true, chars.next()) } else { (false, code) };
            let number = |n: u16, width: usize| if bare { n.to_string() } else { format!("{n:0width$}") };
            out.push_str(&match code {
                Some('Y') => format!("{:04}", self.year),
                Some('y') => number(self.year % 100, 2),
                Some('m') => number(self.month.into(), 2),
                Some('d') => number(self.day.into(), 2),
                Some('e') => format!("{:>2}", self.day),
                Some('H') => number(self.hour.into(), 2),
                Some('I') => number(hour12.into(), 2),
                Some('M') => number(self.minute.into(), 2),
                Some('S') => number(self.second.into(), 2),
                Some('j') => number(self.day_of_year() + 1, 3),
                Some('p') => if self.hour < 12 { "AM" } else { "PM" }.into(),
                Some('B') => month.into(),
                Some('b' | 'h') => month[..3].into(),
                Some('A') => day.into(),
                Some('a') => day[..3].into(),
                Some('F') => self.strftime("%Y-%m-%d")?,
                Some('T') => self.strftime("%H:%M:%S")?,
                Some('%') => "%".into(),
                Some(other) => return Err(fault(format!("strftime_now does not know %{other}"))),
                None => return Err(fault("strftime_now was given a format that ends in %")),
            });
        }
        Ok(out)
    }
}

/// The filter that [`prepare`] puts before joins.
const METERED: &str = "ingle_metered";

/// Rewrites a template for minijinja: `{% generation %}` blocks become blocks that always apply, and the left side of each
/// `~` and `+` is metered. Also gives the length of the longest stretch of plain text.
fn prepare(source: &str) -> (String, usize) {
    let mut out = String::with_capacity(source.len() + source.len() / 8);
    let mut longest_plain = 0;
    let mut rest = source;
    while let Some(start) = rest
        .match_indices('{')
        .map(|(i, _)| i)
        .find(|&i| matches!(rest.as_bytes().get(i + 1), Some(b'{' | b'%' | b'#')))
    {
        longest_plain = longest_plain.max(start);
        let (plain, tag) = rest.split_at(start);
        out.push_str(plain);
        let n = match tag.as_bytes()[1] {
            b'#' => {
                let n = tag.find("#}").map_or(tag.len(), |end| end + 2);
                out.push_str(&tag[..n]);
                n
            }
            b'%' if tag_word(tag) == "raw" => {
                let n = end_of_raw(tag);
                longest_plain = longest_plain.max(n);
                out.push_str(&tag[..n]);
                n
            }
            kind => prepare_tag(tag, kind, &mut out),
        };
        rest = &tag[n..];
    }
    out.push_str(rest);
    (out, longest_plain.max(rest.len()))
}

/// The first word of a `{%` tag.
fn tag_word(tag: &str) -> &str {
    let inside = tag[2..].trim_start_matches(['-', '+']).trim_start();
    &inside[..inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len())]
}

/// Where the tag ends that closes the raw block `tag` opens.
fn end_of_raw(tag: &str) -> usize {
    let closing = tag.match_indices("{%").skip(1).find(|&(i, _)| tag_word(&tag[i..]) == "endraw");
    let from = closing.map_or(tag.len(), |(i, _)| i);
    tag[from..].find("%}").map_or(tag.len(), |n| from + n + 2)
}

/// What stood last, as far as metering it goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Something that a filter can follow and that may be long.
    Value,
    /// The name of a test is next.
    Is,
    /// Anything else: operators, keywords, literals, test names.
    Other,
}

/// Copies one `{{` or `{%` tag, rewritten; gives its length in `tag`.
fn prepare_tag(tag: &str, kind: u8, out: &mut String) -> usize {
    let close = if kind == b'{' { "}}" } else { "%}" };
    let bytes = tag.as_bytes();
    out.push_str(&tag[..2]);
    let (mut at, mut depth, mut last) = (2, 0usize, Last::Other);
    if matches!(bytes.get(2), Some(b'-' | b'+')) {
        out.push(char::from(bytes[2]));
        at = 3;
    }
    if kind == b'%'
        && let word @ ("generation" | "endgeneration") = tag_word(tag)
    {
        out.push_str(if word == "generation" { " if true " } else { " endif " });
        at += tag[at..].find(word).map_or(0, |n| n + word.len());
    }
    while let Some(&byte) = bytes.get(at) {
        let rest = &tag[at..];
        if depth == 0 && rest.starts_with(close) {
            out.push_str(close);
            return at + 2;
        }
        // One token of the language, or a stretch of white space.
        let (n, next) = match byte {
            b'\'' | b'"' => (text_bytes(rest), Last::Other),
            b'(' | b'[' | b'{' => {
                depth += 1;
                (1, Last::Other)
            }
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                (1, Last::Value)
            }
            b'0'..=b'9' => {
                (rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len()), Last::Other)
            }
            _ if byte.is_ascii_whitespace() => (1, last),
            _ if byte == b'_' || byte.is_ascii_alphabetic() || !byte.is_ascii() => {
                let n = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                let n = n.max(rest.chars().next().map_or(1, char::len_utf8));
                let next = match (&rest[..n], last) {
                    ("is", _) | ("not", Last::Is) => Last::Is,
                    (_, Last::Is) => Last::Other,
                    (
                        "if" | "else" | "elif" | "and" | "or" | "not" | "in" | "for" | "set" | "recursive"
                        | "do" | "with" | "call" | "filter" | "macro",
                        _,
                    ) => Last::Other,
                    _ => Last::Value,
                };
                (n, next)
            }
            b'~' | b'+' => {
                let ends_tag = byte == b'+' && rest[1..].starts_with(close);
                if last == Last::Value && !ends_tag {
                    out.push('|');
                    out.push_str(METERED);
                    out.push(' ');
                }
                (1, Last::Other)
            }
            _ => (1, Last::Other),
        };
        out.push_str(&rest[..n]);
        at += n;
        last = next;
    }
    at
}

/// The length of the quoted text at the start.
fn text_bytes(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut escaped = false;
    for (i, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return i + 1,
            _ => {}
        }
    }
    text.len()
}
