//! Documents, and how they are cut: into sentences, which are what is quoted, and passages, which are what is read at once.
//!
//! Both are ranges of the text that follow each other without a gap. A sentence ends behind its mark and the spaces after it, at an
//! empty line, at a line that is too short to have been wrapped, and before what looks like an entry of a list; one that is too long
//! ends at a line, a comma, a space, or anywhere. A passage is as many sentences as fit a budget of tokens, which somebody
//! else counts; it ends with a paragraph where there is an end in its second half. Where it has to end within a paragraph, its last
//! sentence begins the next passage too, so that nothing is read without what it goes on from.
//!
//! It knows no formats: a heading or a table is text.

use std::ops::Range;

/// Bytes of a token, at most, of texts that may fit a context.
const TOKEN_BYTES_MAX: usize = 16;
/// The longest sentence, and so the longest quotation.
pub const SENTENCE_BYTES_MAX: usize = 300;
/// A line shorter than this was not wrapped: it ends what it says.
const WRAPPED_BYTES_MIN: usize = 40;
/// The sentence that two passages share takes at most this part of a passage.
const SHARED_PART: usize = 8;

/// What kinds of documents are called where their names are not told, by how names end.
const KINDS: &[(&str, &str)] = &[
    ("md", "Markdown"),
    ("rst", "reStructuredText"),
    ("csv", "CSV"),
    ("json", "JSON"),
    ("html", "HTML"),
    ("xml", "XML"),
    ("tex", "TeX"),
    ("log", "log"),
];

/// A text with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What the user calls it; it never leaves.
    pub name: String,
    /// All of it.
    pub text: String,
}

/// A part of a document that is read at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Which document, counted from 0.
    pub document: usize,
    /// Its bytes.
    pub range: Range<usize>,
}

impl Document {
    /// What kind of text it is: one of a list, as the end of a name may itself be private.
    pub fn kind(&self) -> &'static str {
        let end = self.name.rsplit_once('.').map_or("", |(_, end)| end);
        KINDS.iter().find(|(ending, _)| ending.eq_ignore_ascii_case(end)).map_or("text", |(_, kind)| kind)
    }

    /// The line of the byte `at`, counted from 1.
    pub fn line_of(&self, at: usize) -> usize {
        1 + self.text.bytes().take(at).filter(|&byte| byte == b'\n').count()
    }
}

/// Bytes of all of them.
pub fn n_bytes(documents: &[Document]) -> usize {
    documents.iter().map(|document| document.text.len()).sum()
}

/// The documents before the question, for a prompt that has room for them.
pub fn in_one(question: &str, documents: &[Document]) -> String {
    let mut out = String::new();
    for document in documents {
        out.push_str(document.text.trim());
        out.push_str("\n\n");
    }
    out.push_str(question);
    out
}

/// Whether documents can have room in a context of `ctx` tokens, by their bytes alone.
pub fn may_fit(documents: &[Document], ctx: usize) -> bool {
    n_bytes(documents) / TOKEN_BYTES_MAX < ctx
}

/// Cuts documents into passages of at most `budget` tokens, as `count` counts them. A character that takes more is a passage of
/// its own.
pub fn passages(documents: &[Document], budget: usize, count: &mut dyn FnMut(&str) -> usize) -> Vec<Passage> {
    let mut all = Vec::new();
    for (at, document) in documents.iter().enumerate() {
        let ranges = passages_of(&document.text, budget, count);
        all.extend(ranges.into_iter().map(|range| Passage { document: at, range }));
    }
    all
}

fn passages_of(text: &str, budget: usize, count: &mut dyn FnMut(&str) -> usize) -> Vec<Range<usize>> {
    // Pieces of at most the budget, with what they take.
    let mut pieces: Vec<(Range<usize>, usize)> = Vec::new();
    let mut open: Vec<Range<usize>> = sentences(text).into_iter().rev().collect();
    while let Some(piece) = open.pop() {
        let n = count(&text[piece.clone()]);
        match halves(text, &piece).filter(|_| n > budget) {
            Some([first, second]) => open.extend([second, first]),
            None => pieces.push((piece, n)),
        }
    }
    let ends_paragraph = |at: usize| {
        let piece = &text[pieces[at].0.clone()];
        piece[piece.trim_end().len()..].matches('\n').count() > 1
    };
    let (mut out, mut first) = (Vec::new(), 0);
    while first < pieces.len() {
        let (mut end, mut n) = (first + 1, pieces[first].1);
        while end < pieces.len() && n + pieces[end].1 <= budget {
            n += pieces[end].1;
            end += 1;
        }
        if end < pieces.len() {
            let half = first + (end - first) / 2;
            end = (half..end).rev().find(|&at| ends_paragraph(at)).map_or(end, |at| at + 1);
        }
        // Tokens of parts need not add up to those of the whole.
        let range = |end: usize| pieces[first].0.start..pieces[end - 1].0.end;
        while end > first + 1 && count(&text[range(end)]) > budget {
            end -= 1;
        }
        out.push(range(end));
        let shares = end < pieces.len() && end - first > 2 && !ends_paragraph(end - 1) && {
            let n = pieces[end - 1].1;
            n * SHARED_PART <= budget && n + pieces[end].1 <= budget
        };
        first = if shares { end - 1 } else { end };
    }
    out
}

/// A piece cut in the middle, at a space if there is one near; `None` for a single character.
fn halves(text: &str, piece: &Range<usize>) -> Option<[Range<usize>; 2]> {
    let inside = &text[piece.clone()];
    let near = |at: &usize| at.abs_diff(inside.len() / 2);
    let spaces = inside.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, c)| at + c.len_utf8());
    let at = spaces
        .filter(|&at| at < inside.len() && near(&at) <= inside.len() / 4)
        .min_by_key(near)
        .or_else(|| inside.char_indices().map(|(at, _)| at).filter(|&at| at > 0).min_by_key(near))?;
    Some([piece.start..piece.start + at, piece.start + at..piece.end])
}

/// The sentences of a text: ranges that cover it without a gap.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let (mut out, mut start, mut line) = (Vec::new(), 0, 0);
    // Behind a mark that ends a sentence; behind an end of another kind, with nothing but spaces since.
    let (mut marked, mut over) = (false, false);
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        if c == '\n' {
            let is_short = text[line..at].trim().len() < WRAPPED_BYTES_MIN;
            over |= is_short || begins_entry(&text[end..]);
            line = end;
        }
        over |= matches!(c, '。' | '！' | '？');
        marked = match c {
            '.' | '!' | '?' | '…' => true,
            // What closes belongs to the sentence that it closes.
            ')' | ']' | '"' | '\'' | '”' | '’' | '»' | '*' | '_' => marked,
            _ => marked && c.is_whitespace(),
        };
        // Spaces behind an end belong to it. What goes on in a small letter was an abbreviation.
        let next = chars.peek().map(|&(_, c)| c);
        let is_end = marked && c.is_whitespace() && next.is_none_or(|next| !next.is_lowercase());
        if (over || is_end) && next.is_none_or(|next| !next.is_whitespace()) {
            out.extend(shortened(text, start..end));
            (start, marked, over) = (end, false, false);
        }
    }
    out.extend(shortened(text, start..text.len()));
    out
}

/// Whether the line at the beginning of `rest` is an entry of a list, a heading or a row of a table.
fn begins_entry(rest: &str) -> bool {
    let line = rest.trim_start_matches([' ', '\t']);
    let behind_digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with(['-', '*', '#', '|', '>', '•', '+'])
        || (behind_digits.len() < line.len() && behind_digits.starts_with(['.', ')']))
}

/// `range` in parts of at most [`SENTENCE_BYTES_MAX`]; nothing of an empty one.
fn shortened(text: &str, mut range: Range<usize>) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    while range.len() > SENTENCE_BYTES_MAX {
        let head = &text[range.start..text.floor_char_boundary(range.start + SENTENCE_BYTES_MAX)];
        let behind = |found: Option<usize>| found.map(|at| at + 1).filter(|&n| n > head.len() / 2);
        let n = behind(head.rfind('\n'))
            .or_else(|| behind(head.rfind([',', ';'])))
            .or_else(|| behind(head.rfind(' ')))
            .unwrap_or(head.len());
        out.push(range.start..range.start + n);
        range.start += n;
    }
    if !range.is_empty() {
        out.push(range);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A count that does not add up over parts: words, and one for each text.
    fn words(text: &str) -> usize {
        text.split_whitespace().map(|word| word.len().div_ceil(6)).sum::<usize>() + 1
    }

    fn cut(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| text[range].trim_end()).collect()
    }

    #[test]
    fn sentences_end_where_they_end() {
        let wrapped = "This line was wrapped by an editor, as long\nlines are. Here is (another!) one, e.g. this. \"Is it?\" Yes";
        assert_eq!(
            cut(wrapped),
            [
                "This line was wrapped by an editor, as long\nlines are.",
                "Here is (another!) one, e.g. this.",
                "\"Is it?\"",
                "Yes"
            ]
        );
        assert_eq!(
            cut("# Title\nText of 3.5 words\n- one\n- two\n\nEnd"),
            ["# Title", "Text of 3.5 words", "- one", "- two", "End"]
        );
        assert_eq!(cut("一つ。二つ！三つ"), ["一つ。", "二つ！", "三つ"]);
        assert!(cut("").is_empty());
        let long = "word ".repeat(200) + &"x".repeat(700);
        assert!(sentences(&long).iter().all(|range| range.len() <= SENTENCE_BYTES_MAX));
    }

    #[test]
    fn passages_cover_the_text_and_fit_the_budget() {
        let mut seed = 7u64;
        let mut below = |n: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % n
        };
        let parts = [
            "word",
            "ä",
            "漢字。",
            "a-rather-long-word-without-a-space",
            "End.",
            "\n",
            "\n\n",
            " ",
            "- ",
            "🦀",
        ];
        for _ in 0..300 {
            let mut text = String::new();
            for _ in 0..below(400) {
                text += parts[below(parts.len())];
                if below(2) == 0 {
                    text.push(' ');
                }
            }
            let budget = 5 + below(60);
            let covered = sentences(&text);
            assert_eq!(covered.iter().map(|r| &text[r.clone()]).collect::<String>(), text);
            let ranges = passages_of(&text, budget, &mut words);
            let mut end = 0;
            for range in &ranges {
                assert!(range.start <= end && range.end > end, "a gap, or nothing new: {ranges:?}");
                end = range.end;
                assert!(words(&text[range.clone()]) <= budget, "{:?}", &text[range.clone()]);
            }
            assert_eq!(end, text.len());
        }
    }

    #[test]
    fn passages_end_with_paragraphs_and_share_a_sentence_within_them() {
        let paragraph = "One two three. Four five six. Seven eight nine.\n\n";
        let two = paragraph.repeat(2);
        let ranges = passages_of(&two, 16, &mut words);
        assert_eq!(ranges, [0..paragraph.len(), paragraph.len()..two.len()]);
        let within = "One two three. ".repeat(40);
        let ranges = passages_of(&within, 40, &mut words);
        assert!(
            ranges.windows(2).all(|pair| pair[1].start + "One two three. ".len() == pair[0].end),
            "{ranges:?}"
        );
    }

    #[test]
    fn names_and_unknown_endings_are_not_told() {
        let named = |name: &str| Document { name: name.into(), text: "a\nb".into() };
        assert_eq!(named("letter.to.Anna").kind(), "text");
        assert_eq!((named("x/notes.MD").kind(), named("log").kind()), ("Markdown", "text"));
        assert_eq!((named("").line_of(1), named("").line_of(2)), (1, 2));
    }
}
