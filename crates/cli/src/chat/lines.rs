//! Messages of several lines: a line that ends in a backslash goes on, and `"""` opens and closes a block.

/// Lines becoming a message.
#[derive(Debug, Default)]
pub struct Assembler {
    text: String,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// The last line ended in a backslash.
    Continued,
    /// Inside `"""`.
    Block,
}

const FENCE: &str = "\"\"\"";

impl Assembler {
    /// Takes a line; gives the message when it is complete.
    pub fn push(&mut self, line: &str) -> Option<String> {
        let mut line = line;
        if self.state == State::Start
            && let Some(rest) = line.trim_start().strip_prefix(FENCE)
        {
            self.state = State::Block;
            line = rest;
            if line.is_empty() {
                return None;
            }
        }
        if self.state == State::Block {
            let Some(last) = line.trim_end().strip_suffix(FENCE) else {
                self.text.push_str(line);
                self.text.push('\n');
                return None;
            };
            self.text.push_str(last);
            return Some(self.take().trim_end_matches('\n').to_owned());
        }
        if let Some(part) = line.strip_suffix('\\') {
            self.text.push_str(part);
            self.text.push('\n');
            self.state = State::Continued;
            return None;
        }
        self.text.push_str(line);
        Some(self.take())
    }

    /// Whether a message has begun and waits for more.
    pub fn is_open(&self) -> bool {
        self.state != State::Start
    }

    /// Forgets what was begun, and gives it.
    pub fn take(&mut self) -> String {
        self.state = State::Start;
        std::mem::take(&mut self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(lines: &[&str]) -> Vec<String> {
        let mut a = Assembler::default();
        lines.iter().filter_map(|line| a.push(line)).collect()
    }

    #[test]
    fn a_line_is_a_message() {
        assert_eq!(messages(&["one", "two"]), ["one", "two"]);
    }

    #[test]
    fn a_backslash_goes_on() {
        assert_eq!(messages(&["one\\", "two\\", "three", "four"]), ["one\ntwo\nthree", "four"]);
    }

    #[test]
    fn quotes_keep_lines_together() {
        assert_eq!(messages(&["\"\"\"", "one\\", "", "two", "\"\"\"", "x"]), ["one\\\n\ntwo", "x"]);
        assert_eq!(messages(&["\"\"\"one", "two\"\"\""]), ["one\ntwo"]);
        assert_eq!(messages(&["\"\"\"one\"\"\""]), ["one"]);
    }

    #[test]
    fn what_was_begun_can_be_given_up() {
        let mut a = Assembler::default();
        assert_eq!(a.push("one\\"), None);
        assert!(a.is_open());
        a.take();
        assert!(!a.is_open());
        assert_eq!(a.push("two"), Some("two".into()));
    }
}
