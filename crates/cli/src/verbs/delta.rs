//! `ingle delta`: what differs between two revisions of a file, as a patch or as hashes of its chunks, for those who publish them.
//!
//! A pull looks for both beside a file and uses what costs less ([`ingle_store::delta::reuse`]); `apply` does by hand what it does.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use clap::{Arg, ArgMatches, Command};
use ingle_engine::mmap::Mapped;
use ingle_model::file::gguf;
use ingle_store::delta::chunks::{self, Chunks};
use ingle_store::delta::reuse::{chunks_name, patch_name};
use ingle_store::delta::{Piece, Published, by_name, patch, plan, same_places};
use ingle_store::hash::Digest;
use serde_json::json;

use super::{Verb, human_bytes, json_arg, print_json, text, text_arg};
use crate::env::{Env, Progress, say};
use crate::exit::{Exit, Failure};

pub static VERB: Verb = Verb {
    name: "delta",
    about: "Make and apply patches between revisions of a file; see docs/delta.md",
    examples: &[
        "ingle delta plan old.gguf new.gguf",
        "ingle delta make old.gguf new.gguf",
        "ingle delta apply old.gguf new.gguf.from-0123456789abcdef.ingle-delta -o new.gguf",
        "ingle delta chunks new.gguf",
    ],
    args,
    run,
};

fn args(command: Command) -> Command {
    command
        .arg(
            Arg::new("action")
                .value_name("ACTION")
                .required(true)
                .value_parser(["plan", "make", "apply", "chunks"])
                .help("plan: what each way from OLD to NEW costs; make: the patch from OLD to NEW; apply: makes NEW of OLD and a patch; chunks: the hashes of FILE's pieces"),
        )
        .arg(
            Arg::new("path")
                .value_name("FILE")
                .num_args(1..=2)
                .required(true)
                .value_hint(clap::ValueHint::FilePath)
                .help("OLD and NEW, OLD and the patch, or the one FILE"),
        )
        .arg(
            text_arg("out", "FILE", "Write this file; default: beside NEW, under the name that a pull looks for")
                .short('o'),
        )
        .arg(
            Arg::new("level")
                .long("level")
                .value_name("N")
                .value_parser(clap::value_parser!(i32).range(1..=22))
                .help(format!("How hard zstd tries, 1 to 22 [default: {}]", patch::LEVEL)),
        )
        .arg(json_arg())
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let action = text(matches, "action").expect("clap asks for it");
    let paths: Vec<&Path> = matches.get_many::<String>("path").into_iter().flatten().map(Path::new).collect();
    let level = matches.get_one::<i32>("level").copied().unwrap_or(patch::LEVEL);
    let out = text(matches, "out").map(PathBuf::from);
    let as_json = matches.get_flag("json");
    env.catch_ctrl_c();
    match (action, &paths[..]) {
        ("plan", &[old, new]) => tell_plan(old, new, level, as_json, env)?,
        ("make", &[old, new]) => make(old, new, level, out, as_json, env)?,
        ("apply", &[old, from]) => {
            let out =
                out.ok_or_else(|| Failure::usage("ingle delta apply: expected -o FILE for what is made"))?;
            apply(old, from, &out, env)?;
        }
        ("chunks", &[file]) => {
            let out = out.unwrap_or_else(|| chunks_name(&file.display().to_string()).into());
            let list = Watched::new("hashing", env).during(|tell| Chunks::of(file, tell))?;
            write_whole(&out, |to| to.write_all(&list.to_bytes()).map_err(|e| Failure::file(&out, &e)))?;
            say(format_args!(
                "{}: beside {} it lets a pull fetch what changed",
                out.display(),
                file.display()
            ));
        }
        _ => {
            return Err(Failure::usage(format!(
                "ingle delta {action}: another number of files was expected"
            )));
        }
    }
    Ok(Exit::OK)
}

/// What each way from `old` to `new` costs. The patch is made for it, and kept nowhere.
fn tell_plan(old: &Path, new: &Path, level: i32, as_json: bool, env: &Env) -> Result<(), Failure> {
    let layout = layout(old, new)?;
    let made = Watched::new("comparing", env)
        .during(|tell| patch::make(old, new, &layout, level, &mut io::sink(), tell))?;
    let hash = |path| Watched::new("hashing", env).during(|tell| Chunks::of(path, tell));
    let (before, after) = (hash(old)?, hash(new)?);
    let list = after.to_bytes().len() as u64;
    let whole = size_of(new)?;
    let offers = plan(&Published {
        whole,
        ranges: Some(list + chunks::bytes_to_fetch(&after.stretches(&before))),
        patch: Some(made.patch_bytes),
        adapter: None,
    });
    if as_json {
        let ways = offers.iter().map(|offer| json!({ "way": offer.way.name(), "bytes": offer.bytes }));
        return print_json(&ways.collect::<Vec<_>>());
    }
    let mut out = io::stdout().lock();
    for offer in offers {
        let share = offer.bytes as f64 * 100.0 / whole.max(1) as f64;
        writeln!(out, "{:>10}  {share:5.1} %  {}", human_bytes(offer.bytes), offer.way.name())?;
    }
    Ok(())
}

fn make(
    old: &Path,
    new: &Path,
    level: i32,
    out: Option<PathBuf>,
    as_json: bool,
    env: &Env,
) -> Result<(), Failure> {
    let layout = layout(old, new)?;
    let out = match out {
        Some(out) => out,
        None => {
            let sha = Digest::Sha256([0; 32]);
            let hash = |tell: &mut dyn FnMut(u64) -> bool| {
                ingle_store::hash::hash_file(old, &sha, &|| env.interrupted.load(Relaxed), &mut |n| {
                    tell(n);
                })
            };
            let digest = Watched::new("hashing", env).during(hash)?.ok_or_else(Failure::interrupted)?;
            patch_name(&new.display().to_string(), &digest).into()
        }
    };
    let mut summary = None;
    write_whole(&out, |to| {
        let made = |tell: &mut dyn FnMut(u64) -> bool| patch::make(old, new, &layout, level, to, tell);
        summary = Some(Watched::new("comparing", env).during(made)?);
        Ok(())
    })?;
    let summary = summary.expect("it was written");
    if as_json {
        return print_json(&json!({
            "file": out,
            "bytes": summary.patch_bytes,
            "same": summary.same_bytes,
            "changed": summary.xor_bytes,
            "new": summary.new_bytes,
        }));
    }
    say(format_args!(
        "{}: {}, where the whole file is {}; {} are as they were",
        out.display(),
        human_bytes(summary.patch_bytes),
        human_bytes(size_of(new)?),
        human_bytes(summary.same_bytes)
    ));
    Ok(())
}

fn apply(old: &Path, from: &Path, out: &Path, env: &Env) -> Result<(), Failure> {
    let open = || File::open(from).map_err(|e| Failure::file(from, &e));
    let head = patch::Head::read(&mut open()?)
        .map_err(|why| Failure::invalid(format!("{}: {why}", from.display())))?;
    let part = out.with_added_extension("part");
    let patch = open()?;
    let expected = (&head.new, head.new_bytes);
    let made = |tell: &mut dyn FnMut(u64) -> bool| patch::apply(old, patch, expected, &part, tell);
    Watched::new("making", env).during(made)?;
    std::fs::rename(&part, out).map_err(|e| Failure::file(out, &e))?;
    say(format_args!("{}: sha256 {}", out.display(), head.new));
    Ok(())
}

/// Which bytes of two files belong together: tensors by name where both are GGUF files, else what is at the same place.
fn layout(old: &Path, new: &Path) -> Result<Vec<Piece>, Failure> {
    Ok(match (tensors(old), tensors(new)) {
        (Some(before), Some(after)) => {
            let before = before.iter().map(|(name, range)| (name.as_str(), range.clone()));
            let after = after.iter().map(|(name, range)| (name.as_str(), range.clone()));
            by_name(before, after, size_of(new)?)
        }
        _ => same_places(size_of(old)?, size_of(new)?),
    })
}

/// Names of a GGUF file's tensors and where they lie; `None` where it is none.
fn tensors(path: &Path) -> Option<Vec<(String, Range<u64>)>> {
    let file = Mapped::open(path).ok()?;
    let contents = gguf::parse(file.bytes().clone()).ok()?;
    let start = file.bytes().as_ptr() as usize;
    let place = |tensor: &ingle_model::file::Tensor| {
        let bytes = tensor.bytes();
        let at = (bytes.as_ptr() as usize).checked_sub(start)? as u64;
        Some((tensor.name.clone(), at..at + bytes.len() as u64))
    };
    contents.tensors().iter().map(place).collect()
}

fn size_of(path: &Path) -> Result<u64, Failure> {
    std::fs::metadata(path).map(|meta| meta.len()).map_err(|e| Failure::file(path, &e))
}

/// Writes a new file at `path`, whole or not at all.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::file(path, &e);
    let part = path.with_added_extension("part");
    let mut out = BufWriter::with_capacity(1 << 18, File::create(&part).map_err(failed)?);
    let written = write(&mut out).and_then(|()| {
        let file = out.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().and_then(|()| std::fs::rename(&part, path)).map_err(failed)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Shows how many bytes were gone through, and stops at Ctrl-C.
struct Watched<'a> {
    what: &'static str,
    progress: Progress,
    env: &'a Env,
}

impl<'a> Watched<'a> {
    fn new(what: &'static str, env: &'a Env) -> Self {
        Self { what, progress: Progress::new(env), env }
    }

    fn during<T>(
        mut self,
        work: impl FnOnce(&mut dyn FnMut(u64) -> bool) -> ingle_store::Result<T>,
    ) -> Result<T, Failure> {
        let mut done = 0;
        let mut tell = |n| {
            done += n;
            self.progress.show(format_args!("{}: {}", self.what, human_bytes(done)));
            !self.env.interrupted.load(Relaxed)
        };
        Ok(work(&mut tell)?)
    }
}
