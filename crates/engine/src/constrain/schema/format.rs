//! Formats of strings as patterns.
//!
//! Each pattern accepts only what its standard does, and less where the standard needs more than a pattern: domain labels
//! and addresses are of ASCII, a minute has no leap second. A format that no draft names is a note to people and asks
//! nothing.

/// A format's name and what it asks.
struct Format {
    name: &'static str,
    /// In Rust's syntax, for the whole text.
    pattern: &'static str,
}

const fn format(name: &'static str, pattern: &'static str) -> Format {
    Format { name, pattern }
}

/// Years from 1, months and days that exist; `DATE` and `TIME` stand for these in other patterns.
const DATE: &str = "(?:YEAR-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)";
const YEAR: &str = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])";
const TIME: &str = "(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,9})?(?:[zZ]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]))";
const LABEL: &str = "(?:[a-zA-Z0-9](?:[a-zA-Z0-9]{0,30}(?:-[a-zA-Z0-9]{1,30})?)?)";
const BYTE: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const HEX4: &str = "[0-9a-fA-F]{1,4}";
/// Characters of a path, a query or a fragment, percent encoding included.
const PCHAR: &str = "(?:[a-zA-Z0-9._~!$&'()*+,;=:@-]|%[0-9a-fA-F]{2})";

/// Every format that is held. In patterns, a name of the parts above stands for the part.
static FORMATS: &[Format] = &[
    format("date", "DATE"),
    format("time", "TIME"),
    format("date-time", "DATE[tT]TIME"),
    format(
        "duration",
        "P(?:[0-9]{1,9}W|[0-9]{1,9}Y(?:[0-9]{1,9}M(?:[0-9]{1,9}D)?)?(?:TCLOCK)?|[0-9]{1,9}M(?:[0-9]{1,9}D)?(?:TCLOCK)?|[0-9]{1,9}D(?:TCLOCK)?|TCLOCK)",
    ),
    format("email", "[a-zA-Z0-9_+-]{1,30}(?:\\.[a-zA-Z0-9_+-]{1,30})?@LABEL(?:\\.LABEL){1,3}"),
    format("idn-email", "[a-zA-Z0-9_+-]{1,30}(?:\\.[a-zA-Z0-9_+-]{1,30})?@LABEL(?:\\.LABEL){1,3}"),
    format("hostname", "LABEL(?:\\.LABEL){0,3}"),
    format("idn-hostname", "LABEL(?:\\.LABEL){0,3}"),
    format("ipv4", "BYTE(?:\\.BYTE){3}"),
    format(
        "ipv6",
        "(?:HEX4:){7}HEX4|(?:HEX4:){1,6}:HEX4|(?:HEX4:){1,5}(?::HEX4){2}|(?:HEX4:){1,4}(?::HEX4){3}|(?:HEX4:){1,3}(?::HEX4){4}|(?:HEX4:){1,2}(?::HEX4){5}|HEX4:(?::HEX4){6}|:(?::HEX4){1,7}|(?:HEX4:){1,7}:|::|::[fF]{4}:BYTE(?:\\.BYTE){3}",
    ),
    format("uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"),
    format("uri", "URI"),
    format("iri", "URI"),
    format(
        "uri-reference",
        "URI|/?(?:PCHAR{1,64}(?:/PCHAR{0,64}){0,16})?(?:\\?(?:PCHAR|[/?]){0,64})?(?:#(?:PCHAR|[/?]){0,64})?",
    ),
    format(
        "iri-reference",
        "URI|/?(?:PCHAR{1,64}(?:/PCHAR{0,64}){0,16})?(?:\\?(?:PCHAR|[/?]){0,64})?(?:#(?:PCHAR|[/?]){0,64})?",
    ),
    format("uri-template", "[a-zA-Z0-9._~/:?&=-]*(?:\\{[a-zA-Z0-9_]{1,64}\\}[a-zA-Z0-9._~/:?&=-]*){0,8}"),
    format("json-pointer", "(?:/(?:[^~/]|~[01])*)*"),
    format("relative-json-pointer", "(?:0|[1-9][0-9]{0,8})(?:#|(?:/(?:[^~/]|~[01])*)*)"),
    format("regex", "[a-zA-Z0-9 _]*"),
];

/// The pattern of format `name`; `None` for one that asks nothing.
pub(super) fn lookup(name: &str) -> Option<String> {
    let format = FORMATS.iter().find(|format| format.name == name)?;
    let mut pattern = format!("^(?:{})$", format.pattern);
    let uri = "[a-zA-Z][a-zA-Z0-9+.-]{0,15}://LABEL(?:\\.LABEL){0,4}(?::[1-9][0-9]{0,3})?(?:/PCHAR*){0,16}(?:\\?(?:PCHAR|[/?])*)?(?:#(?:PCHAR|[/?])*)?|urn:[a-z0-9]{2,16}:PCHAR+|mailto:[a-zA-Z0-9_+-]{1,30}@LABEL(?:\\.LABEL){1,3}";
    let clock = "(?:[0-9]{1,9}H(?:[0-9]{1,9}M(?:[0-9]{1,9}S)?)?|[0-9]{1,9}M(?:[0-9]{1,9}S)?|[0-9]{1,9}S)";
    for (part, text) in [
        ("URI", uri),
        ("CLOCK", clock),
        ("DATE", DATE),
        ("YEAR", YEAR),
        ("TIME", TIME),
        ("LABEL", LABEL),
        ("BYTE", BYTE),
        ("HEX4", HEX4),
        ("PCHAR", PCHAR),
    ] {
        pattern = pattern.replace(part, text);
    }
    Some(pattern)
}
