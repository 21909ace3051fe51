//! GPT-2's way of writing bytes: every byte is a printable character, a space `Ġ`, a newline `Ċ`.
//!
//! A byte is the character of the same number where that one is printable; the 68 others, in order, are the characters from
//! U+0100 on. Files write tokens so; here they become raw bytes when they are loaded and text is never translated, except
//! where a tokenizer.json goes on working on the translation.

/// Characters that stand for bytes lie below this.
const CODES: usize = 0x144;

/// The byte of each character, and the character of each byte.
static TABLE: ([Option<u8>; CODES], [char; 256]) = {
    let (mut bytes, mut chars) = ([None; CODES], ['\0'; 256]);
    let (mut byte, mut next) = (0usize, 0x100usize);
    while byte < 256 {
        let printable = matches!(byte as u8, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
        let code = if printable { byte } else { next };
        next += !printable as usize;
        bytes[code] = Some(byte as u8);
        chars[byte] = match char::from_u32(code as u32) {
            Some(c) => c,
            None => unreachable!(),
        };
        byte += 1;
    }
    (bytes, chars)
};

/// The character that stands for `byte`.
pub fn char_of(byte: u8) -> char {
    TABLE.1[byte as usize]
}

/// Appends the bytes that `text` stands for. A text with a character outside the table stands for itself, and the answer is
/// false.
pub fn write_raw(text: &str, out: &mut Vec<u8>) -> bool {
    let is_written = write_all_raw(text.as_bytes(), out);
    if !is_written {
        out.extend_from_slice(text.as_bytes());
    }
    is_written
}

/// Appends the bytes that `text` stands for, if it is nothing but characters of the table; otherwise appends nothing, and the
/// answer is false. Runs over every token and merge of a vocabulary before it is known to be UTF-8, so it reads that by hand:
/// the table ends within two bytes.
pub fn write_all_raw(text: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut bytes = text;
    out.reserve(bytes.len());
    loop {
        let byte = match *bytes {
            [] => return true,
            [byte @ b'!'..=b'~', ref rest @ ..] => {
                bytes = rest;
                Some(byte)
            }
            [lead @ 0xc2..=0xdf, next @ 0x80..=0xbf, ref rest @ ..] => {
                bytes = rest;
                TABLE.0.get(usize::from(lead & 0x1f) << 6 | usize::from(next & 0x3f)).copied().flatten()
            }
            _ => None,
        };
        let Some(byte) = byte else {
            out.truncate(start);
            return false;
        };
        out.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_character() {
        for byte in 0..=255 {
            let mut out = Vec::new();
            assert!(write_raw(&char_of(byte).to_string(), &mut out));
            assert_eq!(out, [byte]);
        }
        assert_eq!(TABLE.0.iter().flatten().count(), 256);
    }

    #[test]
    fn a_text_of_other_characters_stands_for_itself() {
        let mut out = Vec::new();
        assert!(write_raw("ĠĊaÃ©", &mut out));
        assert_eq!(out, " \naé".as_bytes());
        for other in ["Ġ｜", "a b", "ߐ", "\u{80}"] {
            out.clear();
            assert!(!write_raw(other, &mut out));
            assert_eq!(out, other.as_bytes());
        }
        out.clear();
        for broken in [&b"a\xc3"[..], b"\xc4a", b"\xc4\xc4", b"\xa1"] {
            assert!(!write_all_raw(broken, &mut out) && out.is_empty(), "{broken:?}");
        }
    }
}
