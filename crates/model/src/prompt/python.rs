//! What Python does and minijinja does not: `str()`, `repr()`, `json.dumps()`, some string methods.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, Value};

use super::{BUDGET_BYTES, fault};

/// Deeper lists are refused: writing them recurses.
const DEPTH_MAX: usize = 100;

/// Python's string methods that minijinja-contrib lacks; `None` for all others.
pub fn string_method(value: &Value, method: &str, args: &[Value]) -> Option<Result<Value, Error>> {
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
pub fn python_str(value: &Value) -> Result<String, Error> {
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
fn write_repr(value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > DEPTH_MAX || out.len() as u64 > BUDGET_BYTES {
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
        // Lists made as they are read know how long they are, or print as what they are.
        ValueKind::Seq | ValueKind::Iterable if value.len().is_some() => {
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
pub fn to_json(value: &Value, kwargs: &Kwargs) -> Result<String, Error> {
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

fn write_json(value: &Value, style: &JsonStyle, depth: usize, out: &mut String) -> Result<(), Error> {
    if depth > DEPTH_MAX || out.len() as u64 > BUDGET_BYTES {
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
