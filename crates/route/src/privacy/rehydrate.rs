//! The way back: values in the place of placeholders, in an answer that may come in pieces.
//!
//! Only what could still become a placeholder is held back, a few bytes. A placeholder that stands for nothing is left as the
//! model wrote it, and what was put in is not read again. Outside of brackets a placeholder must be a word of its own.

use super::Vault;
use super::placeholder::{LEN_MAX, Reading, may_begin, read};

/// Puts values back into one answer.
#[derive(Debug)]
pub struct Rehydrator {
    vault: Vault,
    /// What may become a placeholder.
    held: String,
    /// Whether the character before it is of a word.
    in_word: bool,
}

impl Rehydrator {
    /// For an answer whose placeholders are in this vault.
    pub fn new(vault: Vault) -> Rehydrator {
        Rehydrator { vault, held: String::new(), in_word: false }
    }

    /// What is certain after this piece of the answer. Pieces may be cut anywhere; any cuts give the same text.
    pub fn push(&mut self, piece: &str) -> String {
        self.held.push_str(piece);
        self.read(false)
    }

    /// What was held back, at the end of the answer.
    pub fn finish(&mut self) -> String {
        let rest = self.read(true);
        self.in_word = false;
        rest
    }

    fn read(&mut self, complete: bool) -> String {
        let text = std::mem::take(&mut self.held);
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(char) = text[at..].chars().next() {
            let reading =
                if may_begin(text.as_bytes()[at]) { read(&text[at..], complete) } else { Reading::No };
            match reading {
                Reading::MayBe => {
                    debug_assert!(text.len() - at < LEN_MAX);
                    break;
                }
                Reading::Is(placeholder) => {
                    let bare = char.is_ascii_uppercase();
                    let behind = &text[at + placeholder.len..];
                    let alone = !self.in_word && !behind.starts_with(is_of_word);
                    let value =
                        self.vault.value(placeholder.word, placeholder.number).filter(|_| !bare || alone);
                    if let Some(value) = value {
                        out.push_str(value);
                        self.in_word = false;
                        at += placeholder.len;
                        continue;
                    }
                }
                Reading::No => {}
            }
            out.push(char);
            self.in_word = is_of_word(char);
            at += char.len_utf8();
        }
        self.held = text[at..].to_owned();
        out
    }
}

fn is_of_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::super::{Redactor, find_all};
    use super::*;

    fn vault() -> Vault {
        let mut redactor = Redactor::new();
        let text = "a@b.org, c@d.org, EMAIL_9";
        redactor.redact(text, &find_all(text));
        redactor.vault().clone()
    }

    #[test]
    fn any_cut_gives_the_same_text() {
        let answer = "Write [EMAIL_1], \\[EMAIL\\_2\\] (email_2) EMAIL_1. [EMAIL_7] [EMAIL CONTEXT_1 EMAIL_1x [TEXT_1] 【EMAIL_2】 EMAIL_2";
        let whole = vault().rehydrate(answer);
        assert_eq!(
            whole,
            "Write a@b.org, c@d.org c@d.org a@b.org. [EMAIL_7] [EMAIL CONTEXT_1 EMAIL_1x EMAIL_9 c@d.org c@d.org"
        );
        for n in 1..12 {
            let mut rehydrator = Rehydrator::new(vault());
            let mut out = String::new();
            let chars: Vec<char> = answer.chars().collect();
            for piece in chars.chunks(n) {
                out.push_str(&rehydrator.push(&piece.iter().collect::<String>()));
                assert!(rehydrator.held.len() < LEN_MAX);
            }
            out.push_str(&rehydrator.finish());
            assert_eq!(out, whole, "pieces of {n}");
        }
    }

    #[test]
    fn what_can_be_none_is_not_held_back() {
        let mut rehydrator = Rehydrator::new(vault());
        assert_eq!(rehydrator.push("An array[0] of "), "An array[0] of ");
        assert_eq!(rehydrator.push("[EMAI"), "");
        assert_eq!(rehydrator.push("LS]"), "[EMAILS]");
    }
}
