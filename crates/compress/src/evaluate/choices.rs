//! Multiple-choice questions in the form of lm-evaluation-harness: read from JSON lines, answered by log-probability.
//!
//! A line is an object with a question (`query`, `question`, `ctx`, `context` or `goal`), choices (`choices`, `endings` or
//! `options`: a list of texts, or `{"text": [...], "label": [...]}`) and the right one (`gold`, `answer`, `label` or
//! `answerKey`: its index from 0, one of the labels, a letter from A, or its text). Other fields are passed over.
//!
//! A model answers with the choice whose tokens, behind the question and a space, it finds likeliest together: `acc`. Long
//! choices are at a disadvantage there, so `acc_norm` divides by the choice's bytes. The question's tokens are those of the
//! question alone; what follows is the choice's, as the harness cuts it. Where the model adds BOS it stands in front, which
//! the harness leaves to its flags. No instructions or examples are added: a line has them in its question.

use ingle_model::Error;
use serde_json::Value;

use super::Predict;
use super::divergence::nll;
use super::tasks::Task;

/// The most questions of a file.
pub const QUESTIONS_MAX: usize = 1 << 20;
/// The most choices of a question.
pub const CHOICES_MAX: usize = 64;

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What stands before the answer.
    pub context: String,
    /// Possible answers, at least two.
    pub choices: Vec<String>,
    /// The right one's index.
    pub gold: usize,
}

/// Reads JSON lines; empty ones are passed over.
///
/// # Errors
/// With the number of the first line that is no question.
pub fn parse(text: &str) -> Result<Vec<Question>, Error> {
    let mut questions = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if questions.len() == QUESTIONS_MAX {
            return Err(Error::malformed("questions", "more", format!("{QUESTIONS_MAX} at most")));
        }
        let question = question(line);
        questions.push(
            question
                .map_err(|(found, expected)| Error::malformed(format!("line {}", i + 1), found, expected))?,
        );
    }
    if questions.is_empty() {
        return Err(Error::malformed(
            "questions",
            "none",
            "JSON lines with a question, choices and an answer",
        ));
    }
    Ok(questions)
}

type Refusal = (String, String);

fn question(line: &str) -> Result<Question, Refusal> {
    let value: Value =
        serde_json::from_str(line).map_err(|e| (format!("no JSON ({e})"), "a JSON object".to_owned()))?;
    let field = |names: &[&str]| {
        let found = names.iter().find_map(|name| value.get(name).filter(|v| !v.is_null()));
        found.ok_or_else(|| ("a field is missing".to_owned(), names.join(" or ")))
    };
    let context = field(&["query", "question", "ctx", "context", "goal"])?;
    let context = context.as_str().filter(|c| !c.trim().is_empty());
    let context = context.ok_or_else(|| ("a question without text".to_owned(), "a text".to_owned()))?;
    let listed = field(&["choices", "endings", "options"])?;
    let choices = texts(listed.get("text").unwrap_or(listed));
    let choices =
        choices.filter(|c| (2..=CHOICES_MAX).contains(&c.len()) && c.iter().all(|c| !c.trim().is_empty()));
    let choices = choices.ok_or_else(|| ("choices".to_owned(), format!("2 to {CHOICES_MAX} texts")))?;
    let labels = listed.get("label").and_then(texts).unwrap_or_default();
    let answer = field(&["gold", "answer", "label", "answerKey"])?;
    let gold = gold(answer, &labels, &choices).filter(|&gold| gold < choices.len());
    let gold = gold.ok_or_else(|| {
        (
            "an answer that is no choice".to_owned(),
            "an index, a label, a letter or a choice's text".to_owned(),
        )
    })?;
    Ok(Question { context: context.to_owned(), choices, gold })
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| Some(text.as_str()?.to_owned())).collect()
}

fn gold(answer: &Value, labels: &[String], choices: &[String]) -> Option<usize> {
    if let Some(index) = answer.as_u64() {
        return usize::try_from(index).ok();
    }
    let text = answer.as_str()?;
    let is = |list: &[String]| list.iter().position(|entry| entry == text);
    let letter = || match text.as_bytes() {
        [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
        _ => None,
    };
    is(labels).or_else(|| is(choices)).or_else(letter).or_else(|| text.parse().ok())
}

/// A model's answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// Right answers by the sum of log-probabilities.
    pub acc: Task,
    /// Right answers by that sum divided by the choice's bytes.
    pub acc_norm: Task,
    /// Choices whose question lost its beginning, because both were longer than the context.
    pub n_cut: usize,
}

/// How texts become a model's tokens.
pub struct Encoder<'a, E> {
    /// Ids of a text, without BOS.
    pub encode: &'a mut dyn FnMut(&str) -> Result<Vec<u32>, E>,
    /// What stands before each text, where the model adds it.
    pub bos: Option<u32>,
    /// Tokens that the model can read at once.
    pub ctx: usize,
}

/// Puts the questions called `name`, of which there must be one, to `model`; after each, `done` hears how many it answered.
///
/// # Errors
/// Those of the model, the encoder and `done`, and where question and choice together are a single token.
pub fn answer<P: Predict>(
    name: &str,
    questions: &[Question],
    encoder: &mut Encoder<'_, P::Error>,
    model: &mut P,
    mut done: impl FnMut(usize) -> Result<(), P::Error>,
) -> Result<Answers, P::Error>
where
    P::Error: From<Error>,
{
    let (mut right, mut right_norm, mut n_cut) = (Vec::new(), Vec::new(), 0);
    for (i, question) in questions.iter().enumerate() {
        let mut sums = Vec::with_capacity(question.choices.len());
        for choice in &question.choices {
            let (ids, first, cut) = tokens(&question.context, choice, encoder)?;
            n_cut += usize::from(cut);
            let (mut sum, mut wanted) = (0.0, ids[first..].iter());
            model.predict(&ids[..ids.len() - 1], first - 1, &mut |logits| {
                sum -= wanted.next().map_or(0.0, |&id| nll(logits, id));
                Ok(())
            })?;
            sums.push(sum);
        }
        let per_byte: Vec<f64> =
            sums.iter().zip(&question.choices).map(|(sum, choice)| sum / choice.len() as f64).collect();
        right.push(best(&sums) == Some(question.gold));
        right_norm.push(best(&per_byte) == Some(question.gold));
        done(i + 1)?;
    }
    let task = |what: &str, right| Task::new(format!("{name} {what}"), right);
    Ok(Answers { acc: task("acc", right), acc_norm: task("acc_norm", right_norm), n_cut })
}

/// The ids of question and choice, where the choice's begin, and whether the beginning was cut off.
fn tokens<E: From<Error>>(
    context: &str,
    choice: &str,
    encoder: &mut Encoder<'_, E>,
) -> Result<(Vec<u32>, usize, bool), E> {
    let context = context.trim_end();
    let n_context = (encoder.encode)(context)?.len();
    let mut ids: Vec<u32> = encoder.bos.into_iter().collect();
    let n_before = ids.len() + n_context;
    ids.extend((encoder.encode)(&format!("{context} {}", choice.trim_start()))?);
    if ids.len() < 2 {
        return Err(Error::malformed("question and choice", "a single token", "two at least").into());
    }
    // A tokenizer may make one token of where they meet; the last token is the choice's in any case.
    let first = n_before.clamp(1, ids.len() - 1);
    let n_over = (ids.len() - 1).saturating_sub(encoder.ctx);
    ids.drain(..n_over);
    Ok((ids, first.saturating_sub(n_over).max(1), n_over > 0))
}

/// The largest number's index, the first of equals; none where one is no number.
fn best(sums: &[f64]) -> Option<usize> {
    if sums.iter().any(|s| s.is_nan()) {
        return None;
    }
    (0..sums.len()).rev().max_by(|&a, &b| sums[a].total_cmp(&sums[b]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_read() {
        for line in [
            r#"{"query": "Q", "choices": ["x", "y"], "gold": 1}"#,
            r#"{"question": "Q", "choices": ["x", "y"], "answer": "B"}"#,
            r#"{"question": "Q", "choices": ["x", "y"], "answer": "y"}"#,
            r#"{"ctx": "Q", "endings": ["x", "y"], "label": "1", "ind": 24}"#,
            r#"{"id": "7", "question": "Q", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}"#,
        ] {
            let want = Question { context: "Q".into(), choices: vec!["x".into(), "y".into()], gold: 1 };
            assert_eq!(parse(&format!("\n{line}\n\n")).unwrap(), [want], "{line}");
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        let good = r#"{"query": "Q", "choices": ["x", "y"], "gold": 1}"#;
        for (line, said) in [
            ("{", "no JSON"),
            ("[]", "query or question"),
            (r#"{"query": " ", "choices": ["x", "y"], "gold": 1}"#, "without text"),
            (r#"{"query": "Q", "choices": ["x"], "gold": 0}"#, "2 to 64 texts"),
            (r#"{"query": "Q", "choices": ["x", ""], "gold": 0}"#, "2 to 64 texts"),
            (r#"{"query": "Q", "choices": ["x", 3], "gold": 0}"#, "2 to 64 texts"),
            (r#"{"query": "Q", "choices": ["x", "y"]}"#, "gold or answer"),
            (r#"{"query": "Q", "choices": ["x", "y"], "gold": 2}"#, "no choice"),
            (r#"{"query": "Q", "choices": ["x", "y"], "gold": -1}"#, "no choice"),
            (r#"{"query": "Q", "choices": ["x", "y"], "gold": "C"}"#, "no choice"),
        ] {
            let error = parse(&format!("{good}\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2: ") && error.contains(said), "{error}");
            assert!(!error.contains('\n'), "{error:?}");
        }
        assert!(parse("\n\n").unwrap_err().to_string().contains("none"));
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).unwrap_err().to_string().contains("no JSON"));
    }

    /// Tokens are bytes, and each byte's likelihood is its own, whatever stands before it.
    struct Letters(Vec<(usize, usize)>);

    impl Predict for Letters {
        type Error = Error;

        fn predict(
            &mut self,
            tokens: &[u32],
            first: usize,
            row: &mut dyn FnMut(&[f32]) -> Result<(), Error>,
        ) -> Result<(), Error> {
            self.0.push((tokens.len(), first));
            let mut logits = vec![0.0; 256];
            logits[usize::from(b'b')] = 1.0;
            logits[usize::from(b'z')] = -3.0;
            (first..tokens.len()).try_for_each(|_| row(&logits))
        }
    }

    fn ask(questions: &[Question], ctx: usize) -> (Answers, Vec<(usize, usize)>) {
        let mut model = Letters(Vec::new());
        let mut encode = |text: &str| Ok(text.bytes().map(u32::from).collect());
        let mut encoder = Encoder { encode: &mut encode, bos: Some(1), ctx };
        (answer("t", questions, &mut encoder, &mut model, |_| Ok(())).unwrap(), model.0)
    }

    fn asked(choices: &[&str], gold: usize) -> Question {
        Question { context: "What?".into(), choices: choices.iter().map(|c| c.to_string()).collect(), gold }
    }

    #[test]
    fn the_likeliest_choice_is_the_answer() {
        // "bbb" is likelier by the byte, "a" in all.
        let (answers, _) = ask(&[asked(&["a", "bbb"], 0), asked(&["b", "z"], 1), asked(&["a", "a"], 0)], 100);
        assert_eq!(answers.acc.right, [true, false, true]);
        assert_eq!(answers.acc_norm.right, [false, false, true]);
        assert_eq!((answers.acc.name.as_str(), answers.n_cut), ("t acc", 0));
    }

    #[test]
    fn the_choice_alone_is_scored_with_its_space() {
        let (_, calls) = ask(&[asked(&["ab", "c"], 0)], 100);
        // BOS, 5 of the question, the space and the choice less its last byte; scored from behind the question.
        assert_eq!(calls, [(8, 5), (7, 5)]);
        let (answers, calls) = ask(&[asked(&["ab", "c"], 0)], 4);
        assert_eq!((calls, answers.n_cut), (vec![(4, 1), (4, 2)], 2));
    }
}
