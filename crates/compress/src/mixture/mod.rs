//! The shelf of mixtures: which block format each tensor of a model gets.
//!
//! A mixture is data: a format for most tensors, one for the output matrix, and rules for tensors that deserve more bits,
//! the first that fits counting. Names, numbers and rules are llama.cpp's (`src/llama-quant.cpp`), so a file made here has
//! the same format in every tensor as one made there. What holds for all mixtures (the output matrix, models with eight
//! experts, rows that hold no whole blocks) is in [`crate::plan`]. To add a mixture write its descriptor and one line in
//! [`MIXTURES`].

mod float;
mod fp4;
mod iq4;
mod legacy;
mod low;
mod q2_k;
mod q3_k;
mod q4_k;
mod q5_k;

use ingle_kernel::quant::{self, Format};
use ingle_model::Error;

use crate::role::Role;

/// A recipe for a whole file.
#[derive(Debug)]
pub struct Mixture {
    /// As llama-quantize calls it: `Q4_K_M`.
    pub name: &'static str,
    /// Other names it has.
    pub aliases: &'static [&'static str],
    /// `general.file_type` of such a file.
    pub file_type: u32,
    /// Name of the format that most tensors get.
    pub format: &'static str,
    /// Name of the format of the output matrix, or of the embeddings where they are the output too.
    pub output: &'static str,
    /// Exceptions, in the order they are tried.
    pub rules: &'static [Rule],
    /// For whom, in one line.
    pub about: &'static str,
}

/// Tensors in one role get another format where all facts hold.
#[derive(Debug)]
pub struct Rule {
    /// Whom it is for; `None` for all but the output.
    pub role: Option<Role>,
    /// What must hold.
    pub when: &'static [Fact],
    /// Name of the format.
    pub format: &'static str,
}

/// What a rule may ask of a tensor's place in the model. Tensors of a role are counted in the order of their layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// Among the first N.
    First(usize),
    /// Among the first N-th part of the layers.
    FirstPart(usize),
    /// In the first or the last eighth of the layers, or each third between.
    MoreBits,
    /// Four or more heads share keys and values.
    SharedValues,
    /// The model has eight experts.
    EightExperts,
    /// It has another number of them, or none.
    NotEightExperts,
    /// The model is a Falcon.
    Falcon,
    /// It is not.
    NotFalcon,
    /// Importances are given.
    Imatrix,
    /// They are not.
    NoImatrix,
    /// The tensor is one matrix, not a stack of experts.
    OneMatrix,
}

impl Fact {
    /// The fact in words, for the sentence that says why a tensor has its format.
    pub fn words(self) -> String {
        match self {
            Self::First(n) => format!("among the first {n}"),
            Self::FirstPart(n) => format!("in the first 1/{n} of the layers"),
            Self::MoreBits => "in a layer that gets more bits".into(),
            Self::SharedValues => "4 or more heads share keys and values".into(),
            Self::EightExperts => "8 experts".into(),
            Self::NotEightExperts => "not 8 experts".into(),
            Self::Falcon => "a Falcon".into(),
            Self::NotFalcon => "not a Falcon".into(),
            Self::Imatrix => "importances given".into(),
            Self::NoImatrix => "no importances given".into(),
            Self::OneMatrix => "not a stack of experts".into(),
        }
    }
}

const fn rule(role: Role, when: &'static [Fact], format: &'static str) -> Rule {
    Rule { role: Some(role), when, format }
}

/// Every mixture, from large to small.
pub static MIXTURES: &[&Mixture] = &[
    &float::F32,
    &float::F16,
    &float::BF16,
    &legacy::Q8_0,
    &q5_k::Q6_K,
    &legacy::Q5_1,
    &q5_k::Q5_K_M,
    &q5_k::Q5_K_S,
    &legacy::Q5_0,
    &legacy::Q4_1,
    &q4_k::Q4_K_M,
    &q4_k::Q4_K_S,
    &legacy::Q4_0,
    &iq4::IQ4_NL,
    &iq4::IQ4_XS,
    &fp4::NVFP4,
    &fp4::MXFP4_MOE,
    &q3_k::Q3_K_L,
    &q3_k::Q3_K_M,
    &q3_k::Q3_K_S,
    &q2_k::Q2_K,
    &q2_k::Q2_K_S,
    &low::Q2_0,
    &low::TQ2_0,
    &low::TQ1_0,
    &low::Q1_0,
];

/// Mixtures of formats that this build reads and does not write.
const READ_ONLY: [&str; 10] =
    ["IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M"];

impl Mixture {
    /// The format that most tensors get.
    pub fn base(&self) -> &'static Format {
        named(self.format)
    }
}

/// The format that the shelf calls `name`; a test holds that all names on it exist.
pub(crate) fn named(name: &str) -> &'static Format {
    quant::by_name(name).expect("the shelf names formats there are")
}

/// The mixture called `name`, or with that file type number, without regard to case.
///
/// # Errors
/// A sentence that lists the shelf when there is none.
pub fn by_name(name: &str) -> Result<&'static Mixture, Error> {
    let is = |other: &&str| other.eq_ignore_ascii_case(name);
    let fits = |m: &&Mixture| is(&m.name) || m.aliases.iter().any(is) || m.file_type.to_string() == name;
    if let Some(mixture) = MIXTURES.iter().copied().find(fits) {
        return Ok(mixture);
    }
    let found = if READ_ONLY.iter().any(is) {
        format!("{name}, made of blocks that are read but not written,")
    } else {
        format!("{name:?}")
    };
    Err(Error::unsupported("type", found, MIXTURES.iter().map(|m| m.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_distinct_and_found() {
        for (i, m) in MIXTURES.iter().enumerate() {
            for name in m.aliases.iter().chain([&m.name]) {
                assert!(std::ptr::eq(by_name(&name.to_lowercase()).unwrap(), *m), "{name}");
            }
            assert!(std::ptr::eq(by_name(&m.file_type.to_string()).unwrap(), *m), "{}", m.name);
            assert!(MIXTURES[..i].iter().all(|o| o.file_type != m.file_type), "{}", m.name);
        }
    }

    #[test]
    fn every_format_on_the_shelf_can_be_written() {
        for m in MIXTURES {
            let of_rules = m.rules.iter().map(|r| r.format);
            for name in of_rules.chain([m.format, m.output]) {
                let format = quant::by_name(name).unwrap_or_else(|| panic!("{}: {name}", m.name));
                assert!(format.quantize.is_some() && format.name == name, "{}: {name}", m.name);
            }
        }
    }

    #[test]
    fn what_is_read_only_is_said_to_be() {
        for name in READ_ONLY {
            let said = by_name(name).unwrap_err().to_string();
            assert!(said.contains("read but not written") && said.contains("IQ4_XS"), "{said}");
        }
        assert!(by_name("Q9").unwrap_err().to_string().contains("Q4_K_M"));
    }
}
