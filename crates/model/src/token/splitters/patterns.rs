//! Patterns that several pre-tokenizers share or that have a scanner, as they were published; others stand in their entry.

macro_rules! cl100k {
    ($contractions:literal, $letters:literal, $digits:literal, $others:literal, $ends:literal) => {
        concat!(
            $contractions,
            "[^\\r\\n\\p{L}\\p{N}]?",
            $letters,
            "+|\\p{N}",
            $digits,
            "| ?[^\\s",
            $others,
            "]+",
            $ends,
            "\\s+(?!\\S)|\\s+"
        )
    };
}

macro_rules! o200k {
    ($contractions:literal, $digits:literal) => {
        concat!(
            "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+",
            $contractions,
            "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*",
            $contractions,
            "|\\p{N}",
            $digits,
            "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
        )
    };
}

/// What GPT-2 began.
pub const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// What GPT-4's cl100k began and Llama 3 follows.
pub(super) const CL100K_3: &str =
    cl100k!("(?i:'s|'t|'re|'ve|'m|'ll|'d)|", "\\p{L}", "{1,3}", "\\p{L}\\p{N}", "[\\r\\n]*|\\s*[\\r\\n]+|");
pub(super) const CL100K_1: &str =
    cl100k!("(?i:'s|'t|'re|'ve|'m|'ll|'d)|", "\\p{L}", "", "\\p{L}\\p{N}", "[\\r\\n]*|\\s*[\\r\\n]+|");
pub(super) const CL100K_RUNS: &str =
    cl100k!("(?i:'s|'t|'re|'ve|'m|'ll|'d)|", "\\p{L}", "+", "\\p{L}\\p{N}", "[\\r\\n]*|\\s*[\\r\\n]+|");
pub(super) const CL100K_MARKS: &str = cl100k!(
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|",
    "[\\p{L}\\p{M}]",
    "",
    "\\p{L}\\p{M}\\p{N}",
    "[\\r\\n]*|\\s*[\\r\\n]+|"
);
pub(super) const UFAKZEKA: &str = cl100k!("", "\\p{L}", "", "\\p{L}\\p{N}", "[\\r\\n]*|\\s*[\\r\\n]+|");
pub(super) const O200K: &str = o200k!("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "{1,3}");
pub(super) const O200K_1: &str = o200k!("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "");
pub(super) const TEKKEN: &str = o200k!("", "");
/// Every digit by itself.
pub const NUMBER: &str = r"\p{N}";
/// Digits together.
pub const NUMBERS: &str = r"\p{N}+";
pub(super) const NUMBERS_BY_3: &str = r"\p{N}{1,3}";
pub(super) const NUMBERS_BY_3_FROM_RIGHT: &str = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))";
pub(super) const DIGITS_BY_3_TO_WORD_END: &str = r"\d{1,3}(?=(?:\d{3})*\b)";
pub(super) const BEFORE_EVERY_3_DIGITS: &str = r"(?=(\d{3})+(?!\d))";
pub(super) const THREE_DIGITS: &str = "[0-9][0-9][0-9]";
pub(super) const PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|]+";
/// Punctuation together, the ASCII signs that Unicode calls symbols included.
pub const PUNCTUATION_AND_BACKTICK: &str = r"[\p{P}\$\+<=>\^~\|`]+";
pub(super) const NEWLINE: &str = "[\r\n]";
pub(super) const LINES: &str = r"[^\n]+|[\n]+";
pub(super) const DEEPSEEK_CJK: &str = "[一-龥\u{3040}-ゟ゠-ヿ]+";
pub(super) const DEEPSEEK3: &str = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";
pub(super) const BLOOM: &str = r" ?[^(\s|[.,!?…。，、।۔،])]+";
