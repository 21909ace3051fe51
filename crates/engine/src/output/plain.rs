//! No format: all is text, but for thoughts at the beginning.

use super::reader::NoCall;
use super::{Format, THINK};

pub(super) static FORMAT: Format = Format {
    name: "plain",
    about: "no calls: the template knows no tools",
    is_for: |_| true,
    reasoning: &[THINK],
    before_text: None,
    openers: &[],
    bare: false,
    inner: &[],
    id_len: None,
    quotes: true,
    calls: |_, _| Box::pin(async { Err(NoCall) }),
    grammar: |_| String::new(),
    example: "",
};
