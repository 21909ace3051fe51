//! What a grammar must know of a vocabulary: the bytes of every token, as a tree.
//!
//! Made once for a model, in some hundred milliseconds for 150,000 tokens, and shared. A token is what it writes in the
//! middle of a text. Tokens that are structure (control tokens, and those that end an answer, whatever their kind) stand
//! apart under a byte that no text has, so that no grammar of text can ask for them. Tokens without a meaning, and bytes
//! that a text never has, are in no grammar.

use std::fmt;
use std::sync::Arc;

use ingle_model::token::{Kind, Tokenizer};
use llguidance::ParserFactory;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};

use super::lead::{Lead, Openers};
use super::number::Numerals;
use super::{Constraint, Grammar, Holds, Otherwise, schema};
use crate::error::{Error, Result};
use crate::output::{Beside, Calls, Demand, Format, Tool};

/// Work that patterns may take for one mask; behind that an answer ends with an error.
const MASK_FUEL: u64 = 1_000_000;

/// Stands before the name of a token that is structure; no UTF-8 text has it.
pub(super) const STRUCTURE: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

/// A vocabulary as grammars see it.
pub struct Vocabulary {
    factory: ParserFactory,
    /// Ids that end an answer; none is fine.
    ending: Vec<u32>,
    numerals: Numerals,
    openers: Openers,
}

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_tokens = self.factory.tok_env().tok_trie().vocab_size();
        f.debug_struct("Vocabulary").field("n_tokens", &n_tokens).finish_non_exhaustive()
    }
}

impl Vocabulary {
    /// Reads the tokens of `tokenizer`.
    ///
    /// # Errors
    /// [`Error::Constraint`] for a vocabulary without tokens.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self> {
        let n_vocab = tokenizer.n_vocab() as u32;
        let ending = tokenizer.ending().to_vec();
        if n_vocab == 0 {
            return Err(Error::Constraint("the model's vocabulary is empty, expected tokens".into()));
        }
        let mut words: Vec<Vec<u8>> = (0..n_vocab).map(|id| word(tokenizer, id)).collect();
        drop_bytes_that_are_tokens(tokenizer, &mut words);
        // Where nothing ends an answer, an id that is never allowed stands for it.
        let info = TokRxInfo::new(n_vocab, ending.first().copied().unwrap_or(INVALID));
        let mut trie = TokTrie::from(&info, &words);
        if !ending.is_empty() {
            trie = trie.with_eos_tokens(&ending);
        }
        let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
        let slices = SlicedBiasComputer::json_slices();
        let mut factory = ParserFactory::new(&env, InferenceCapabilities::default(), &slices)
            .map_err(|e| Error::Constraint(format!("the model's vocabulary: {e}")))?;
        factory.quiet();
        *factory.limits_mut() =
            ParserLimits { verbose_errors: false, step_lexer_fuel: MASK_FUEL, ..ParserLimits::default() };
        Ok(Self { factory, ending, numerals: Numerals::read(&words), openers: Openers::default() })
    }

    /// Looks for the tokens that thoughts of `format` begin and end with, so that no answer waits for it: some ten milliseconds
    /// for 150,000 tokens, once for a format.
    pub fn prepare_thoughts(&self, format: &Format) {
        Lead::new(self, format, None);
        format.reasoning.iter().for_each(|inside| drop(Lead::new(self, format, Some(inside))));
    }

    /// Compiles `grammar`: a constraint at the beginning of an answer.
    ///
    /// # Errors
    /// [`Error::Constraint`] with the reason when the grammar is malformed, asks something that can't be held, is too large,
    /// or nothing can satisfy it.
    pub fn compile(self: &Arc<Self>, grammar: &Grammar) -> Result<Constraint> {
        self.build(grammar.plan()?, grammar.holds(), grammar.name())
    }

    /// Compiles what an answer of `format` must be that calls `tools`, so many times, with arguments as their schemas ask.
    /// `template` is the model's chat template. Formats whose texts stand bare hold less of a text than its schema asks
    /// ([`Format::holds`]). `or` says what the answer may be otherwise.
    ///
    /// # Errors
    /// [`Error::Constraint`] when the format has no calls, there is no tool, or a schema asks something that can't be held.
    pub fn compile_calls(
        self: &Arc<Self>,
        format: &Format,
        tools: &[Tool],
        calls: Calls,
        template: &str,
        or: Otherwise<'_>,
    ) -> Result<Constraint> {
        let beside = if or == Otherwise::Text { Beside::Text } else { Beside::Nothing };
        let token = &|name: &str| self.structure(name);
        let demand = Demand { tools, calls, beside, template, token, schema: &schema::rewrite };
        let grammar = format.grammar(&demand)?.ok_or_else(|| {
            Error::Constraint(format!(
                "calls: {} tools and calls in the format {}, expected a tool and a model that calls",
                tools.len(),
                format.name
            ))
        })?;
        let grammar = match or {
            Otherwise::Nothing | Otherwise::Text => grammar,
            Otherwise::Form(form) => {
                let calls = grammar.replacen("start:", "demanded:", 1);
                format!("start: demanded | other\nother: %json {}\n{calls}", form.json_schema()?)
            }
        };
        // A text may have any numbers, and quotes that nobody closes.
        let json = format.quotes && beside == Beside::Nothing;
        self.build(TopLevelGrammar::from_lark(grammar), Holds { json, calls: true, bounds: false }, "calls")
    }

    fn build(self: &Arc<Self>, grammar: TopLevelGrammar, holds: Holds, name: &str) -> Result<Constraint> {
        let refused = |e: &dyn fmt::Display| Error::Constraint(format!("{name}: {}", one_line(e)));
        let holds = Holds { bounds: holds.json && schema::has_bounds(&grammar), ..holds };
        let parser = self.factory.create_parser(grammar).map_err(|e| refused(&e))?;
        Constraint::new(parser, self.clone(), holds).map_err(|e| refused(&e))
    }

    /// The token that is structure and called so, if there is one.
    fn structure(&self, name: &str) -> Option<u32> {
        self.factory.tok_env().tok_trie().token_id(&[&[STRUCTURE], name.as_bytes()].concat())
    }

    /// The bytes of token `id`; of structure, with a marker in front.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        self.factory.tok_env().tok_trie().token(id)
    }

    /// Number of tokens.
    pub fn n_vocab(&self) -> usize {
        self.factory.tok_env().tok_trie().vocab_size()
    }

    /// Tokens that can make a number too large.
    pub(super) fn numerals(&self) -> &Numerals {
        &self.numerals
    }

    /// How thoughts are known to begin and end in it.
    pub(super) fn openers(&self) -> &Openers {
        &self.openers
    }

    /// Ids that end an answer.
    pub(super) fn ending(&self) -> &[u32] {
        &self.ending
    }
}

/// An id outside of every vocabulary.
const INVALID: u32 = u32::MAX;

/// What token `id` is for a grammar; nothing where no grammar may use it.
fn word(tokenizer: &Tokenizer, id: u32) -> Vec<u8> {
    let name = tokenizer.token_name(id).unwrap_or_default();
    let structure = matches!(tokenizer.kind(id), Some(Kind::Control | Kind::Unknown)) || tokenizer.is_eog(id);
    match tokenizer.kind(id) {
        _ if structure => [&[STRUCTURE], name].concat(),
        Some(Kind::Unused) | None => Vec::new(),
        Some(_) if name.contains(&STRUCTURE) => Vec::new(),
        Some(_) => name.to_vec(),
    }
}

/// A byte token is for text that no other token writes: where a normal token writes the same, models don't use it.
fn drop_bytes_that_are_tokens(tokenizer: &Tokenizer, words: &mut [Vec<u8>]) {
    let is_byte = |id: usize| tokenizer.kind(id as u32) == Some(Kind::Byte);
    let mut written = [false; 256];
    for (id, word) in words.iter().enumerate() {
        if let (&[byte], false) = (word.as_slice(), is_byte(id)) {
            written[usize::from(byte)] = true;
        }
    }
    for (id, word) in words.iter_mut().enumerate() {
        if word.first().is_some_and(|&byte| written[usize::from(byte)]) && is_byte(id) {
            word.clear();
        }
    }
}

/// What the library under us says of its limits, and what that means to who wrote the grammar.
const LIMITS: [(&str, &str); 6] = [
    (
        "Unable to determine if regex is empty",
        "pattern, format, minLength and maxLength of one text are too complex together",
    ),
    ("fuel exhausted when checking relevance", "a pattern, format or multipleOf is too complex"),
    ("initial lexer configuration", "its patterns and numbers are too many or too complex"),
    ("too many expressions constructed", "its patterns are too complex together at this place"),
    ("circular references with sibling keys", "$ref leads in a circle to a place with something beside it"),
    ("schema too large", "$ref, allOf, anyOf and oneOf make it too large"),
];

/// What an error says, without the text it quotes and the state that follows.
pub(super) fn one_line(e: &dyn fmt::Display) -> String {
    let text = e.to_string();
    if let Some((_, meaning)) = LIMITS.iter().find(|(said, _)| text.contains(said)) {
        return (*meaning).to_owned();
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('<'));
    let first = lines.next().unwrap_or_default();
    // Patterns are quoted with a mark under the place; the reason comes last.
    let reason = lines.clone().find_map(|line| line.strip_prefix("error: ")).or_else(|| lines.next());
    reason.map_or_else(
        || first.to_owned(),
        |reason| format!("{}, {reason}", first.trim_end_matches([':', ' '])),
    )
}
