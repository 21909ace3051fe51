//! What an answer is made of, and the queue in which parts wait for the caller.
//!
//! Text, reasoning, markup and the raw text of calls are cut from the answer and follow its order: put together they are
//! the answer, byte by byte. A queue is one string and a list of lengths, so that a token in steady state allocates nothing.

/// A piece of an answer's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// More of what is said to the user.
    Text(&'a str),
    /// More of what the model says to itself.
    Reasoning(&'a str),
    /// Text that only sets the others apart: markers, and whitespace beside them.
    Markup(&'a str),
    /// A call to one of the tools begins.
    CallBegin {
        /// The id that the model gave it, where it gave one before its arguments.
        id: Option<&'a str>,
        /// The tool's name, as the caller wrote it.
        name: &'a str,
    },
    /// More of the call's arguments: together one JSON object.
    Arguments(&'a str),
    /// The call is complete.
    CallEnd {
        /// What the model wrote for it, markers included: what its next prompt should hold.
        raw: &'a str,
    },
    /// The call that began is none; what was written for it follows as text. Only with [`Delivery::Early`].
    CallFailed,
}

/// When a call is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As it is written. It may fail afterwards, unless a grammar guides the answer.
    Early,
    /// When it is complete: a call that is told is one, and [`Part::CallFailed`] never comes.
    Proven,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Reasoning,
    Markup,
    /// Says the id of the call whose beginning is next.
    Id,
    Begin,
    Arguments,
    End,
    Failed,
}

/// Parts that wait for the caller.
#[derive(Debug)]
pub(super) struct Queue {
    delivery: Delivery,
    text: String,
    /// Kinds and the bytes of `text` that are theirs.
    parts: Vec<(Kind, usize)>,
    /// The lengths of `text` and `parts` before a call that isn't proven.
    unproven: Option<(usize, usize)>,
}

impl Queue {
    pub fn new(delivery: Delivery) -> Self {
        Self { delivery, text: String::new(), parts: Vec::new(), unproven: None }
    }

    pub fn push(&mut self, kind: Kind, text: &str) {
        match kind {
            Kind::Text | Kind::Reasoning | Kind::Markup | Kind::Arguments => {
                if text.is_empty() {
                    return;
                }
                if let Some((last, len)) = self.parts.last_mut()
                    && *last == kind
                {
                    *len += text.len();
                    self.text.push_str(text);
                    return;
                }
            }
            Kind::Id | Kind::Begin if self.delivery == Delivery::Proven && self.unproven.is_none() => {
                self.unproven = Some((self.text.len(), self.parts.len()));
            }
            Kind::End => self.unproven = None,
            Kind::Failed => {
                if let Some((text, parts)) = self.unproven.take() {
                    self.text.truncate(text);
                    self.parts.truncate(parts);
                    return;
                }
            }
            Kind::Id | Kind::Begin => {}
        }
        self.text.push_str(text);
        self.parts.push((kind, text.len()));
    }

    /// Tells what may be told and forgets it.
    pub fn deliver(&mut self, on: &mut impl FnMut(Part<'_>)) {
        let (n_bytes, n_parts) = self.unproven.unwrap_or((self.text.len(), self.parts.len()));
        let (mut at, mut id) = (0, None);
        for &(kind, len) in &self.parts[..n_parts] {
            let text = &self.text[at..at + len];
            at += len;
            on(match kind {
                Kind::Text => Part::Text(text),
                Kind::Reasoning => Part::Reasoning(text),
                Kind::Markup => Part::Markup(text),
                Kind::Id => {
                    id = Some(text);
                    continue;
                }
                Kind::Begin => Part::CallBegin { id: id.take(), name: text },
                Kind::Arguments => Part::Arguments(text),
                Kind::End => Part::CallEnd { raw: text },
                Kind::Failed => Part::CallFailed,
            });
        }
        self.text.drain(..n_bytes);
        self.parts.drain(..n_parts);
        self.unproven = self.unproven.map(|_| (0, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(queue: &mut Queue) -> Vec<String> {
        let mut told = Vec::new();
        queue.deliver(&mut |part| told.push(format!("{part:?}")));
        told
    }

    #[test]
    fn an_unproven_call_waits_and_leaves_no_trace_when_it_fails() {
        let mut queue = Queue::new(Delivery::Proven);
        queue.push(Kind::Text, "a");
        queue.push(Kind::Id, "7");
        queue.push(Kind::Begin, "f");
        queue.push(Kind::Arguments, "{");
        assert_eq!(told(&mut queue), ["Text(\"a\")"]);
        queue.push(Kind::Arguments, "}");
        queue.push(Kind::End, "f{}");
        let call =
            ["CallBegin { id: Some(\"7\"), name: \"f\" }", "Arguments(\"{}\")", "CallEnd { raw: \"f{}\" }"];
        assert_eq!(told(&mut queue), call);
        queue.push(Kind::Begin, "f");
        queue.push(Kind::Failed, "");
        queue.push(Kind::Text, "f{");
        assert_eq!(told(&mut queue), ["Text(\"f{\")"]);
    }

    #[test]
    fn early_calls_are_told_as_they_come() {
        let mut queue = Queue::new(Delivery::Early);
        queue.push(Kind::Begin, "f");
        assert_eq!(told(&mut queue), ["CallBegin { id: None, name: \"f\" }"]);
        queue.push(Kind::Failed, "");
        assert_eq!(told(&mut queue), ["CallFailed"]);
    }
}
