//! `docs/privacy.md` lists every detector as the shelf has it. To write the table anew:
//! `UPDATE_DOCS=1 cargo test -p ingle-route --test private_docs`

use std::path::Path;

use ingle_route::privacy::DETECTORS;

fn table() -> String {
    let mut out = String::from("| kind | class | placeholder | found | source |\n|---|---|---|---|---|\n");
    for d in DETECTORS {
        let k = d.kind;
        out += &format!("| `{}` | {} | `[{}_1]` | {} | {} |\n", k.name, k.class, k.word, d.about, d.source);
    }
    out
}

#[test]
fn the_reference_is_what_the_shelf_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/privacy.md");
    let found = std::fs::read_to_string(&path).expect("docs/privacy.md is in the repository");
    let mut expected = found.clone();
    let mark = "<!-- detectors -->\n";
    let start = expected.find(mark).expect("the mark is there") + mark.len();
    let end = start + expected[start..].find("<!-- end -->").expect("the end is marked");
    expected.replace_range(start..end, &table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("docs/privacy.md can be written");
    } else {
        assert!(found == expected, "docs/privacy.md differs from the shelf; see the head of this test");
    }
}
