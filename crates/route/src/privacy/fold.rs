//! A text as it looks: what is written with other characters that look the same is read alike, what is invisible is not there.
//!
//! Full-width and mathematical forms, digits of other scripts, unusual spaces, dashes and quotation marks become their ASCII
//! twins; characters without width are left out. Letters stay what they are, also those of other scripts that look like Latin
//! ones: names and addresses are written with them. Places in the folded text are translated back by a list of the places
//! where the distance to the original changes; ASCII folds to itself at no cost.

use std::borrow::Cow;
use std::ops::Range;

pub(super) struct Folded<'a> {
    text: Cow<'a, str>,
    /// From this byte of the folded text on it is this byte of the original, until the next. Empty where nothing changed.
    shifts: Vec<(usize, usize)>,
}

impl<'a> Folded<'a> {
    pub(super) fn new(original: &'a str) -> Folded<'a> {
        if original.is_ascii() {
            return Folded { text: Cow::Borrowed(original), shifts: Vec::new() };
        }
        let mut text = String::with_capacity(original.len());
        let mut shifts = vec![(0, 0)];
        let mut distance = 0;
        for (at, char) in original.char_indices() {
            if let Some(char) = fold(char) {
                if at - text.len() != distance {
                    distance = at - text.len();
                    shifts.push((text.len(), at));
                }
                text.push(char);
            }
        }
        shifts.push((text.len(), original.len()));
        Folded { text: Cow::Owned(text), shifts }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where a span of the folded text lies in the original. Invisible characters right behind it belong to it.
    pub(super) fn original(&self, span: Range<usize>) -> Range<usize> {
        self.place(span.start)..self.place(span.end)
    }

    fn place(&self, at: usize) -> usize {
        match self.shifts.partition_point(|(folded, _)| *folded <= at).checked_sub(1) {
            Some(i) => self.shifts[i].1 + (at - self.shifts[i].0),
            None => at,
        }
    }
}

/// Whether a character takes no place where it stands, and may change how others do: soft hyphen, joiners, fillers, marks of direction,
/// selectors of variants, tags. They are Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties) and the marks of notes.
pub fn is_invisible(char: char) -> bool {
    matches!(char,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What a character looks like; `None` for nothing.
fn fold(char: char) -> Option<char> {
    if char.is_ascii() {
        return Some(char);
    }
    Some(match char {
        _ if is_invisible(char) => return None,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => ' ',
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' => '-',
        '\u{2018}' | '\u{2019}' | '\u{2bc}' => '\'',
        '\u{201c}'..='\u{201e}' => '"',
        '\u{2024}' | '\u{fe52}' => '.',
        '\u{fe6b}' => '@',
        // Full-width forms stand in ASCII's order; mathematical digits in five tens.
        '\u{ff01}'..='\u{ff5e}' => char::from(((char as u32) - 0xff00 + 0x20) as u8),
        '\u{1d7ce}'..='\u{1d7ff}' => digit((char as u32 - 0x1d7ce) % 10),
        _ => match ZEROS.binary_search(&(char as u32)) {
            Ok(_) => '0',
            Err(i) if i > 0 && char as u32 - ZEROS[i - 1] < 10 => digit(char as u32 - ZEROS[i - 1]),
            Err(_) => char,
        },
    })
}

fn digit(value: u32) -> char {
    char::from(b'0' + value as u8)
}

/// The zeros of scripts with decimal digits of their own, of which nine more follow each (Unicode's category Nd).
const ZEROS: &[u32] = &[
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50,
    0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_seen_and_knows_where_it_was() {
        let original = "é ４1\u{200b}1\u{2011}१\u{a0}𝟗\u{feff}";
        let folded = Folded::new(original);
        assert_eq!(folded.text(), "é 411-1 9");
        let digits = folded.text().find('4').unwrap();
        assert_eq!(&original[folded.original(digits..digits + 3)], "４1\u{200b}1");
        // Whatever is invisible behind the last character goes with it.
        assert_eq!(&original[folded.original(digits + 6..digits + 7)], "𝟗\u{feff}");
        assert_eq!(folded.original(0..folded.text().len()), 0..original.len());
    }

    #[test]
    fn every_folded_place_is_a_border_of_characters() {
        let original: String = (0..0x3000u32).chain(0xfe00..0x10000).filter_map(char::from_u32).collect();
        let folded = Folded::new(&original);
        let mut last = 0;
        for (at, _) in folded.text().char_indices() {
            let place = folded.original(at..at).start;
            assert!(original.is_char_boundary(place) && place >= last);
            last = place;
        }
    }

    #[test]
    fn zeros_are_in_order() {
        assert!(ZEROS.is_sorted());
    }
}
