"""Writes categories.rs: run `python3 categories.py > categories.rs` in this folder, then `cargo fmt`.

Takes the newest Unicode data at hand: the package unicodedata2 when it is installed, else Python's own.
"""
try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

SETS = [
    ("LETTERS", "L", "letters, `\\p{L}`"),
    ("CAPITALS", "Lu Lt", "upper and title case letters, `[\\p{Lu}\\p{Lt}]`"),
    ("SMALL", "Ll", "lower case letters, `\\p{Ll}`"),
    ("MARKS", "M", "combining marks, `\\p{M}`"),
    ("NONSPACING", "Mn", "marks that take no place of their own, `\\p{Mn}`"),
    ("DIGITS", "Nd", "decimal digits, `\\d`"),
    ("PUNCTUATION", "P", "punctuation, `\\p{P}`"),
    ("SYMBOLS", "S", "symbols, `\\p{S}`"),
    ("CONTROLS", "Cc Cf Co", "controls, formats and private use, `[\\p{Cc}\\p{Cf}\\p{Co}]`"),
]


def borders(categories):
    """Code points at which membership flips, beginning outside the set."""
    inside, found, categories = False, [], tuple(categories.split())
    for code in range(0x110000):
        if unicodedata.category(chr(code)).startswith(categories) != inside:
            inside = not inside
            found.append(code)
    return found


print("//! Unicode general categories that std lacks (`char::is_alphabetic` is not `\\p{L}`: it adds marks and numbers).")
print("//!")
print(f"//! Written by categories.py from Unicode {unicodedata.unidata_version}; edit that, not this. Each table lists, ascending, the code")
print("//! points at which membership flips, beginning outside the set.")
print("""
/// Whether `c` lies in `set`: an odd number of borders stand at or before it.
pub fn contains(set: &[u32], c: char) -> bool {
    set.partition_point(|&border| border <= c as u32) % 2 == 1
}""")
for name, categories, what in SETS:
    table = borders(categories)
    print(f"\n/// Borders of {what}.")
    print(f"pub static {name}: [u32; {len(table)}] = [{', '.join(map(hex, table))}];")
