//! Lists of names, searched as they lie in the program; see `crates/route/names/README.md` for where they are from.

pub(super) static GIVEN: &str = include_str!("../../../names/given.txt");
pub(super) static FAMILY: &str = include_str!("../../../names/family.txt");

/// Whether the list, a sorted line each, has this word, in whatever case.
pub(super) fn lists(list: &str, word: &str) -> bool {
    let mut small = [0; 32];
    let mut n = 0;
    for char in word.chars().flat_map(char::to_lowercase) {
        let Some(place) = small.get_mut(n..n + char.len_utf8()) else { return false };
        char.encode_utf8(place);
        n += char.len_utf8();
    }
    let (word, list) = (&small[..n], list.as_bytes());
    let (mut low, mut high) = (0, list.len());
    while low < high {
        // The line that the middle lies in.
        let middle = (low + high) / 2;
        let start = list[low..middle].iter().rposition(|byte| *byte == b'\n').map_or(low, |at| low + at + 1);
        let end = list[middle..].iter().position(|byte| *byte == b'\n').map_or(list.len(), |at| middle + at);
        match list[start..end].cmp(word) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted_and_every_name_is_found() {
        for list in [GIVEN, FAMILY] {
            assert!(list.lines().is_sorted() && list.ends_with('\n'));
            for name in list.lines() {
                assert!(lists(list, name), "{name}");
                // But for Turkish, whose two letters i are one when they are small elsewhere.
                assert!(name.contains('ı') || lists(list, &name.to_uppercase()), "{name}");
                assert!(!lists(list, &format!("{name}q")) || list.contains(&format!("\n{name}q\n")));
            }
            assert!(
                !lists(list, "")
                    && !lists(list, "zzzz")
                    && !lists(list, "\u{1}")
                    && !lists(list, &"a".repeat(99))
            );
        }
    }
}
