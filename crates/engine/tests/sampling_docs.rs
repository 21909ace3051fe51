//! `docs/sampling.md` lists every stage and setting as the shelf has them. To write the tables anew:
//! `UPDATE_DOCS=1 cargo test -p ingle-engine --test sampling_docs`

use std::path::Path;

use ingle_engine::sample::{Kind, STAGES, Setting, settings};

fn stages() -> String {
    let mut out = String::from("| stage | does | source |\n|---|---|---|\n");
    for s in STAGES {
        out += &format!("| `{}` | {} | {} |\n", s.name, s.about, s.source);
    }
    out
}

fn table() -> String {
    let mut out = String::from("| setting | values | default | meaning |\n|---|---|---|---|\n");
    for s in settings() {
        out += &format!("| `{}` | {} | {} | {} |\n", s.name, values(s), default(s), s.about);
    }
    out
}

fn values(setting: &Setting) -> String {
    match setting.kind {
        Kind::Count(min, max, _) => format!("{min} to {max}"),
        Kind::Number(min, max, _) => format!("{min} to {max}"),
        Kind::Seed(_) => "0 to 2^64 - 1".into(),
        Kind::Texts(_) => "texts".into(),
        Kind::Biases(_) => "ID=BIAS, TEXT=BIAS".into(),
        Kind::Stages(_) => "stages, `;` between".into(),
    }
}

fn default(setting: &Setting) -> String {
    let shown = setting.default.iter().filter(|d| !d.is_empty()).map(|d| format!("`{}`", d.escape_default()));
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "-".into() } else { shown.join(" ") }
}

#[test]
fn the_reference_is_what_the_shelf_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/sampling.md");
    let found = std::fs::read_to_string(&path).expect("docs/sampling.md is in the repository");
    let mut expected = found.clone();
    for (mark, content) in [("<!-- stages -->\n", stages()), ("<!-- settings -->\n", table())] {
        let start = expected.find(mark).expect("the mark is there") + mark.len();
        let end = start + expected[start..].find("<!-- end -->").expect("the end is marked");
        expected.replace_range(start..end, &content);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).expect("docs/sampling.md can be written");
    } else {
        assert!(found == expected, "docs/sampling.md differs from the shelf; see the head of this test");
    }
}
