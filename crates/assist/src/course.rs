//! The way of a question through documents: plan, read, join, and once more where who joins elsewhere wants to know more.
//!
//! The caller lends two functions. One has the local model reply to a prompt in a form; the other asks elsewhere, and says so where what was to
//! leave stays. Everything that is given to the second is a [`Leaving`]: messages made of the user's question, of questions from
//! elsewhere and of facts, with the private source that they come from, for the gate. Passages are given to the first alone.

use ingle_route::gate::Message;
use ingle_route::policy::{FACTS, Policy, Situation};

use crate::document::{Document, Passage, n_bytes};
use crate::facts::{Place, Sheet};
use crate::joining::{self, Joined, Round};
use crate::leaving::Marks;
use crate::plan::{self, QUESTIONS_MAX};
use crate::reading::{self, Reply};

/// How often the documents are read for one question.
pub const ROUNDS_MAX: usize = 2;

/// What is put to the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// What would be said.
    pub messages: Vec<Message>,
    /// The private sources of its words.
    pub sources: &'static [&'static str],
    /// The facts in it, by their numbers on the sheet, counted from 0.
    pub facts: Vec<usize>,
}

/// Replies of the local model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// That there are.
    pub n_replies: usize,
    /// That were of no use: not of the form, or with a quotation that the passage does not have.
    pub n_unusable: usize,
}

/// A question about documents, on its way.
#[derive(Debug, Clone)]
pub struct Course<'a> {
    question: &'a str,
    documents: &'a [Document],
    passages: &'a [Passage],
    asked: Vec<String>,
    /// Questions that were put to all passages; those behind them were not yet.
    n_read: usize,
    rounds: usize,
    sheet: Sheet,
    tally: Tally,
}

impl<'a> Course<'a> {
    /// Of `question` about `documents`, cut into `passages`.
    pub fn new(question: &'a str, documents: &'a [Document], passages: &'a [Passage]) -> Self {
        let (asked, sheet) = (Vec::new(), Sheet::new(n_bytes(documents)));
        Self { question, documents, passages, asked, n_read: 0, rounds: 0, sheet, tally: Tally::default() }
    }

    /// The questions that were put to the passages.
    pub fn asked(&self) -> &[String] {
        &self.asked
    }

    /// What came of it.
    pub fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    /// What the local model's replies were.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// Reads all passages for the user's question.
    ///
    /// # Errors
    /// As `here`.
    pub fn read_for_itself<E>(
        &mut self,
        here: &mut dyn FnMut(&str, &str) -> Result<String, E>,
    ) -> Result<(), E> {
        self.ask(vec![self.question.to_owned()]);
        self.read(here)
    }

    /// The local model's prompt for the answer, with as many facts as `fits`; `None` where there is no fact.
    pub fn joining_here(&self, fits: &mut dyn FnMut(&str) -> bool) -> Option<(String, usize)> {
        let (prompt, n) = joining::prompt_here(self.question, &self.asked, &self.sheet, self.documents, fits);
        (n > 0).then_some((prompt, n))
    }

    /// Has the answer come from elsewhere: a plan first where nothing was read yet, then the facts that `policy` lets leave in `situation`, and
    /// once more what it asks for. `here` replies to a prompt in a form; `there` puts what is to leave to the gate and asks elsewhere, `None`
    /// where it stays. Without an answer from elsewhere this is `None`, and what was read is on the sheet.
    ///
    /// # Errors
    /// As `here` and `there`.
    pub fn elsewhere<E>(
        &mut self,
        here: &mut dyn FnMut(&str, &str) -> Result<String, E>,
        there: &mut dyn FnMut(&Leaving) -> Result<Option<String>, E>,
        (policy, situation): (&Policy, &Situation),
    ) -> Result<Option<String>, E> {
        if self.rounds == 0 {
            let messages = plan::messages(self.question, self.documents);
            let reply = there(&Leaving { messages, sources: &[], facts: Vec::new() })?;
            self.ask(plan::questions(reply.as_deref().unwrap_or_default()));
            if self.asked.is_empty() {
                self.ask(vec![self.question.to_owned()]);
            }
            self.read(here)?;
            if reply.is_none() {
                return Ok(None);
            }
        }
        let marks = Marks::new(self.documents, policy, situation);
        loop {
            let round = if self.rounds < ROUNDS_MAX { Round::Open } else { Round::Last };
            let (passages, n) = (self.passages, self.passages.len());
            let facts = self.sheet.leaving(&|fact| marks.let_go(fact, passages));
            let messages = joining::messages(self.question, &self.asked, &self.sheet, &facts, n, round);
            // That nothing was found is itself something that the documents say.
            let leaving = Leaving { messages, sources: &[FACTS], facts };
            let Some(reply) = there(&leaving)? else { return Ok(None) };
            match joining::parse(&reply, round) {
                Joined::Answer(answer) => return Ok(Some(answer)),
                Joined::More(questions) => {
                    self.ask(questions);
                    self.rounds += usize::from(self.n_read == self.asked.len());
                    self.read(here)?;
                }
            }
        }
    }

    /// Adds questions that were not asked yet.
    fn ask(&mut self, questions: Vec<String>) {
        for question in questions.into_iter().take(QUESTIONS_MAX) {
            if !self.asked.contains(&question) {
                self.asked.push(question);
            }
        }
    }

    /// Puts the questions that were not yet put to every passage.
    fn read<E>(&mut self, here: &mut dyn FnMut(&str, &str) -> Result<String, E>) -> Result<(), E> {
        if self.n_read == self.asked.len() {
            return Ok(());
        }
        self.rounds += 1;
        for (at, passage) in self.passages.iter().enumerate() {
            let text = &self.documents[passage.document].text[passage.range.clone()];
            if text.trim().is_empty() {
                continue;
            }
            let form = reading::form(text);
            for (number, question) in self.asked.iter().enumerate().skip(self.n_read) {
                let reply = here(&reading::prompt(text, question), &form)?;
                self.tally.n_replies += 1;
                match reading::parse(&reply, text) {
                    Reply::Nothing => {}
                    Reply::Unusable => self.tally.n_unusable += 1,
                    Reply::Found(found) => {
                        let start = passage.range.start;
                        let quote = start + found.quote.start..start + found.quote.end;
                        let place = Place { passage: at, document: passage.document, quote };
                        self.sheet.add(number, found.answer, place);
                    }
                }
            }
        }
        self.n_read = self.asked.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::passages;

    fn policy(rules: &str) -> Policy {
        Policy::parse("route.toml", rules).unwrap()
    }

    fn documents() -> Vec<Document> {
        let text = (0..20).map(|i| format!("House {i} has {} windows.\n\n", i * i)).collect();
        vec![Document { name: "houses.txt".into(), text }]
    }

    /// A reader that finds windows where it is asked for them.
    fn reader(prompt: &str, _: &str) -> Result<String, String> {
        let text = prompt.lines().find(|line| line.starts_with("House")).ok_or("no text")?;
        let n = text.split(' ').nth(3).unwrap();
        let found = prompt.contains("Question: How many windows?");
        Ok(serde_json::json!({ "found": found, "quote": text, "answer": n }).to_string())
    }

    fn cut(documents: &[Document]) -> Vec<Passage> {
        passages(documents, 8, &mut |text| text.split_whitespace().count())
    }

    #[test]
    fn a_plan_is_made_read_and_joined_in_two_rounds_at_most() {
        let documents = documents();
        let passages = cut(&documents);
        let mut course = Course::new("What about windows?", &documents, &passages);
        let replies = [
            "[\"How many doors?\"]",
            "{\"questions\": [\"How many windows?\", \"How many doors?\"]}",
            "{\"questions\": [\"Everything?\"]}",
        ];
        let mut left: Vec<Leaving> = Vec::new();
        let mut there = |leaving: &Leaving| {
            left.push(leaving.clone());
            Ok::<_, String>(Some(replies[left.len() - 1].to_owned()))
        };
        let answer = course.elsewhere(&mut reader, &mut there, (&policy(""), &Situation::default())).unwrap();
        assert_eq!(answer.as_deref(), Some(replies[2]), "a third round is an answer, whatever it says");
        assert_eq!(course.asked(), ["How many doors?", "How many windows?"]);
        assert_eq!(course.tally(), Tally { n_replies: 40, n_unusable: 0 });
        assert_eq!(
            left.iter().map(|l| (l.sources, l.facts.len())).collect::<Vec<_>>(),
            [(&[][..], 0), (&[FACTS][..], 0), (&[FACTS][..], 20)]
        );
        assert!(left[2].messages[1].text.contains("[20] passage 20 of 20: 361"), "{:?}", left[2].messages);
        assert!(left.iter().flat_map(|l| &l.messages).all(|m| !m.text.contains("House")), "a quotation left");
        let fact = &course.sheet().facts()[3];
        assert_eq!(&documents[0].text[fact.places[0].quote.clone()], "House 3 has 9 windows.");
    }

    #[test]
    fn an_endpoint_that_asks_the_same_again_gets_no_third_reading() {
        let documents = documents();
        let passages = cut(&documents);
        let mut course = Course::new("How many windows?", &documents, &passages);
        let mut n = 0;
        let mut there = |_: &Leaving| {
            n += 1;
            Ok::<_, String>(Some("{\"questions\": [\"How many windows?\"]}".to_owned()))
        };
        course.elsewhere(&mut reader, &mut there, (&policy(""), &Situation::default())).unwrap();
        assert_eq!((n, course.tally().n_replies), (3, 20));
    }

    #[test]
    fn what_stays_is_joined_here() {
        let mut documents = documents();
        // What the detectors know in one passage keeps its own fact and no other.
        documents[0].text = documents[0].text.replace("House 7 has 49", "House 7 has 4111111111111111");
        let passages = cut(&documents);
        let mut course = Course::new("How many windows?", &documents, &passages);
        course.read_for_itself(&mut reader).unwrap();
        let mut n = 0;
        let mut there = |leaving: &Leaving| {
            n += 1;
            assert_eq!((leaving.sources, leaving.facts.len()), (&[FACTS][..], 19));
            Ok::<_, String>(None)
        };
        let told = (&policy(""), &Situation::default());
        assert_eq!(course.elsewhere(&mut reader, &mut there, told).unwrap(), None);
        assert_eq!(n, 1, "what was read needs no plan");
        let (prompt, n) = course.joining_here(&mut |_| true).unwrap();
        assert!(n == 20 && prompt.contains("[8] 4111111111111111 (\"House 7"), "{prompt}");
        let mut fails = |_: &str, _: &str| Err("interrupted".to_owned());
        assert_eq!(
            Course::new("?", &documents, &passages).read_for_itself(&mut fails),
            Err("interrupted".into())
        );
    }
}
