//! The gate: the one place where text that leaves is made.
//!
//! An [`Outgoing`] request has no other constructor than [`Gate::release`], and [`crate::cloud`] sends nothing else. The gate reads
//! every message again with the detectors, asks the policy, replaces what must be replaced, and then looks at its own work: what
//! still shows something that the policy keeps does not pass. So a rule can be wrong, but not forgotten.
//!
//! It is made for one conversation: the same value has the same placeholder in all of it, and the answer gets the values back here
//! ([`Gate::rehydrator`]). A class whose rule says `local` never leaves, redacted or not: detectors miss things, and what is marked private
//! is not left to them.

use std::ops::Range;

use crate::policy::{Action, Policy, Rule, Situation, Verdict};
use crate::privacy::{Class, Finding, Redactor, Rehydrator, find_all, is_invisible};

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: Role,
    /// Its text.
    pub text: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The program.
    System,
    /// The user.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// As APIs call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// What is asked beside the words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// The most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// The temperature.
    pub temperature: Option<f32>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

/// A request that may leave, as it may leave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    messages: Vec<Message>,
    wanted: Wanted,
    verdict: Verdict,
    /// Names of the kinds that were replaced, each once.
    redacted: Vec<&'static str>,
}

impl Outgoing {
    /// The messages, without what was replaced.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// All its text, a part after the other, for who is asked about it at a terminal: nothing in it may hide the rest from the eye.
    pub fn shown(&self) -> String {
        let messages = self.messages.iter().map(|message| (message.role.name(), &message.text));
        let stops = self.wanted.stop.iter().map(|text| ("stop", text));
        let hides = |c: char| (c.is_control() && c != '\n') || is_invisible(c);
        let plain = |c: char| if hides(c) { char::REPLACEMENT_CHARACTER } else { c };
        let line = |(name, text): (&str, &String)| format!("{name}: {text}\n");
        messages.chain(stops).map(line).collect::<String>().chars().map(plain).collect()
    }

    /// What is asked beside the words.
    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Why it may leave.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Names of the kinds that were replaced.
    pub fn redacted(&self) -> &[&'static str] {
        &self.redacted
    }
}

/// What becomes of a request at the gate.
#[derive(Debug, Clone, PartialEq)]
pub enum Release {
    /// It may leave like this.
    Released(Outgoing),
    /// It may leave like this once the user has said so.
    Ask(Question),
    /// It stays.
    Kept(Kept),
}

/// A request that waits for the user.
#[derive(Debug, Clone, PartialEq)]
pub struct Question(Outgoing);

impl Question {
    /// What would leave.
    pub fn would_leave(&self) -> &Outgoing {
        &self.0
    }

    /// The user has seen it and says yes.
    pub fn agreed(self) -> Outgoing {
        self.0
    }
}

/// Why a request stays.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// What the policy says.
    pub verdict: Verdict,
    /// Names of the kinds that were found and are not allowed out, each once.
    pub found: Vec<&'static str>,
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "this request stays on the device: {}", self.verdict.why)?;
        if self.found.is_empty() { Ok(()) } else { write!(f, " ({})", self.found.join(", ")) }
    }
}

/// The gate of one conversation.
#[derive(Debug, Clone)]
pub struct Gate {
    policy: Policy,
    redactor: Redactor,
}

impl Gate {
    /// A gate under `policy`.
    pub fn new(policy: Policy) -> Self {
        Self { policy, redactor: Redactor::new() }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Lets `messages` out or keeps them. What the detectors find is added to the classes of `situation`.
    pub fn release(&mut self, messages: &[Message], wanted: &Wanted, situation: &Situation) -> Release {
        let findings: Vec<Vec<Finding>> = messages.iter().map(|message| find_all(&message.text)).collect();
        let stops: Vec<Finding> = wanted.stop.iter().flat_map(|text| find_all(text)).collect();
        let all = || findings.iter().flatten().chain(&stops);
        let mut situation = situation.clone();
        add_classes(&mut situation, all());
        let verdict = self.policy.decide(&situation);
        if verdict.action == Action::Local {
            let kept = kept(&self.policy, &situation, Action::Local);
            return Release::Kept(Kept { found: kinds(all(), &kept), verdict });
        }
        // What is asked of the user is redacted as far as rules say so.
        let replaced = kept(&self.policy, &situation, Action::Redact);
        let of_these = |findings: Vec<Finding>| -> Vec<Finding> {
            findings.into_iter().filter(|f| replaced.contains(&f.kind.class)).collect()
        };
        let findings: Vec<Vec<Finding>> = findings.into_iter().map(of_these).collect();
        // All values first: so a name that is found in the last message is known in the first.
        for (message, findings) in messages.iter().zip(&findings) {
            self.redactor.know(&message.text, findings);
        }
        let mut out = Vec::with_capacity(messages.len());
        let mut redacted = Vec::new();
        for (message, findings) in messages.iter().zip(&findings) {
            let mut text = message.text.clone();
            if !replaced.is_empty() {
                let redaction = self.redactor.redact(&message.text, findings);
                redacted.extend(redaction.replaced.iter().filter_map(|r| r.kind).map(|kind| kind.name));
                text = redaction.text;
            }
            out.push(Message { role: message.role, text });
        }
        redacted.sort_unstable();
        redacted.dedup();
        // The gate's own work, looked at again: joined parts may show what the parts did not, and what had too much before it may not now.
        let left: Vec<Finding> = out.iter().flat_map(|m| find_all(&m.text)).chain(stops).collect();
        add_classes(&mut situation, &left);
        let mut found = kinds(left.iter(), &kept(&self.policy, &situation, Action::Redact));
        // A stop text goes out as it is, so none may hold what messages showed.
        let replaced_in = |text: &String| self.redactor.redact(text, &[]).replaced;
        found.extend(wanted.stop.iter().flat_map(replaced_in).filter_map(|r| r.kind).map(|kind| kind.name));
        found.sort_unstable();
        found.dedup();
        if !found.is_empty() {
            return Release::Kept(Kept { verdict: self.policy.decide(&situation), found });
        }
        let asks = verdict.action == Action::Ask;
        let outgoing = Outgoing { messages: out, wanted: wanted.clone(), verdict, redacted };
        if asks { Release::Ask(Question(outgoing)) } else { Release::Released(outgoing) }
    }

    /// Puts the values back into an answer.
    pub fn rehydrator(&self) -> Rehydrator {
        self.redactor.rehydrator()
    }
}

/// Where the detectors find something in `text` of classes that rules treat as strictly as `action`. Who takes a part out of a text asks
/// this of the whole, as a number alone may not show what it is; the gate still reads what comes of it.
pub fn marked(policy: &Policy, text: &str, situation: &Situation, action: Action) -> Vec<Range<usize>> {
    let findings = find_all(text);
    let mut situation = situation.clone();
    situation.classes = findings.iter().map(|finding| finding.kind.class).collect();
    let classes = kept(policy, &situation, action);
    let of_these = findings.into_iter().filter(|finding| classes.contains(&finding.kind.class));
    of_these.map(|finding| finding.span).collect()
}

/// Adds the classes of `findings` to those that are known.
fn add_classes<'a>(situation: &mut Situation, findings: impl IntoIterator<Item = &'a Finding>) {
    situation.classes.extend(findings.into_iter().map(|finding| finding.kind.class));
    situation.classes.sort();
    situation.classes.dedup();
}

/// The classes that, each alone, would get an action as strict as `action`. A rule that asks for no class and redacts means all.
fn kept(policy: &Policy, situation: &Situation, action: Action) -> Vec<Class> {
    let alone = |class: &Class| Situation { classes: vec![*class], ..situation.clone() };
    let by_rule = |class: &Class| {
        let held = policy.held(&alone(class));
        let of_class = |rule: &&Rule| !rule.when.class.is_empty() || rule.then == Action::Redact;
        held.into_iter().filter(of_class).any(|rule| rule.then <= action)
    };
    situation.classes.iter().filter(|class| by_rule(class)).copied().collect()
}

/// Names of the kinds of `findings` of these classes, each once.
fn kinds<'a>(findings: impl Iterator<Item = &'a Finding>, classes: &[Class]) -> Vec<&'static str> {
    let mut names: Vec<&str> =
        findings.filter(|f| classes.contains(&f.kind.class)).map(|f| f.kind.name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "[[endpoint]]\nname = \"big\"\nurl = \"https://big.example/v1\"\nmodel = \"m\"\n";

    fn gate(rules: &str) -> Gate {
        Gate::new(Policy::parse("route.toml", &format!("{ENDPOINT}{rules}")).unwrap())
    }

    fn release(gate: &mut Gate, texts: &[&str]) -> Release {
        let message = |text: &&str| Message { role: Role::User, text: (*text).to_owned() };
        let messages: Vec<Message> = texts.iter().map(message).collect();
        gate.release(&messages, &Wanted::default(), &Situation::default())
    }

    fn released(gate: &mut Gate, texts: &[&str]) -> Outgoing {
        match release(gate, texts) {
            Release::Released(outgoing) => outgoing,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_harmless_leaves_as_it_is() {
        let outgoing = released(&mut gate(""), &["Why is the sky blue?"]);
        assert_eq!(outgoing.messages()[0].text, "Why is the sky blue?");
        assert!(outgoing.redacted().is_empty());
    }

    #[test]
    fn cards_stay_and_the_reason_names_the_kind_and_not_the_number() {
        let Release::Kept(kept) = release(&mut gate(""), &["Pay with 4111 1111 1111 1111 please"]) else {
            panic!("a card leaves");
        };
        assert_eq!(kept.found, ["CREDIT_CARD"]);
        let said = kept.to_string();
        assert!(
            said.contains("CREDIT_CARD") && said.contains("secrets, money") && !said.contains("4111"),
            "{said}"
        );
    }

    #[test]
    fn people_are_replaced_and_come_back() {
        let mut gate = gate("");
        let texts = ["Write to anna.berg@example.org", "Is anna.berg@example.org polite enough?"];
        let outgoing = released(&mut gate, &texts);
        assert_eq!(outgoing.redacted(), ["EMAIL_ADDRESS"]);
        assert!(outgoing.messages().iter().all(|m| !m.text.contains("anna")), "{outgoing:?}");
        assert_eq!(outgoing.messages()[1].text, "Is [EMAIL_1] polite enough?");
        let mut rehydrator = gate.rehydrator();
        let answer = rehydrator.push("Dear [EMA") + &rehydrator.push("IL_1], hello") + &rehydrator.finish();
        assert_eq!(answer, "Dear anna.berg@example.org, hello");
    }

    #[test]
    fn what_a_later_message_shows_is_replaced_in_earlier_ones() {
        let outgoing =
            released(&mut gate(""), &["You help Qwertz Vbnm.", "My name is Qwertz Vbnm. Who am I?"]);
        assert_eq!(outgoing.messages()[0].text, "You help [PERSON_1].");
        assert_eq!(outgoing.messages()[1].text, "My name is [PERSON_1]. Who am I?");
    }

    #[test]
    fn what_shows_only_once_something_else_was_replaced_stays() {
        let text = "SSN (bartholomea.featherstonehaugh@department.university.example): 536904399";
        let Release::Kept(kept) = release(&mut gate(""), &[text]) else { panic!("a number leaves") };
        assert_eq!(kept.found, ["US_SSN"]);
        assert!(kept.to_string().contains("secrets, money"), "{kept}");
    }

    #[test]
    fn a_question_shows_what_would_leave() {
        let rule = "[[rule]]\nname = \"ask me\"\nthen = \"ask\"\n";
        let Release::Ask(question) = release(&mut gate(rule), &["Mail anna.berg@example.org a poem"]) else {
            panic!("nobody is asked");
        };
        assert!(!question.would_leave().messages()[0].text.contains("anna"));
        assert_eq!(question.agreed().verdict().action, Action::Ask);
    }

    #[test]
    fn a_rule_that_asks_for_no_class_redacts_all_that_is_found() {
        let text = ["Why does 203.0.113.9 not answer?"];
        assert_eq!(released(&mut gate(""), &text).messages()[0].text, text[0]);
        let rule = "[[rule]]\nname = \"careful\"\nthen = \"redact\"\n";
        let outgoing = released(&mut gate(rule), &text);
        assert!(!outgoing.messages()[0].text.contains("203.0"), "{outgoing:?}");
    }

    #[test]
    fn stop_texts_are_text_too() {
        let messages = [Message { role: Role::User, text: "Tell me a story".into() }];
        let wanted = Wanted { stop: vec!["anna.berg@example.org".into()], ..Wanted::default() };
        let release = gate("").release(&messages, &wanted, &Situation::default());
        assert!(matches!(release, Release::Kept(_)), "{release:?}");
    }

    #[test]
    fn stop_texts_with_what_messages_show_stay() {
        let messages = [Message { role: Role::User, text: "My name is Qwertz Vbnm. Who am I?".into() }];
        let stopping = |stop: &str| {
            let wanted = Wanted { stop: vec![stop.into()], ..Wanted::default() };
            gate("").release(&messages, &wanted, &Situation::default())
        };
        let Release::Kept(kept) = stopping("\nQwertz Vbnm:") else { panic!("a name leaves") };
        assert_eq!(kept.found, ["PERSON"]);
        assert!(matches!(stopping("\nUser:"), Release::Released(_)));
    }

    #[test]
    fn nothing_in_a_question_hides_from_the_eye() {
        let texts = ["a\u{202e}b\u{200b}c\u{e0041}d\u{1b}[8me\nf"];
        let rule = "[[rule]]\nname = \"ask me\"\nthen = \"ask\"\n";
        let Release::Ask(question) = release(&mut gate(rule), &texts) else { panic!("nobody is asked") };
        assert_eq!(question.would_leave().shown(), "user: a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}[8me\nf\n");
    }

    #[test]
    fn a_question_shows_stop_texts() {
        let messages = [Message { role: Role::User, text: "Tell me a story".into() }];
        let wanted = Wanted { stop: vec!["The end".into()], ..Wanted::default() };
        let rule = "[[rule]]\nname = \"ask me\"\nthen = \"ask\"\n";
        let release = gate(rule).release(&messages, &wanted, &Situation::default());
        let Release::Ask(question) = release else { panic!("{release:?}") };
        assert_eq!(question.would_leave().shown(), "user: Tell me a story\nstop: The end\n");
    }

    #[test]
    fn what_rules_mark_in_a_text_is_known_to_who_takes_a_part_of_it() {
        let policy = gate("").policy().clone();
        let of = |text: &str, action| {
            let marked = marked(&policy, text, &Situation::default(), action);
            marked.into_iter().map(|span| text[span].to_owned()).collect::<Vec<_>>().join(", ")
        };
        let text = "Anna Berg, SSN 536904399, pays with 4111 1111 1111 1111 from 203.0.113.9";
        assert_eq!(of(text, Action::Local), "536904399, 4111 1111 1111 1111");
        assert_eq!(of(text, Action::Redact), "Anna Berg, 536904399, 4111 1111 1111 1111");
        assert_eq!(of("536904399", Action::Local), "", "alone it does not show what it is");
    }

    #[test]
    fn private_sources_stay_whatever_their_words() {
        let messages = [Message { role: Role::User, text: "Summarise this".into() }];
        let tainted = Situation { sources: vec!["knowledge".into()], ..Situation::default() };
        let release = gate("").release(&messages, &Wanted::default(), &tainted);
        let Release::Kept(kept) = release else { panic!("{release:?}") };
        assert!(kept.to_string().contains("private sources stay"), "{kept}");
    }
}
