//! Which files of a repository make up the model that was asked for.
//!
//! Of GGUF files one quantisation is taken, with all its parts: the one asked for, else `Q4_K_M`, else `Q8_0`, else the
//! first, as llama.cpp does, so that both programs find the same file in the shared cache. Companions (vision projectors,
//! importance matrices, draft heads) are no models. A repository without GGUF files gives its safetensors weights, the
//! JSON beside them and the tokenizer's files.

use crate::reference::Want;

/// The quantisations to take when none is asked for, best first.
const QUANTS_USUAL: [&str; 2] = ["Q4_K_M", "Q8_0"];
/// Pieces of names of files that accompany a model.
const COMPANIONS: [&str; 6] = ["mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-"];

/// Parts a model may come in.
const PARTS_MAX: u32 = 999;

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Indices into the paths given, in order; the first is what a program opens.
    pub files: Vec<usize>,
    /// The quantisation in capitals, where the name says one; `None` for safetensors.
    pub quant: Option<String>,
    /// A folder of safetensors rather than GGUF files.
    pub is_folder: bool,
}

/// Chooses among `paths`, which use `/` and are relative to the repository.
///
/// # Errors
/// What there is instead, as a piece of a sentence.
pub fn choose(paths: &[&str], want: &Want) -> Result<Choice, String> {
    let models: Vec<usize> = (0..paths.len()).filter(|&i| is_model(paths[i])).collect();
    let first = match want {
        Want::File(file) => Some(find_file(paths, file)?),
        Want::Quant(quant) => {
            Some(find_quant(paths, &models, quant).ok_or_else(|| match models.is_empty() {
                true => "it has no GGUF files, so leave the quantisation out".to_owned(),
                false => format!("it has {}", quants(paths, &models).join(", ")),
            })?)
        }
        Want::Default => {
            let usual = QUANTS_USUAL.iter().find_map(|quant| find_quant(paths, &models, quant));
            usual.or_else(|| models.iter().copied().find(|&i| is_first_part(paths[i])))
        }
    };
    match first {
        Some(first) if is_gguf(paths[first]) => {
            let quant = quant_of(paths[first]);
            Ok(Choice { files: all_parts(paths, first)?, quant, is_folder: false })
        }
        Some(first) => Ok(Choice { files: vec![first], quant: None, is_folder: false }),
        None => choose_folder(paths),
    }
}

/// Every model among `paths`, one choice each: all quantisations, and the folder if there is one.
pub fn choose_all(paths: &[&str]) -> Vec<Choice> {
    let firsts = (0..paths.len()).filter(|&i| is_model(paths[i]) && is_first_part(paths[i]));
    let mut all: Vec<Choice> = firsts
        .filter_map(|first| {
            let quant = quant_of(paths[first]);
            Some(Choice { files: all_parts(paths, first).ok()?, quant, is_folder: false })
        })
        .collect();
    if all.is_empty() {
        all.extend(choose_folder(paths));
    }
    all
}

/// The quantisation that a GGUF file's name says, in capitals.
pub fn quant_of(path: &str) -> Option<String> {
    Part::of(path)?.quant()
}

/// The names of the quantisations there are.
fn quants(paths: &[&str], models: &[usize]) -> Vec<String> {
    let mut names: Vec<String> = models.iter().filter_map(|&i| quant_of(paths[i])).collect();
    names.sort();
    names.dedup();
    names
}

fn find_file(paths: &[&str], file: &str) -> Result<usize, String> {
    let found = paths.iter().position(|p| p.eq_ignore_ascii_case(file));
    found.ok_or_else(|| format!("it has no file {file}"))
}

/// The first part of the file whose quantisation is `quant`, or whose path holds it as a word (`Q4_K_M/part-...`).
fn find_quant(paths: &[&str], models: &[usize], quant: &str) -> Option<usize> {
    let quant = quant.to_ascii_uppercase();
    let firsts = || models.iter().copied().filter(|&i| is_first_part(paths[i]));
    let is_named = |i: &usize| quant_of(paths[*i]).is_some_and(|q| q == quant);
    firsts().find(is_named).or_else(|| firsts().find(|&i| has_word(&paths[i].to_ascii_uppercase(), &quant)))
}

/// `word` stands in `text` with no letter, digit or `_` before or behind it.
fn has_word(text: &str, word: &str) -> bool {
    let is_inner = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    text.match_indices(word).any(|(at, _)| {
        let bytes = text.as_bytes();
        !is_inner(at.checked_sub(1).and_then(|i| bytes.get(i))) && !is_inner(bytes.get(at + word.len()))
    })
}

fn is_gguf(path: &str) -> bool {
    path.len() > 5 && path.to_ascii_lowercase().ends_with(".gguf")
}

fn is_model(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    is_gguf(path) && !COMPANIONS.iter().any(|c| name.contains(c))
}

fn is_first_part(path: &str) -> bool {
    Part::of(path).is_some_and(|part| part.number == 1)
}

/// A GGUF path taken apart: `PREFIX-00002-of-00005.gguf` is part 2 of 5; a whole file is part 1 of 1, and so is one whose
/// numbers can't be those of a part.
struct Part<'a> {
    prefix: &'a str,
    number: u32,
    count: u32,
}

impl<'a> Part<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let stem = is_gguf(path).then(|| &path[..path.len() - 5])?;
        Some(Self::split(stem).unwrap_or(Self { prefix: stem, number: 1, count: 1 }))
    }

    fn split(stem: &'a str) -> Option<Self> {
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (prefix, number) = rest.rsplit_once('-')?;
        let five = |t: &str| (t.len() == 5).then(|| t.parse().ok()).flatten();
        let (number, count) = (five(number)?, five(count)?);
        (1..=count).contains(&number).then_some(Self { prefix, number, count })
    }

    /// What stands behind the last `-` or `.`, in capitals, if a digit in it makes it look like a quantisation.
    fn quant(&self) -> Option<String> {
        let name = self.prefix.rsplit('/').next().unwrap_or_default();
        let word = name.rsplit(['-', '.']).next().filter(|w| w.len() < name.len())?.to_ascii_uppercase();
        let starts = ["Q", "IQ", "TQ", "F", "BF", "MXFP", "NVFP", "FP"];
        let is_quant = starts
            .iter()
            .any(|s| word.strip_prefix(s).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())));
        is_quant.then_some(word)
    }
}

/// All parts of the model whose first part is `paths[first]`.
fn all_parts(paths: &[&str], first: usize) -> Result<Vec<usize>, String> {
    let Some(whole) = Part::of(paths[first]) else { return Ok(vec![first]) };
    if whole.count > PARTS_MAX {
        return Err(format!("{} claims {} parts, expected at most {PARTS_MAX}", paths[first], whole.count));
    }
    (1..=whole.count)
        .map(|number| {
            let is_it = |p: &&str| {
                Part::of(p).is_some_and(|part| {
                    (part.prefix, part.count, part.number) == (whole.prefix, whole.count, number)
                })
            };
            let found = paths.iter().position(is_it);
            found.ok_or_else(|| format!("part {number} of {} of {} is missing", whole.count, paths[first]))
        })
        .collect()
}

/// The files of a folder in Hugging Face's form: `config.json` first.
fn choose_folder(paths: &[&str]) -> Result<Choice, String> {
    let at_top = |p: &&str| !p.contains('/');
    let has_sharded =
        paths.iter().any(|p| at_top(p) && p.starts_with("model") && p.ends_with(".safetensors"));
    let is_wanted = |p: &&str| {
        let is_weights = p.ends_with(".safetensors") && !(has_sharded && p.starts_with("consolidated"));
        let is_text =
            p.ends_with(".json") || p.ends_with(".jinja") || ["tokenizer.model", "merges.txt"].contains(p);
        at_top(p) && (is_weights || is_text)
    };
    let config = paths.iter().position(|p| *p == "config.json");
    let has_weights = paths.iter().any(|p| at_top(p) && p.ends_with(".safetensors"));
    let Some(config) = config.filter(|_| has_weights) else {
        return Err("it has neither GGUF files nor config.json with safetensors weights".to_owned());
    };
    let rest = (0..paths.len()).filter(|&i| i != config && is_wanted(&paths[i]));
    Ok(Choice { files: std::iter::once(config).chain(rest).collect(), quant: None, is_folder: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen<'a>(paths: &[&'a str], want: &Want) -> Result<Vec<&'a str>, String> {
        choose(paths, want).map(|c| c.files.iter().map(|&i| paths[i]).collect())
    }

    fn quant(q: &str) -> Want {
        Want::Quant(q.into())
    }

    const REPO: &[&str] = &[
        ".gitattributes",
        "README.md",
        "mmproj-model-f16.gguf",
        "m-IQ4_XS.gguf",
        "m-Q4_0.gguf",
        "m-Q4_K_M.gguf",
        "m-q8_0.gguf",
    ];

    #[test]
    fn the_usual_choice_is_q4_k_m_then_q8_0_then_the_first() {
        assert_eq!(chosen(REPO, &Want::Default).unwrap(), ["m-Q4_K_M.gguf"]);
        assert_eq!(chosen(&["m-Q4_0.gguf", "m.q8_0.gguf"], &Want::Default).unwrap(), ["m.q8_0.gguf"]);
        assert_eq!(chosen(&["mmproj-Q8_0.gguf", "b.gguf", "a.gguf"], &Want::Default).unwrap(), ["b.gguf"]);
    }

    #[test]
    fn a_quantisation_is_a_whole_word_in_any_case() {
        assert_eq!(chosen(REPO, &quant("Q8_0")).unwrap(), ["m-q8_0.gguf"]);
        assert_eq!(chosen(REPO, &quant("iq4_xs")).unwrap(), ["m-IQ4_XS.gguf"]);
        assert_eq!(chosen(REPO, &quant("Q4_K")).unwrap_err(), "it has IQ4_XS, Q4_0, Q4_K_M, Q8_0");
        assert_eq!(chosen(&["Q6_K/m-x.gguf"], &quant("q6_k")).unwrap(), ["Q6_K/m-x.gguf"]);
        assert_eq!(chosen(&["m-UD-Q4_K_XL.gguf"], &quant("UD-Q4_K_XL")).unwrap(), ["m-UD-Q4_K_XL.gguf"]);
        assert!(chosen(&["config.json"], &quant("Q8_0")).unwrap_err().contains("no GGUF"));
    }

    #[test]
    fn all_parts_come_in_order_or_none() {
        let split = ["m-Q4_K_M-00002-of-00002.gguf", "x.gguf", "m-Q4_K_M-00001-of-00002.gguf"];
        assert_eq!(chosen(&split, &Want::Default).unwrap(), [split[2], split[0]]);
        assert_eq!(choose(&split, &Want::Default).unwrap().quant.as_deref(), Some("Q4_K_M"));
        let torn = ["m-Q4_K_M-00001-of-00003.gguf", "m-Q4_K_M-00003-of-00003.gguf"];
        assert!(chosen(&torn, &Want::Default).unwrap_err().contains("part 2 of 3"));
        for whole in
            ["m-Q8_0-00001-of-00000.gguf", "m-Q8_0-00000-of-00002.gguf", "m-Q8_0-00003-of-00002.gguf"]
        {
            assert_eq!(chosen(&[whole], &Want::Default).unwrap(), [whole]);
        }
        let absurd = ["m-00001-of-99999.gguf"];
        assert!(chosen(&absurd, &Want::Default).unwrap_err().contains("at most 999"));
    }

    #[test]
    fn a_file_may_be_asked_for_by_name() {
        assert_eq!(chosen(REPO, &Want::File("M-Q4_0.GGUF".into())).unwrap(), ["m-Q4_0.gguf"]);
        assert_eq!(chosen(REPO, &Want::File("README.md".into())).unwrap(), ["README.md"]);
        assert!(chosen(REPO, &Want::File("x".into())).is_err());
    }

    #[test]
    fn folders_give_weights_json_and_tokenizer_without_doubles() {
        let repo = [
            "README.md",
            "consolidated.safetensors",
            "config.json",
            "model-00001-of-00001.safetensors",
            "model.safetensors.index.json",
            "onnx/model.json",
            "tokenizer.model",
            "chat_template.jinja",
            "pytorch_model.bin",
        ];
        let expected = [2, 3, 4, 6, 7].map(|i| repo[i]);
        assert_eq!(chosen(&repo, &Want::Default).unwrap(), expected);
        assert!(choose(&repo, &Want::Default).unwrap().is_folder);
        assert!(chosen(&["config.json"], &Want::Default).unwrap_err().contains("neither"));
    }

    #[test]
    fn all_models_of_a_repository() {
        let all = choose_all(REPO);
        let quants: Vec<_> = all.iter().map(|c| c.quant.as_deref().unwrap()).collect();
        assert_eq!(quants, ["IQ4_XS", "Q4_0", "Q4_K_M", "Q8_0"]);
    }
}
