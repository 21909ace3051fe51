//! Which format each tensor gets: a pure function of names, shapes and a mixture.
//!
//! [`plan`] walks the tensors by layer and then by name, as llama.cpp does, because some rules count. For each it asks, in
//! this order: is the tensor quantised at all ([`crate::role::kept`]), did the caller ask for a format, is it the output
//! matrix, which rule of the mixture fits; and at last whether the rows hold whole blocks of the answer. It opens nothing
//! and encodes nothing, so every policy here is tested without files.
//!
//! Two things differ from llama.cpp on purpose: a format that the caller asks for also applies to F16, BF16 and F32 files,
//! and q1_0 and nvfp4 have a format to fall back to where llama.cpp gives up.

use std::fmt;

use ingle_kernel::quant::{self, Format};
use ingle_model::Error;
use ingle_model::file::{Contents, Value};
use regex_automata::meta::Regex;
use regex_automata::util::syntax;

use crate::mixture::{Fact, Mixture, Rule, named};
use crate::role::{Role, kept, layer_of};

/// What the plan must know of a tensor.
#[derive(Debug, Clone)]
pub struct TensorInfo {
    /// GGUF name.
    pub name: String,
    /// Sizes, innermost first.
    pub shape: Vec<usize>,
    /// The format it has.
    pub format: &'static Format,
}

/// What the plan must know of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// `general.architecture`, or empty.
    pub family: String,
    /// Layers, those for prediction of several tokens included.
    pub n_layers: usize,
    /// Experts of a layer, or 0.
    pub n_experts: usize,
    /// Heads of the first layer.
    pub n_heads: usize,
    /// Heads of keys and values of the first layer.
    pub n_kv_heads: usize,
}

impl ModelInfo {
    /// From a file's metadata; what is missing there is taken from the names of its tensors or counts as none.
    pub fn read(file: &Contents) -> Result<Self, Error> {
        let family = file.str("general.architecture")?.unwrap_or_default().to_owned();
        let count = |key: &str| -> Result<Option<usize>, Error> {
            let key = format!("{family}.{key}");
            let n = match file.value(&key) {
                Some(Value::Array { .. }) => {
                    file.ints(&key)?.and_then(|v| v.first().copied()).map(|v| u64::try_from(v).unwrap_or(0))
                }
                _ => file.uint(&key)?,
            };
            // No real model is near; what is beyond counts as the most.
            Ok(n.map(|n| n.min(1 << 20) as usize))
        };
        let layers_named =
            file.tensors().iter().filter_map(|t| layer_of(&t.name)).max().map_or(0, |n| n.min(1 << 20) + 1);
        let n_heads = count("attention.head_count")?.unwrap_or(0);
        Ok(Self {
            n_layers: count("block_count")?.unwrap_or(layers_named),
            n_experts: count("expert_count")?.unwrap_or(0),
            n_heads,
            n_kv_heads: count("attention.head_count_kv")?.unwrap_or(n_heads),
            family,
        })
    }

    /// Whether this is one of the models of 70 billion parameters, by the layers that no other size of its family has.
    fn is_70b(&self) -> bool {
        const SIZES: [(&str, usize); 5] =
            [("llama", 80), ("deci", 80), ("olmo", 80), ("qwen2", 80), ("jais2", 68)];
        SIZES.contains(&(self.family.as_str(), self.n_layers))
            && (self.family != "llama" || self.n_heads != self.n_kv_heads)
    }
}

/// What the caller asks for beside the mixture.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The mixture's format for everything, no rules.
    pub pure: bool,
    /// `output.weight` stays as it is.
    pub leave_output: bool,
    /// Format of the output matrix, and of embeddings that are the output too.
    pub output: Option<&'static Format>,
    /// Format of the token embeddings.
    pub token_embedding: Option<&'static Format>,
    /// Formats by pattern; the first that fits counts.
    pub overrides: Vec<Override>,
    /// Importances will be given to the encoders.
    pub has_imatrix: bool,
}

/// A format for the tensors whose names a pattern finds.
#[derive(Debug, Clone)]
pub struct Override {
    pattern: String,
    regex: Regex,
    format: &'static Format,
}

impl Override {
    /// From `PATTERN=FORMAT`: a regular expression, found anywhere in the name without regard to case.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (pattern, format) = text
            .rsplit_once('=')
            .filter(|(pattern, _)| !pattern.is_empty())
            .ok_or_else(|| Error::Input(format!("{text:?}: expected PATTERN=FORMAT, such as attn_v=q6_K")))?;
        let regex = Regex::builder()
            .syntax(syntax::Config::new().case_insensitive(true))
            .build(pattern)
            .map_err(|e| {
                let why = e.syntax_error().map_or(e.to_string(), ToString::to_string);
                // Above the reason is the pattern, with a mark where it is.
                let why = why.lines().next_back().unwrap_or_default().trim_start_matches("error: ");
                Error::Input(format!("{pattern:?}: {why}, expected a regular expression"))
            })?;
        Ok(Self { pattern: pattern.to_owned(), regex, format: format_named(format)? })
    }
}

/// The format called `name`, if it can be written.
pub fn format_named(name: &str) -> Result<&'static Format, Error> {
    let found = quant::by_name(name).filter(|f| f.quantize.is_some());
    found.ok_or_else(|| {
        let writable = quant::FORMATS.iter().filter(|f| f.quantize.is_some()).map(|f| f.name);
        let what = if quant::by_name(name).is_some() {
            "which is read but not written,"
        } else {
            "as a tensor's format"
        };
        Error::unsupported("format", format!("{name}, {what}"), writable)
    })
}

/// The format of one tensor, and why.
#[derive(Debug, Clone)]
pub struct Choice {
    /// What it gets.
    pub format: &'static Format,
    /// Why that.
    pub why: Why,
    /// What it would have got if its rows held whole blocks of it.
    pub instead_of: Option<&'static Format>,
}

/// Why a tensor gets its format.
#[derive(Debug, Clone)]
pub enum Why {
    /// It is never quantised.
    Kept(&'static str),
    /// The mixture's format.
    Mixture,
    /// A rule of the mixture.
    Rule(&'static Rule),
    /// It is the output matrix.
    Output,
    /// It is the embeddings and the output matrix in one.
    TiedOutput,
    /// What holds for all mixtures.
    Always(&'static str),
    /// The caller asked for it.
    Asked,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept(what) => write!(f, "kept: {what}"),
            Self::Mixture => f.write_str("the mixture's format"),
            Self::Rule(rule) => {
                f.write_str("a rule of the mixture")?;
                let words: Vec<String> = rule.when.iter().map(|fact| fact.words()).collect();
                if words.is_empty() { Ok(()) } else { write!(f, ": {}", words.join(", ")) }
            }
            Self::Output => f.write_str("the output matrix"),
            Self::TiedOutput => f.write_str("embeddings that are the output matrix too"),
            Self::Always(what) => f.write_str(what),
            Self::Asked => f.write_str("as asked"),
        }
    }
}

/// A format for every tensor.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One choice per tensor, in the order the tensors were given.
    pub choices: Vec<Choice>,
    /// Patterns that found no tensor.
    pub unused: Vec<String>,
}

/// Where a format goes when rows hold no whole blocks of it; what is not here, or fits no better, becomes f16.
const FALLBACKS: [(&str, &str); 11] = [
    ("iq4_xs", "iq4_nl"),
    ("q2_0", "q4_0"),
    ("q2_K", "q4_0"),
    ("q3_K", "q4_0"),
    ("tq1_0", "q4_0"),
    ("tq2_0", "q4_0"),
    ("q4_K", "q5_0"),
    ("q5_K", "q5_1"),
    ("q6_K", "q8_0"),
    ("nvfp4", "mxfp4"),
    ("q1_0", "q4_0"),
];

/// Decides the format of each of `tensors`.
///
/// # Errors
/// When a layer's number is not below the model's number of layers in a model with experts, whose layers are not counted.
pub fn plan(
    tensors: &[TensorInfo],
    model: &ModelInfo,
    mixture: &'static Mixture,
    options: &Options,
) -> Result<Plan, Error> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| {
        let key = |i: usize| (layer_of(&tensors[i].name), &tensors[i].name);
        key(a).cmp(&key(b))
    });
    let n_of = |role| tensors.iter().filter(|t| Role::of(&t.name) == role).count();
    let mut planner = Planner {
        model,
        mixture,
        options,
        is_tied: n_of(Role::Output) == 0,
        n_attn_v: n_of(Role::AttnV),
        attn_v: 0,
        ffn_down: 0,
        used: vec![false; options.overrides.len()],
    };
    let mut choices: Vec<Option<Choice>> = vec![None; tensors.len()];
    for i in order {
        choices[i] = Some(planner.choose(&tensors[i])?);
    }
    let unused = options.overrides.iter().zip(&planner.used).filter(|(_, used)| !**used);
    Ok(Plan {
        choices: choices.into_iter().flatten().collect(),
        unused: unused.map(|(o, _)| o.pattern.clone()).collect(),
    })
}

struct Planner<'a> {
    model: &'a ModelInfo,
    mixture: &'static Mixture,
    options: &'a Options,
    /// No output matrix of its own: the embeddings serve.
    is_tied: bool,
    n_attn_v: usize,
    /// Tensors of a role that rules were asked about so far.
    attn_v: usize,
    ffn_down: usize,
    /// Which of the options' patterns found a tensor.
    used: Vec<bool>,
}

impl Planner<'_> {
    fn choose(&mut self, tensor: &TensorInfo) -> Result<Choice, Error> {
        let role = Role::of(&tensor.name);
        let keep = |what| Ok(Choice { format: tensor.format, why: Why::Kept(what), instead_of: None });
        if let Some(what) = kept(&tensor.name, &tensor.shape) {
            return keep(what);
        }
        if role == Role::Output && self.options.leave_output {
            return keep("as asked");
        }
        let (wanted, why) = match self.asked(&tensor.name, role) {
            Some(format) => (format, Why::Asked),
            None if self.options.pure || self.mixture.base().block == 1 => {
                (self.mixture.base(), Why::Mixture)
            }
            None => self.mixed(tensor, role)?,
        };
        let format = fitting(wanted, tensor.shape[0]);
        Ok(Choice { format, why, instead_of: (format != wanted).then_some(wanted) })
    }

    /// What the caller asked for. A pattern has less to say than the two options made for one tensor, but for tables of
    /// embeddings of each layer, which only it can name.
    fn asked(&mut self, name: &str, role: Role) -> Option<&'static Format> {
        let found = self.options.overrides.iter().position(|o| o.regex.is_match(name));
        if let Some(i) = found {
            self.used[i] = true;
        }
        let pattern = found.map(|i| self.options.overrides[i].format);
        match role {
            Role::TokenEmbedding if name == "token_embd.weight" => self.options.token_embedding.or(pattern),
            Role::TokenEmbedding => pattern.or(self.options.token_embedding),
            Role::Output => self.options.output.or(pattern),
            _ => pattern,
        }
    }

    /// What the mixture says.
    fn mixed(&mut self, tensor: &TensorInfo, role: Role) -> Result<(&'static Format, Why), Error> {
        let base = self.mixture.base();
        let tied = self.is_tied && role == Role::TokenEmbedding;
        if tied || role == Role::Output {
            let why = if tied { Why::TiedOutput } else { Why::Output };
            // A format of smaller blocks than the mixture's own, where those don't fit.
            let small = self.model.family == "falcon" || !tensor.shape[0].is_multiple_of(base.block);
            let usual = named(if small { "q8_0" } else { self.mixture.output });
            return Ok((self.options.output.unwrap_or(usual), why));
        }
        let (i, n) = match role {
            Role::AttnV => (self.attn_v, self.n_attn_v),
            Role::FfnDown => (self.layer_of_down(tensor)?, self.model.n_layers),
            _ => (0, 0),
        };
        let is_matrix = tensor.shape.get(2).is_none_or(|&n| n == 1);
        let fits = |rule: &&Rule| {
            rule.role.is_none_or(|r| r == role)
                && rule.when.iter().all(|&fact| self.holds(fact, i, n, is_matrix))
        };
        let rule = self.mixture.rules.iter().find(fits);
        let mixed = rule.map_or((base, Why::Mixture), |rule| (named(rule.format), Why::Rule(rule)));
        match role {
            Role::AttnV => self.attn_v += 1,
            Role::FfnDown => self.ffn_down += 1,
            _ => {}
        }
        Ok(self
            .always(role)
            .filter(|(_, from, _)| from.contains(&mixed.0.name) || from.is_empty())
            .map_or(mixed, |(format, _, why)| (named(format), Why::Always(why))))
    }

    /// What holds in all mixtures: a format, the formats it replaces (none: all) and why.
    fn always(&self, role: Role) -> Option<(&'static str, &'static [&'static str], &'static str)> {
        match role {
            Role::AttnV | Role::AttnK if self.model.n_experts == 8 => {
                Some(("q8_0", &[], "keys and values are small beside 8 experts"))
            }
            Role::AttnV if self.model.is_70b() => {
                Some(("q5_K", &["q3_K", "q4_K"], "values are small in a model of 70 billion"))
            }
            _ => None,
        }
    }

    /// Which layer a down projection is in: by count, or by name where a layer may have several.
    fn layer_of_down(&self, tensor: &TensorInfo) -> Result<usize, Error> {
        if self.model.n_experts <= 1 {
            return Ok(self.ffn_down);
        }
        layer_of(&tensor.name).filter(|&layer| layer < self.model.n_layers).ok_or_else(|| {
            let expected = format!("blk.N with N below {}, the number of layers", self.model.n_layers);
            Error::malformed(format!("tensor {}", tensor.name), "no such layer", expected)
        })
    }

    fn holds(&self, fact: Fact, i: usize, n: usize, is_matrix: bool) -> bool {
        match fact {
            Fact::First(k) => i < k,
            Fact::FirstPart(k) => i < n / k,
            Fact::MoreBits => i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2,
            Fact::SharedValues => {
                self.model.n_heads.checked_div(self.model.n_kv_heads).is_some_and(|gqa| gqa >= 4)
            }
            Fact::EightExperts => self.model.n_experts == 8,
            Fact::NotEightExperts => self.model.n_experts != 8,
            Fact::Falcon => self.model.family == "falcon",
            Fact::NotFalcon => self.model.family != "falcon",
            Fact::Imatrix => self.options.has_imatrix,
            Fact::NoImatrix => !self.options.has_imatrix,
            Fact::OneMatrix => is_matrix,
        }
    }
}

/// `wanted`, or where rows of `cols` values hold no whole blocks of it, what it falls back to.
pub(crate) fn fitting(wanted: &'static Format, cols: usize) -> &'static Format {
    let fits = |f: &&'static Format| cols.is_multiple_of(f.block);
    let next = || FALLBACKS.iter().find(|(from, _)| *from == wanted.name).map(|(_, to)| named(to));
    Some(wanted).filter(fits).or_else(|| next().filter(fits)).unwrap_or_else(|| named("f16"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_fall_back_to_smaller_blocks_under_the_names_they_have() {
        for (from, to) in FALLBACKS {
            let (wanted, next) = (named(from), named(to));
            assert_eq!((wanted.name, next.name), (from, to));
            assert!(next.block < wanted.block && next.quantize.is_some());
            assert_eq!(fitting(wanted, wanted.block), wanted);
            assert_eq!(fitting(wanted, next.block).name, to);
            assert_eq!(fitting(wanted, next.block + 1).name, "f16");
        }
    }
}
