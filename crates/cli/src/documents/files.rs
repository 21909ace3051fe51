//! Documents from files: which are texts, and how long they may be.

use std::fs::File;
use std::io::{self, Read};

use clap::{Arg, ArgAction, ArgMatches};
use ingle_assist::document::Document;

use crate::exit::Failure;

/// The longest document.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;
/// The most documents.
const DOCUMENTS_MAX: usize = 100;
/// `--document` and `--passage`.
pub fn args() -> [Arg; 2] {
    [
        Arg::new("document")
            .long("document")
            .value_name("FILE")
            .action(ArgAction::Append)
            .value_hint(clap::ValueHint::FilePath)
            .conflicts_with_all(["schema", "logprobs"])
            .help("Answer about this text, however long; it stays on the device. May be given several times"),
        Arg::new("passage")
            .long("passage")
            .value_name("N")
            .requires("document")
            .value_parser(clap::value_parser!(u64).range(16..=1 << 20))
            .help("Tokens of a document that are read at once; default: 512, less if the context is short"),
    ]
}

/// The documents of the command line; none where it names none.
pub fn open(matches: &ArgMatches) -> Result<Vec<Document>, Failure> {
    let files: Vec<&String> = matches.get_many::<String>("document").into_iter().flatten().collect();
    if files.len() > DOCUMENTS_MAX {
        return Err(Failure::usage(format!("--document: {} files, {DOCUMENTS_MAX} at most", files.len())));
    }
    files.into_iter().map(|file| open_one(file)).collect()
}

fn open_one(file: &str) -> Result<Document, Failure> {
    let io = |e: io::Error| Failure::file(file, &e);
    let mut bytes = Vec::new();
    File::open(file).map_err(io)?.take(DOCUMENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
        return Err(Failure::failed(format!("{file}: more than {DOCUMENT_BYTES_MAX} bytes, split it")));
    }
    let is_text = !bytes.starts_with(b"%PDF") && !bytes.contains(&0);
    let text = String::from_utf8(bytes).ok().filter(|_| is_text).ok_or_else(|| {
        Failure::failed(format!(
            "{file}: not a text in UTF-8 (.txt, .md, .csv, ...), expected one; convert it first"
        ))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
    if text.trim().is_empty() {
        return Err(Failure::failed(format!("{file}: empty, expected a text")));
    }
    Ok(Document { name: file.to_owned(), text })
}
