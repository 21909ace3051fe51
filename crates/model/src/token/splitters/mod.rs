//! Pre-tokenizers: how byte-level BPE cuts a text into pieces before merging, one per `tokenizer.ggml.pre` name.
//!
//! A [`Splitter`] is data: the regular expressions as they were published with the model, each applied inside the pieces of
//! the one before. What matches is a piece, and so is what lies between. Where an engine's own rewriting of a pattern differs
//! from what was published, the published one stands here.
//!
//! Patterns that many models share are also on the shelf [`SCANNERS`], under their text, with a scanner written by hand that
//! cuts alike and twenty times as fast; a test holds each of them to its pattern. tokenizer.json profits too: what its
//! patterns are called is their text.

mod patterns;
mod scan;

use patterns::*;
pub use patterns::{GPT2, NUMBER, NUMBERS, PUNCTUATION_AND_BACKTICK};
use scan::*;

/// One pre-tokenizer and what goes with it.
#[derive(Debug)]
pub struct Splitter {
    /// The names it has in `tokenizer.ggml.pre`.
    pub names: &'static [&'static str],
    /// Applied one inside the other.
    pub patterns: &'static [&'static str],
    /// What merging starts from.
    pub symbols: Symbols,
    /// A piece that is a token as a whole becomes it without merging.
    pub whole_pieces: WholePieces,
    /// Whether BOS comes first when the file does not say.
    pub adds_bos: bool,
}

/// What happens to a piece that is in the vocabulary as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WholePieces {
    /// It becomes that token at once (Hugging Face calls it `ignore_merges`).
    AreTokens,
    /// It is merged like any other, which usually but not always gives that token.
    AreMerged,
}

/// What merging starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbols {
    /// Bytes, which the vocabulary writes as GPT-2 does.
    Bytes,
    /// Characters, with `▁` for a space and `<0x0A>` for a byte of what is no token.
    Characters,
}

/// A pattern and the scanner that does its work.
#[derive(Debug)]
pub struct Scanner {
    /// The pattern, as published.
    pub pattern: &'static str,
    /// The length in bytes, at least 1, of the first piece of a text that is not empty.
    pub first_piece: fn(&str) -> usize,
    /// Every character belongs to some match, so that nothing lies between matches.
    pub is_total: bool,
}

/// The shelf of scanners.
pub static SCANNERS: &[Scanner] = &[
    Scanner { pattern: GPT2, first_piece: gpt2, is_total: true },
    Scanner { pattern: CL100K_3, first_piece: cl100k::<3, false, true>, is_total: true },
    Scanner { pattern: CL100K_1, first_piece: cl100k::<1, false, true>, is_total: true },
    Scanner { pattern: CL100K_RUNS, first_piece: cl100k::<{ usize::MAX }, false, true>, is_total: true },
    Scanner { pattern: CL100K_MARKS, first_piece: cl100k::<1, true, true>, is_total: true },
    Scanner { pattern: UFAKZEKA, first_piece: cl100k::<1, false, false>, is_total: true },
    Scanner { pattern: O200K, first_piece: o200k::<3, true>, is_total: true },
    Scanner { pattern: O200K_1, first_piece: o200k::<1, true>, is_total: true },
    Scanner { pattern: TEKKEN, first_piece: o200k::<1, false>, is_total: true },
    Scanner { pattern: DEEPSEEK3, first_piece: deepseek3, is_total: false },
    Scanner { pattern: DEEPSEEK_CJK, first_piece: deepseek_cjk, is_total: false },
    Scanner { pattern: NUMBER, first_piece: single_numbers, is_total: false },
    Scanner { pattern: NUMBERS, first_piece: number_runs, is_total: false },
    Scanner { pattern: NUMBERS_BY_3, first_piece: numbers_by_3, is_total: false },
    Scanner { pattern: NUMBERS_BY_3_FROM_RIGHT, first_piece: numbers_by_3_from_right, is_total: false },
    Scanner { pattern: DIGITS_BY_3_TO_WORD_END, first_piece: digits_by_3_to_word_end, is_total: false },
    Scanner { pattern: BEFORE_EVERY_3_DIGITS, first_piece: before_every_3_digits, is_total: false },
    Scanner { pattern: THREE_DIGITS, first_piece: three_digits, is_total: false },
    Scanner { pattern: PUNCTUATION, first_piece: punctuation, is_total: false },
    Scanner { pattern: PUNCTUATION_AND_BACKTICK, first_piece: punctuation_and_backtick, is_total: false },
    Scanner { pattern: NEWLINE, first_piece: newline, is_total: false },
    Scanner { pattern: LINES, first_piece: lines, is_total: true },
];

/// The scanner of `pattern`, when it is on the shelf.
pub fn scanner(pattern: &str) -> Option<&'static Scanner> {
    SCANNERS.iter().find(|scanner| scanner.pattern == pattern)
}

const fn splitter(names: &'static [&'static str], patterns: &'static [&'static str]) -> Splitter {
    let (symbols, whole_pieces) = (Symbols::Bytes, WholePieces::AreMerged);
    Splitter { names, patterns, symbols, whole_pieces, adds_bos: false }
}

const fn whole_pieces(splitter: Splitter) -> Splitter {
    Splitter { whole_pieces: WholePieces::AreTokens, ..splitter }
}

const fn adds_bos(splitter: Splitter) -> Splitter {
    Splitter { adds_bos: true, ..splitter }
}

const fn characters(splitter: Splitter) -> Splitter {
    Splitter { symbols: Symbols::Characters, ..splitter }
}

const LLAMA3_NAMES: &[&str] = &[
    "llama-bpe",
    "llama3",
    "llama-v3",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "jina-v5-nano",
];
const GPT2_NAMES: &[&str] = &[
    "gpt-2",
    "phi-2",
    "mpt",
    "olmo",
    "jais",
    "trillion",
    "granite-docling",
    "exaone4",
    "gigachat",
    "mellum",
    "modern-bert",
    "a.x-4.0",
    "jina-es",
    "jina-de",
    "jina-v1-en",
    "jina-v2-es",
    "jina-v2-de",
    "jina-v2-code",
    "roberta-bpe",
];
const QWEN2_NAMES: &[&str] = &[
    "qwen2",
    "deepseek-r1-qwen",
    "stablelm2",
    "megrez",
    "kormo",
    "hunyuan",
    "solar-open",
    "grok-2",
    "f2llmv2",
];
const DIGITS_GPT2_NAMES: &[&str] =
    &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"];

/// The shelf of pre-tokenizers.
pub static SPLITTERS: &[Splitter] = &[
    splitter(GPT2_NAMES, &[GPT2]),
    adds_bos(whole_pieces(splitter(LLAMA3_NAMES, &[CL100K_3]))),
    splitter(&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], &[CL100K_3]),
    splitter(QWEN2_NAMES, &[CL100K_1]),
    splitter(&["qwen35"], &[CL100K_MARKS]),
    splitter(&["ufakzeka"], &[UFAKZEKA]),
    splitter(&["laguna"], &[LINES, CL100K_1]),
    whole_pieces(splitter(&["minicpm5"], &[NUMBERS_BY_3, CL100K_RUNS])),
    splitter(DIGITS_GPT2_NAMES, &[NUMBER, GPT2]),
    splitter(&["falcon"], &[PUNCTUATION_AND_BACKTICK, GPT2, THREE_DIGITS]),
    splitter(&["default"], &[PUNCTUATION, GPT2, NUMBERS, THREE_DIGITS]),
    splitter(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[O200K]),
    whole_pieces(splitter(&["granite-embed-multi-97m"], &[O200K])),
    splitter(&["tiny_aya", "cohere2moe"], &[DIGITS_BY_3_TO_WORD_END, O200K]),
    adds_bos(whole_pieces(splitter(&["tekken"], &[TEKKEN]))),
    splitter(
        &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
        &[NUMBERS_BY_3, DEEPSEEK_CJK, DEEPSEEK3],
    ),
    splitter(
        &["afmoe"],
        &[
            NUMBERS_BY_3_FROM_RIGHT,
            "[一-鿿㐀-䶿\u{f900}-\u{faff}\u{3040}-ゟ゠-ヿ･-ﾟ⼀-\u{2fdf}\u{e00}-\u{e7f}\u{e80}-\u{eff}ក-\u{17ff}က-႟ꩠ-ꩿꧠ-\u{a9ff}가-\u{d7af}ᄀ-ᇿ]+",
            DEEPSEEK3,
        ],
    ),
    splitter(
        &["spark2_5"],
        &[
            NUMBERS_BY_3,
            DEEPSEEK_CJK,
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\r\n]|\\s+(?!\\S)|\\s+",
            NUMBER,
        ],
    ),
    splitter(&["deepseek-coder"], &[NEWLINE, r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\u{d7ff}]+", NUMBER]),
    splitter(
        &["deepseek-llm"],
        &[
            NEWLINE,
            "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1f7d}ᾀ-ᾴᾶ-ᾼ\u{1fbe}ῂ-ῄῆ-ῌῐ-\u{1fd3}ῖ-\u{1fdb}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+",
            "\\s?[!-/:-~！-／：-～‘-‟\u{3000}-。]+",
            r"\s+$",
            "[一-龥ࠀ-一가-\u{d7ff}]+",
            NUMBERS,
        ],
    ),
    splitter(
        &["bailingmoe", "bailingmoe2", "llada-moe"],
        &[
            r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    ),
    splitter(
        &["seed-coder"],
        &[
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
        ],
    ),
    splitter(
        &["exaone-moe"],
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+",
        ],
    ),
    splitter(
        &["jais-2"],
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}",
        ],
    ),
    splitter(
        &["kimi-k2"],
        &[
            r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
    ),
    whole_pieces(splitter(
        &["youtu"],
        &["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u{3040}-ゟ゠-ヿ]+", O200K_1],
    )),
    splitter(&["superbpe"], &[NUMBERS, BEFORE_EVERY_3_DIGITS]),
    splitter(&["poro-chat", "bloom", "gpt3-finnish"], &[BLOOM]),
    splitter(&["viking"], &[BLOOM, NUMBER]),
    adds_bos(splitter(
        &["chameleon"],
        &[
            "<sentinel:[0-9]+>",
            "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
            "([\t\n]|    |  )",
            NUMBER,
            r"[\p{P}!-/:-@\[-`{-~]",
            GPT2,
        ],
    )),
    adds_bos(characters(splitter(&["gemma4", "granite-embed-multi-311m"], &[]))),
    characters(splitter(&["sarvam-moe"], &[])),
];

/// Every name on the shelf.
pub fn names() -> impl Iterator<Item = &'static str> {
    SPLITTERS.iter().flat_map(|s| s.names.iter().copied())
}

/// The splitter called `name`.
pub fn by_name(name: &str) -> Option<&'static Splitter> {
    SPLITTERS.iter().find(|s| s.names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::pattern::Pattern;
    use crate::token::pretoken::{self, Cut};

    const ALPHABET: &[&str] = &[
        "'", "s", "LL", "'re", "ſ", " ", "  ", "\n", "\r", "\t", "\u{a0}", "\u{3000}", "\u{85}", "1", "½",
        "٣", "12", "1234567", "é", "ß", "A", "Bc", "ǅ", "ʰ", "\u{301}", "\u{93e}", "中", "の", "カ", "한",
        "ह", "🙂", "`", "$", "+", "。", "…", "/", "_", "-", "\0", "\u{200d}", "µ", "K",
    ];

    fn random_text(state: &mut u64) -> String {
        let step = |state: &mut u64| {
            *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (*state >> 33) as usize
        };
        let n = 1 + step(state) % 14;
        (0..n).map(|_| ALPHABET[step(state) % ALPHABET.len()]).collect()
    }

    fn pieces(name: &str, text: &str) -> Vec<String> {
        let cuts: Vec<Cut> =
            by_name(name).unwrap().patterns.iter().map(|p| Cut::isolated("test", p).unwrap()).collect();
        let mut out = Vec::new();
        pretoken::cut(&cuts, text, true, &mut |p| out.push(p.to_owned()));
        out
    }

    #[test]
    fn every_name_and_every_pattern_is_on_its_shelf_once() {
        let patterns = SCANNERS.iter().map(|scanner| scanner.pattern).collect::<Vec<_>>();
        for mut all in [names().collect::<Vec<_>>(), patterns] {
            all.sort_unstable();
            assert!(all.windows(2).all(|w| w[0] != w[1]), "{all:?}");
        }
        assert!(names().all(|name| by_name(name).is_some()));
    }

    #[test]
    fn every_scanner_cuts_as_its_pattern_does() {
        let mut state = 1u64;
        for scanner in SCANNERS {
            let pattern = Pattern::regex("test", scanner.pattern).unwrap();
            for _ in 0..4000 {
                let text = random_text(&mut state);
                let (mut expected, mut done) = (Vec::new(), 0);
                pattern.each(&text, |start, end| {
                    expected.extend([&text[done..start], &text[start..end]]);
                    assert!(!scanner.is_total || done == start, "{}: {text:?}", scanner.pattern);
                    done = end;
                });
                expected.push(&text[done..]);
                expected.retain(|piece| !piece.is_empty());
                let (mut found, mut left) = (Vec::new(), text.as_str());
                while !left.is_empty() {
                    let (piece, rest) = left.split_at((scanner.first_piece)(left));
                    found.push(piece);
                    left = rest;
                }
                assert_eq!(found, expected, "{}: {text:?}", scanner.pattern);
            }
        }
    }

    #[test]
    fn pieces_join_up_to_the_text() {
        let mut state = 5u64;
        for name in names() {
            for _ in 0..100 {
                let text = random_text(&mut state);
                let found = pieces(name, &text);
                assert!(found.iter().all(|piece| !piece.is_empty()), "{name}");
                assert_eq!(found.concat(), text, "{name}");
            }
        }
    }

    #[test]
    fn gpt2_keeps_the_space_with_the_word() {
        assert_eq!(
            pieces("gpt-2", "I'll go,  42 ways!\n"),
            ["I", "'ll", " go", ",", " ", " 42", " ways", "!", "\n"]
        );
        assert_eq!(pieces("gpt-2", "a \n b'S"), ["a", " \n", " b", "'", "S"]);
    }

    #[test]
    fn llama3_takes_three_digits_and_newlines_after_punctuation() {
        assert_eq!(
            pieces("llama-bpe", "12345 you'RE?\n\n x\n  \ny"),
            ["123", "45", " you", "'RE", "?\n\n", " x", "\n  \n", "y"]
        );
        assert_eq!(pieces("llama-bpe", "(a) \tb  "), ["(a", ")", " ", "\tb", "  "]);
    }

    #[test]
    fn gpt4o_cuts_at_capitals_and_keeps_contractions() {
        assert_eq!(
            pieces("gpt-4o", "HTTPServer isn'T 中ABCd/\n"),
            ["HTTPServer", " isn'T", " 中ABCd", "/\n"]
        );
        assert_eq!(pieces("tekken", "camelCase's 12"), ["camel", "Case", "'s", " ", "1", "2"]);
    }

    #[test]
    fn deepseek3_keeps_a_sign_with_the_letters_after_it() {
        assert_eq!(
            pieces("deepseek-v3", "1234.foo .foo 漢字かな, a\u{0}1"),
            ["123", "4", ".foo", " .", "foo", " ", "漢字かな", ",", " a", "\u{0}", "1"]
        );
    }

    #[test]
    fn numbers_are_grouped_as_each_model_wants() {
        assert_eq!(pieces("qwen2", "x12"), ["x", "1", "2"]);
        assert_eq!(pieces("afmoe", "1234567"), ["1", "234", "567"]);
        assert_eq!(pieces("superbpe", "a1234567b"), ["a", "1", "234", "567", "b"]);
        assert_eq!(pieces("tiny_aya", "1234567 1234x"), ["1", "234", "567", " ", "123", "4", "x"]);
        assert_eq!(pieces("falcon", "a`` 12345$"), ["a", "``", " ", "123", "45", "$"]);
        assert_eq!(pieces("default", "a, b 1234"), ["a", ",", " b", " ", "123", "4"]);
    }

    #[test]
    fn marks_stay_with_letters_where_the_pattern_says_so() {
        assert_eq!(pieces("qwen2", "e\u{301}a"), ["e", "\u{301}a"]);
        assert_eq!(pieces("qwen35", "e\u{301}a"), ["e\u{301}a"]);
    }
}
