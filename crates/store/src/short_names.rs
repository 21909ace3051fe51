//! The shelf of short names: what people type for models that many use.
//!
//! One line each. A name is `family:size`; the family alone means its first line, and `name:QUANT` another quantisation.
//! The licence is what the model's owner states; it is said when the model is fetched.

use crate::reference::{HubRef, Repo, Want, parse_want};

/// One short name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShortName {
    /// What is typed.
    pub name: &'static str,
    /// The repository on the hub.
    pub repo: &'static str,
    /// The quantisation that is fetched unless another is asked for.
    pub quant: &'static str,
    /// The owner's terms.
    pub license: &'static str,
}

const fn model(
    name: &'static str,
    repo: &'static str,
    quant: &'static str,
    license: &'static str,
) -> ShortName {
    ShortName { name, repo, quant, license }
}

const APACHE: &str = "Apache-2.0";
const MIT: &str = "MIT";
const GEMMA: &str = "Gemma Terms of Use";
const LLAMA31: &str = "Llama 3.1 Community License";
const LLAMA32: &str = "Llama 3.2 Community License";
const QWEN_RESEARCH: &str = "Qwen Research License (not for commercial use)";
const LFM: &str = "LFM Open License v1.0";

/// Every short name, by family; a family's first line is what its bare name means.
#[rustfmt::skip]
pub static SHORT_NAMES: &[ShortName] = &[
    model("qwen3:0.6b", "Qwen/Qwen3-0.6B-GGUF", "Q8_0", APACHE),
    model("qwen3:1.7b", "Qwen/Qwen3-1.7B-GGUF", "Q8_0", APACHE),
    model("qwen3:4b", "Qwen/Qwen3-4B-GGUF", "Q4_K_M", APACHE),
    model("qwen3:8b", "Qwen/Qwen3-8B-GGUF", "Q4_K_M", APACHE),
    model("qwen3:14b", "Qwen/Qwen3-14B-GGUF", "Q4_K_M", APACHE),
    model("qwen3:32b", "Qwen/Qwen3-32B-GGUF", "Q4_K_M", APACHE),
    model("qwen3:30b-a3b", "Qwen/Qwen3-30B-A3B-GGUF", "Q4_K_M", APACHE),
    model("qwen3-2507:4b", "unsloth/Qwen3-4B-Instruct-2507-GGUF", "Q4_K_M", APACHE),
    model("qwen3-2507:30b-a3b", "unsloth/Qwen3-30B-A3B-Instruct-2507-GGUF", "Q4_K_M", APACHE),
    model("qwen2.5:0.5b", "Qwen/Qwen2.5-0.5B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("qwen2.5:1.5b", "Qwen/Qwen2.5-1.5B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("qwen2.5:3b", "Qwen/Qwen2.5-3B-Instruct-GGUF", "Q4_K_M", QWEN_RESEARCH),
    model("qwen2.5:7b", "Qwen/Qwen2.5-7B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("qwen2.5-coder:0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("qwen2.5-coder:1.5b", "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("qwen2.5-coder:3b", "Qwen/Qwen2.5-Coder-3B-Instruct-GGUF", "Q4_K_M", QWEN_RESEARCH),
    model("qwen2.5-coder:7b", "Qwen/Qwen2.5-Coder-7B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("qwen2:0.5b", "Qwen/Qwen2-0.5B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("qwq:32b", "Qwen/QwQ-32B-GGUF", "Q4_K_M", APACHE),
    model("llama3.2:1b", "bartowski/Llama-3.2-1B-Instruct-GGUF", "Q4_K_M", LLAMA32),
    model("llama3.2:3b", "bartowski/Llama-3.2-3B-Instruct-GGUF", "Q4_K_M", LLAMA32),
    model("llama3.1:8b", "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "Q4_K_M", LLAMA31),
    model("gemma3:270m", "ggml-org/gemma-3-270m-it-GGUF", "Q8_0", GEMMA),
    model("gemma3:1b", "ggml-org/gemma-3-1b-it-GGUF", "Q4_K_M", GEMMA),
    model("gemma3:4b", "ggml-org/gemma-3-4b-it-GGUF", "Q4_K_M", GEMMA),
    model("gemma3:12b", "ggml-org/gemma-3-12b-it-GGUF", "Q4_K_M", GEMMA),
    model("gemma3:27b", "ggml-org/gemma-3-27b-it-GGUF", "Q4_K_M", GEMMA),
    model("gemma3n:e2b", "unsloth/gemma-3n-E2B-it-GGUF", "Q4_K_M", GEMMA),
    model("gemma2:2b", "bartowski/gemma-2-2b-it-GGUF", "Q4_K_M", GEMMA),
    model("gemma2:9b", "bartowski/gemma-2-9b-it-GGUF", "Q4_K_M", GEMMA),
    model("smollm2:135m", "bartowski/SmolLM2-135M-Instruct-GGUF", "Q4_K_M", APACHE),
    model("smollm2:360m", "bartowski/SmolLM2-360M-Instruct-GGUF", "Q4_K_M", APACHE),
    model("smollm2:1.7b", "bartowski/SmolLM2-1.7B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("smollm3:3b", "ggml-org/SmolLM3-3B-GGUF", "Q4_K_M", APACHE),
    model("phi4-mini:3.8b", "unsloth/Phi-4-mini-instruct-GGUF", "Q4_K_M", MIT),
    model("phi4:14b", "bartowski/phi-4-GGUF", "Q4_K_M", MIT),
    model("phi3.5:3.8b", "bartowski/Phi-3.5-mini-instruct-GGUF", "Q4_K_M", MIT),
    model("phi3:3.8b", "microsoft/Phi-3-mini-4k-instruct-gguf", "Q4", MIT),
    model("mistral:7b", "bartowski/Mistral-7B-Instruct-v0.3-GGUF", "Q4_K_M", APACHE),
    model("mistral-nemo:12b", "bartowski/Mistral-Nemo-Instruct-2407-GGUF", "Q4_K_M", APACHE),
    model("tinyllama:1.1b", "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF", "Q4_K_M", APACHE),
    model("deepseek-r1:1.5b", "bartowski/DeepSeek-R1-Distill-Qwen-1.5B-GGUF", "Q4_K_M", MIT),
    model("deepseek-r1:7b", "bartowski/DeepSeek-R1-Distill-Qwen-7B-GGUF", "Q4_K_M", MIT),
    model("deepseek-r1:8b", "bartowski/DeepSeek-R1-Distill-Llama-8B-GGUF", "Q4_K_M", "MIT and Llama 3.1 Community License"),
    model("gpt-oss:20b", "ggml-org/gpt-oss-20b-GGUF", "MXFP4", APACHE),
    model("granite4:micro", "ibm-granite/granite-4.0-micro-GGUF", "Q4_K_M", APACHE),
    model("granite3.3:2b", "ibm-granite/granite-3.3-2b-instruct-GGUF", "Q4_K_M", APACHE),
    model("granite3.3:8b", "ibm-granite/granite-3.3-8b-instruct-GGUF", "Q4_K_M", APACHE),
    model("lfm2:350m", "LiquidAI/LFM2-350M-GGUF", "Q4_K_M", LFM),
    model("lfm2:700m", "LiquidAI/LFM2-700M-GGUF", "Q4_K_M", LFM),
    model("lfm2:1.2b", "LiquidAI/LFM2-1.2B-GGUF", "Q4_K_M", LFM),
    model("olmo2:1b", "allenai/OLMo-2-0425-1B-Instruct-GGUF", "Q4_K_M", APACHE),
    model("falcon3:1b", "tiiuae/Falcon3-1B-Instruct-GGUF", "Q4_K_M", "TII Falcon License 2.0"),
    model("yi1.5:6b", "bartowski/Yi-1.5-6B-Chat-GGUF", "Q4_K_M", APACHE),
];

impl ShortName {
    /// `family` of `family:size`.
    pub fn family(&self) -> &'static str {
        self.name.split(':').next().unwrap_or_default()
    }

    /// The files it stands for.
    pub fn hub_ref(&self) -> HubRef {
        let repo = Repo::parse(self.repo).expect("a test checks every line");
        HubRef { repo, revision: "main".to_owned(), want: Want::Quant(self.quant.to_owned()) }
    }
}

/// What `text` stands for, if it is a short name: `qwen3:0.6b`, `qwen3`, or with a quantisation behind it.
pub fn find(text: &str) -> Option<HubRef> {
    let named = |text: &str| SHORT_NAMES.iter().find(|s| s.name.eq_ignore_ascii_case(text));
    let family = |text: &str| SHORT_NAMES.iter().find(|s| s.family().eq_ignore_ascii_case(text));
    if let Some(short) = named(text).or_else(|| family(text)) {
        return Some(short.hub_ref());
    }
    let (name, quant) = text.rsplit_once(':')?;
    Some(HubRef { want: parse_want(quant)?, ..named(name)?.hub_ref() })
}

/// The short name of a repository's quantisation.
pub fn of(repo: &Repo, quant: Option<&str>) -> Option<&'static ShortName> {
    SHORT_NAMES.iter().find(|s| s.repo == repo.as_str() && Some(s.quant) == quant)
}

/// The terms of a repository that the shelf knows.
pub fn license(repo: &Repo) -> Option<&'static str> {
    SHORT_NAMES.iter().find(|s| s.repo == repo.as_str()).map(|s| s.license)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_well_formed_and_found_by_its_name_alone() {
        assert!(SHORT_NAMES.len() >= 40);
        for (i, short) in SHORT_NAMES.iter().enumerate() {
            assert!(Repo::parse(short.repo).is_some(), "{}", short.repo);
            assert!(short.name.split(':').count() == 2, "{}: family:size", short.name);
            assert_eq!(short.name, short.name.to_lowercase());
            assert_eq!(find(short.name), Some(short.hub_ref()));
            assert_eq!(of(&short.hub_ref().repo, Some(short.quant)), Some(short), "{} twice?", short.repo);
            assert!(SHORT_NAMES[..i].iter().all(|s| s.name != short.name), "{} twice", short.name);
            assert!(!short.license.is_empty());
        }
    }

    #[test]
    fn lines_of_a_family_stand_together() {
        let mut families: Vec<&str> = SHORT_NAMES.iter().map(ShortName::family).collect();
        families.dedup();
        let mut sorted = families.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(families.len(), sorted.len(), "{families:?}");
    }

    #[test]
    fn a_family_is_its_first_line_and_a_quantisation_may_follow() {
        assert_eq!(find("QWEN3").unwrap().to_string(), "Qwen/Qwen3-0.6B-GGUF:Q8_0");
        assert_eq!(find("qwen3:4b:Q6_K").unwrap().to_string(), "Qwen/Qwen3-4B-GGUF:Q6_K");
        for unknown in ["qwen4", "qwen3:", "qwen3:4b:", "", ":", "qwen3:9b"] {
            assert_eq!(find(unknown), None, "{unknown}");
        }
    }
}
