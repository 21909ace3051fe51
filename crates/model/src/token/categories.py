"""Writes categories.rs: run `python3 categories.py > categories.rs` in this folder, then `cargo fmt`.

Takes the newest Unicode data at hand: the package unicodedata2 when it is installed, else Python's own.
"""
try:
    import unicodedata2 as unicodedata
except ImportError:
    import unicodedata

SETS = [
    ("LETTERS", "L", "letters, `\\p{L}`"),
    ("MARKS", "M", "combining marks, `\\p{M}`"),
    ("PUNCTUATION", "P", "punctuation, `\\p{P}`"),
]


def borders(major):
    """Code points at which membership flips, beginning outside the set."""
    inside, found = False, []
    for code in range(0x110000):
        if (unicodedata.category(chr(code))[0] == major) != inside:
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
for name, major, what in SETS:
    table = borders(major)
    print(f"\n/// Borders of {what}.")
    print(f"pub static {name}: [u32; {len(table)}] = [{', '.join(map(hex, table))}];")
