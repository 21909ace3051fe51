//! Tasks whose right answer is known: a prompt, and the answer that is replayed.
//!
//! Texts come from the folder of data and from this crate's sources; edits are drawn from fixed seeds. The kinds of the
//! built-in model come with prompts and answers of their own.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ingle_demo::{KINDS, Rng, held_out};
use serde_json::{Value as Json, json};

/// A prompt and its answer.
pub struct Task {
    pub prompt: String,
    pub answer: String,
}

/// Tasks of one kind.
pub struct Group {
    pub name: String,
    pub tasks: Vec<Task>,
}

/// Sources of this crate, and a word in them that becomes another.
const SOURCES: &[(&str, &str, &str)] = &[
    (include_str!("../../src/stop.rs"), "text", "passage"),
    (include_str!("../../src/schedule.rs"), "lane", "slot"),
    (include_str!("../../src/prefix.rs"), "node", "knot"),
    (include_str!("../../src/pattern.rs"), "state", "phase"),
    (include_str!("../../src/ban.rs"), "token", "symbol"),
    (include_str!("../../src/memory.rs"), "bytes", "octets"),
];

/// All tasks that can be made of the texts in `data`.
pub fn groups(data: &Path) -> Result<Vec<Group>> {
    let stories = passages(&data.join("text/tinystories.txt"), "<|endoftext|>", 300..2000)?;
    let articles = passages(&data.join("text/wiki.test.raw"), "\n", 600..4000)?;
    let schemas = schemas(&data.join("json/jsonschemabench"), 1500..6000)?;
    let schemas: Vec<Json> =
        schemas.iter().filter_map(|text| serde_json::from_str(text).ok()).take(40).collect();
    let edited = |texts: &[String], one_in| -> Vec<Task> {
        texts.iter().take(40).zip(1..).map(|(text, seed)| rewrite(text, one_in, seed)).collect()
    };
    let list = [
        ("rewrite a story, 1 word in 40", edited(&stories, 40)),
        ("rewrite an article, 1 word in 40", edited(&articles, 40)),
        ("rewrite an article, 1 word in 8", edited(&articles, 8)),
        (
            "JSON, a value in 10 changed",
            schemas.iter().zip(1..).map(|(json, seed)| change(json, seed)).collect(),
        ),
        ("JSON, minified to pretty", schemas.iter().map(prettify).collect()),
        ("JSON of a table", (1..=20).map(records).collect()),
        ("code, a name changed", SOURCES.iter().map(rename).collect()),
        ("free story", stories.iter().skip(100).take(60).map(|text| free(text)).collect()),
        ("free article", articles.iter().skip(60).take(40).map(|text| free(text)).collect()),
    ];
    let mut groups: Vec<Group> =
        list.into_iter().map(|(name, tasks)| Group { name: name.into(), tasks }).collect();
    groups.extend(KINDS.iter().map(|kind| {
        let items = held_out(kind, 7, 60).into_iter();
        let tasks = items.map(|item| Task { prompt: item.prompt.render(), answer: item.reference }).collect();
        Group { name: format!("demo: {}", kind.name), tasks }
    }));
    Ok(groups)
}

/// The parts of a file that are so many bytes long.
pub fn passages(path: &Path, between: &str, n_bytes: Range<usize>) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parts = text.split(between).map(|part| part.trim().to_string());
    Ok(parts.filter(|part| n_bytes.contains(&part.len())).collect())
}

/// The documents that are so many bytes long, in the order of their paths.
pub fn schemas(folder: &Path, n_bytes: Range<usize>) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for path in ["Snowplow", "Github_trivial", "Glaiveai2K"].map(|part| folder.join(part)) {
        for path in entries(&path)? {
            texts.push(std::fs::read_to_string(&path).with_context(|| path.display().to_string())?);
        }
    }
    texts.retain(|text| n_bytes.contains(&text.len()));
    Ok(texts)
}

/// Every Rust source in `folder`, cut into some items each.
pub fn sources(folder: &Path) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for path in entries(folder)? {
        if path.is_dir() {
            texts.extend(sources(&path)?);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let source = std::fs::read_to_string(&path)?;
            let items: Vec<&str> = source.split_inclusive("\n}\n").collect();
            texts.extend(items.chunks(3).map(<[_]>::concat));
        }
    }
    Ok(texts)
}

/// What is in a folder, in order.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// A text, in which one word in `one_in` is left out, doubled by another, or replaced.
fn rewrite(text: &str, one_in: usize, seed: u64) -> Task {
    let mut rng = Rng::new(seed);
    let words: Vec<&str> = text.split(' ').collect();
    let mut answer: Vec<&str> = Vec::new();
    for &word in &words {
        match if rng.below(one_in) == 0 { rng.below(4) } else { 9 } {
            0 => {}
            1 => answer.extend([word, rng.pick(&words)]),
            2 | 3 => answer.push(rng.pick(&words)),
            _ => answer.push(word),
        }
    }
    Task { prompt: format!("Correct this text:\n{text}\n\nCorrected:\n"), answer: answer.join(" ") }
}

/// The document again, with other words for one text in ten.
fn change(json: &Json, seed: u64) -> Task {
    fn walk(json: &mut Json, rng: &mut Rng) {
        match json {
            Json::String(text) if rng.below(10) == 0 => *text = format!("{} of {text}", rng.below(100)),
            Json::Array(items) => items.iter_mut().for_each(|item| walk(item, rng)),
            Json::Object(fields) => fields.values_mut().for_each(|value| walk(value, rng)),
            _ => {}
        }
    }
    let mut changed = json.clone();
    walk(&mut changed, &mut Rng::new(seed));
    Task { prompt: format!("Update this document:\n{json:#}\n\nUpdated:\n"), answer: format!("{changed:#}") }
}

/// The document with line breaks and indentation.
fn prettify(json: &Json) -> Task {
    Task { prompt: format!("Indent this document:\n{json}\n\nIndented:\n"), answer: format!("{json:#}") }
}

/// A table as an array of objects.
fn records(seed: u64) -> Task {
    let mut rng = Rng::new(seed);
    let (mut table, mut list) = (String::from("name | city | year | amount | status\n"), Vec::new());
    for _ in 0..24 {
        let name = format!(
            "{} {}",
            rng.pick(&["Ana", "Bert", "Carla", "Dieter", "Emma", "Farid", "Greta", "Hugo"]),
            rng.pick(&["Moreau", "Silva", "Tanaka", "Okafor", "Lindqvist", "Weber", "Novak"]),
        );
        let city = rng.pick(&["Lisbon", "Oslo", "Nairobi", "Kyoto", "Quito", "Prague"]);
        let (year, amount) = (1990 + rng.below(36), rng.below(100_000));
        let status = rng.pick(&["paid", "open", "overdue"]);
        table += &format!("{name} | {city} | {year} | {amount} | {status}\n");
        list.push(json!({"name": name, "city": city, "year": year, "amount": amount, "status": status}));
    }
    Task { prompt: format!("As JSON:\n{table}\n"), answer: format!("{:#}", Json::from(list)) }
}

/// The first 200 lines of a source file, with a word replaced wherever it stands.
fn rename((source, from, to): &(&str, &str, &str)) -> Task {
    let source = source.lines().take(200).collect::<Vec<_>>().join("\n");
    Task { prompt: format!("Call {from} {to}:\n{source}\n\n"), answer: source.replace(from, to) }
}

/// A text that nothing but its first tenth is known of.
fn free(text: &str) -> Task {
    let known = (text.len() / 10..).find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let (prompt, answer) = text.split_at(known);
    Task { prompt: prompt.into(), answer: answer.into() }
}
