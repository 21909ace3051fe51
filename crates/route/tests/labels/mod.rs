//! RouteLLM's labels, for tests and the training program: which questions of GSM8K and MMLU Mixtral 8x7B and GPT-4 answered rightly.
//!
//! They are read from `shared/data/routing` beside the repository (Apache-2.0, from the RouteLLM repository): CSV files with the columns
//! `prompt` and one per model, and a list of prompts that RouteLLM's own training data has seen, which it leaves out of every measurement
//! and so do we.

pub mod crossing;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use ingle_route::quality::Label;

const WEAK: &str = "mistralai/Mixtral-8x7B-Instruct-v0.1";
const STRONG: &str = "gpt-4-1106-preview";

/// A question and what two models made of it.
pub struct Question {
    pub prompt: String,
    pub label: Label,
    /// The file it is from: a subject of MMLU.
    pub subject: String,
}

/// The questions of `name`, without the contaminated ones; `None`, said on standard error, where the data is not there.
pub fn questions(name: &str) -> Option<Vec<Question>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/routing").join(name);
    let Ok(entries) = fs::read_dir(&folder) else {
        eprintln!("skipped: no reference data at ../shared/data/routing/{name}");
        return None;
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let seen = fs::read_to_string(folder.join("contaminated_prompts.jsonl")).unwrap();
    let prompt = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        json["eval_prompt"].as_str().unwrap().to_owned()
    };
    let seen: HashSet<String> = seen.lines().map(prompt).collect();
    let mut out = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "csv")) {
        let rows = csv(&fs::read_to_string(file).unwrap());
        let column = |name: &str| rows[0].iter().position(|cell| cell == name).unwrap();
        let (prompt, weak, strong) = (column("prompt"), column(WEAK), column(STRONG));
        for row in rows[1..].iter().filter(|row| !seen.contains(&row[prompt])) {
            out.push(Question {
                prompt: row[prompt].clone(),
                label: Label { weak: row[weak] == "True", strong: row[strong] == "True" },
                subject: file.file_stem().unwrap().to_string_lossy().into_owned(),
            });
        }
    }
    Some(out)
}

/// The labels alone.
pub fn labels(questions: &[Question]) -> Vec<Label> {
    questions.iter().map(|q| q.label).collect()
}

/// Rows of cells, as RFC 4180 quotes them.
fn csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.push(chars.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(cell);
        rows.push(row);
    }
    rows
}
