//! A written vocabulary held against the tokenizer.json it comes from, with texts of all kinds.
//!
//! What is tried: texts that tokenizers take apart in different ways, runs of white space, texts around added tokens, and some
//! tokens' own texts. That nothing differs there is no proof; a difference is one.

use crate::error::Result;
use crate::token::json::read::File;
use crate::token::{Parse, Render, Tokenizer};

/// Texts that tokenizers take apart in different ways.
const PROBES: &[&str] = &[
    "Hello, world! It's 3.14159 and we'll say I'VE 1234567 things; DON'T.",
    " a  b   c    d\t\te\n\nf \n g\r\n\r\nh ",
    "   ",
    "\n\n\n",
    "camelCase HTTPServer snake_case foo.bar(baz)[0] += x**2; // ok\n\tfn main() {}",
    "naïve nai\u{308}ve Straße İstanbul ﬁ Ａ é e\u{301} ñ ½ ² Ⅷ ①",
    "日本語 漢字かな，カタカナ。한국어 ภาษาไทย हिन्दी العربية עברית Ελληνικά Русский українська",
    "🙂👨‍👩‍👧🇩🇪 𝔘𝔫𝔦 \u{200b}\u{200d}\u{feff}\u{a0}\u{3000}\u{fffd}\u{0}\u{1b}",
    "▁x ▁▁ Ġ <0x41> <unk> [x] <|x|> `code` ``quoted'' --- ... ?! $5 + 5 = 10% #1 @me /",
];
/// Added tokens that are tried among other texts, and tokens whose texts are.
const ADDED_TRIED: usize = 24;
const TOKENS_TRIED: usize = 2_000;
/// Runs of white space that are tried, up to this long.
const RUN_TRIED: usize = 70;

/// The first thing the two make something else of.
pub(super) fn difference(json: &Tokenizer, gguf: &Tokenizer, file: &File<'_>) -> Result<Option<String>> {
    let mut ending: Vec<u32> = json.ending().iter().copied().chain(json.eos()).collect();
    ending.sort_unstable();
    ending.dedup();
    for (what, ours, theirs) in [
        ("what stands before a text is", json.before(), gguf.before()),
        ("what stands behind a text is", json.after(), gguf.after()),
        ("answers end with", &ending, gguf.ending()),
    ] {
        if ours != theirs {
            return Ok(Some(format!("{what} {ours:?} in tokenizer.json, {theirs:?} in the written file")));
        }
    }
    let added = file.added_tokens.iter().take(ADDED_TRIED).map(|token| &token.content);
    let added = added.flat_map(|token| [format!("a{token}b"), format!(" a {token} \n{token}  b.")]);
    let stride = json.n_vocab().div_ceil(TOKENS_TRIED).max(1);
    let own = (0..json.n_vocab() as u32).step_by(stride);
    let own = own.map(|id| format!("x {}", json.decode(&[id], Render::Text)));
    let runs =
        [" ", "\n", "\t"].into_iter().flat_map(|c| (2..=RUN_TRIED).map(|n| format!("x{}y", c.repeat(n))));
    for text in PROBES.iter().map(|&text| text.to_owned()).chain(runs).chain(added).chain(own) {
        for parse in [Parse::Special, Parse::Text] {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            json.encode(&text, parse, &mut ours)?;
            gguf.encode(&text, parse, &mut theirs)?;
            let n = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            if n < ours.len().max(theirs.len()) {
                let [ours, theirs] =
                    [&ours, &theirs].map(|ids| ids.get(n).map_or("none".to_owned(), u32::to_string));
                return Ok(Some(format!(
                    "id {n} of {text:?} is {ours} by tokenizer.json, {theirs} by the written file"
                )));
            }
            let [said, again] = [json, gguf].map(|tokenizer| tokenizer.decode(&ours, Render::Special));
            if said != again {
                return Ok(Some(format!(
                    "{ours:?} mean {said:?} by tokenizer.json, {again:?} by the written file"
                )));
            }
        }
    }
    Ok(None)
}
