//! `ingle rm NAME`: removes a model that was fetched, or forgets a name.
//!
//! A file that was here before it got its name stays where it is. Of a hub model those bytes go that no other name in the
//! shared cache uses. Of a signed release both slots go, and what was learnt of it stays. What a running program uses or fetches is
//! not removed.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_store::cache::Cache;
use ingle_store::library::Library;
use ingle_store::names::Named;
use ingle_store::reference::{HubRef, MAIN, Reference, Want};
use ingle_store::registry::image::ImageRef;
use ingle_store::remove::{self, Removal};
use ingle_store::{in_use, leftovers};
use serde_json::json;

use super::{Verb, human_bytes, json_arg, print_json, text};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::model_ref::DEMO;
use crate::{guessing, pulling, updating};

pub static VERB: Verb = Verb {
    name: "rm",
    about: "Remove a model that was fetched, or forget a name",
    examples: &["ingle rm qwen3:0.6b", "ingle rm user/repo:Q4_K_M --yes", "ingle rm mine"],
    args,
    run,
};

fn args(command: Command) -> Command {
    command
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .required_unless_present("words")
                .help("As in the list; user/repo without a quantisation means all of it"),
        )
        .arg(
            Arg::new("words")
                .long("words")
                .action(ArgAction::SetTrue)
                .conflicts_with("name")
                .help("Remove what was kept of answers to guess by (--speculate words)"),
        )
        .arg(Arg::new("yes").long("yes").short('y').action(ArgAction::SetTrue).help("Don't ask"))
        .arg(json_arg())
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    if matches.get_flag("words") {
        return remove_words(env);
    }
    let name = text(matches, "name").expect("clap asks for it");
    let asker = Asker { env, is_sure: matches.get_flag("yes") };
    let agrees = |what: &str| asker.agrees(what);
    let removed = match remove_release(name, env, &agrees)? {
        Some(removed) => removed,
        None => remove(name, &pulling::library(env), &agrees)?,
    };
    let Some(bytes) = removed else {
        say("nothing was removed");
        return Ok(Exit::FAILED);
    };
    if matches.get_flag("json") {
        print_json(&json!({ "removed": name, "bytes_freed": bytes }))?;
    } else {
        writeln!(std::io::stdout(), "removed {name}, {} freed", human_bytes(bytes))?;
    }
    Ok(Exit::OK)
}

/// Removes the words of answers, whatever vocabulary they are in.
fn remove_words(env: &Env) -> Result<Exit, Failure> {
    let dir = guessing::words_dir(env);
    match std::fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Failure::file(&dir, &e)),
        _ => {}
    }
    writeln!(std::io::stdout(), "removed the words that answers left")?;
    Ok(Exit::OK)
}

/// Removes the releases of the model `name`, where somebody `agrees`; `None` where it is none that came so.
fn remove_release(name: &str, env: &Env, agrees: Agrees<'_>) -> Result<Option<Option<u64>>, Failure> {
    let releases = updating::releases(env);
    let Some(removal) = releases.removal(name)? else { return Ok(None) };
    let (bytes, floor) = (removal.bytes, removal.floor);
    let versions: Vec<String> = removal.versions.iter().map(u64::to_string).collect();
    let what = format!("Remove {name}, versions {} ({})", versions.join(" and "), human_bytes(bytes));
    if !agrees(&what)? {
        return Ok(Some(None));
    }
    releases.remove(removal)?;
    let floor = if floor > 1 {
        format!(", and nothing below version {floor} is installed again")
    } else {
        String::new()
    };
    say(format_args!(
        "what was learnt of its releases is kept, so that nobody can offer older ones as new{floor}; `ingle update {name}` installs it again"
    ));
    Ok(Some(Some(bytes)))
}

/// Removes what `name` means, where somebody `agrees` to what that is. Gives the bytes freed, or `None` when nobody does.
pub fn remove(name: &str, library: &Library, agrees: Agrees<'_>) -> Result<Option<u64>, Failure> {
    let named = library.names.read()?.remove(name);
    match (named, Reference::parse(name)?) {
        (Some(named), _) => remove_named(name, &named, library, agrees),
        (None, Some(Reference::Hub(hub))) => remove_hub(name, &hub, library, agrees),
        (None, Some(Reference::Image(image))) => remove_image(name, &image, library, agrees),
        (None, _) if name == DEMO => Err(Failure::usage("demo is built in and can't be removed")),
        (None, _) => Err(Failure::not_found(format!("{name}: no such model here; ingle list shows them"))),
    }
}

/// Says whether something may be removed.
pub type Agrees<'a> = &'a dyn Fn(&str) -> Result<bool, Failure>;

/// Who decides.
struct Asker<'a> {
    env: &'a Env,
    is_sure: bool,
}

impl Asker<'_> {
    fn agrees(&self, what: &str) -> Result<bool, Failure> {
        if self.is_sure {
            return Ok(true);
        }
        if !self.env.can_ask() {
            return Err(Failure::usage(format!("{what}? There is nobody to ask here; give --yes")));
        }
        self.env.ask(&format!("{what}?"), false)
    }
}

/// Forgets a name, and removes the file where it is ours. Gives the bytes freed, or `None` when the user would rather not.
fn remove_named(
    name: &str,
    named: &Named,
    library: &Library,
    agrees: Agrees<'_>,
) -> Result<Option<u64>, Failure> {
    let mut bytes = 0;
    match named {
        Named::Path(path) | Named::File { path, .. } => {
            say(format_args!("{} stays where it is; only the name is forgotten", path.display()));
        }
        Named::Hub(hub) => {
            say(format_args!("only the name is forgotten; `ingle rm {hub}` removes the model"));
        }
        Named::Url { path, .. } => {
            let size = std::fs::metadata(path).map_or(0, |m| m.len());
            let lock = PathBuf::from(format!("{}.lock", path.display()));
            let _claim = in_use::claim(name, [path.as_path(), &lock])?;
            if !agrees(&format!("Remove {} ({})", path.display(), human_bytes(size)))? {
                return Ok(None);
            }
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Failure::file(path, &e)),
                _ => bytes = size,
            }
        }
    }
    library.names.edit(|names| {
        names.remove(name);
        Ok(())
    })?;
    Ok(Some(bytes))
}

fn remove_hub(
    name: &str,
    hub: &HubRef,
    library: &Library,
    agrees: Agrees<'_>,
) -> Result<Option<u64>, Failure> {
    let cache = &library.cache;
    let is_all = hub.want == Want::Default;
    let found = cache.locate(hub);
    let pinned = cache.pinned_snapshot(hub);
    let is_here = |snapshot: &Path| match hub.revision == MAIN {
        true => true,
        false => pinned.as_deref() == Some(snapshot),
    };
    let is_chosen = |snapshot: &Path, path: &str| {
        let is_named = is_all || found.as_ref().is_some_and(|f| f.files.iter().any(|p| p == path));
        is_here(snapshot) && is_named
    };
    let entries = remove::entries(cache, &hub.repo, is_chosen);
    let removal: Removal = remove::plan(&entries);
    let is_there = if is_all && hub.revision == MAIN {
        cache.repo_dir(&hub.repo).exists()
    } else {
        !removal.names.is_empty()
    };
    if !is_there {
        return Err(Failure::not_found(format!("{name}: no such model here; ingle list shows them")));
    }
    let _claim = in_use::claim(name, used(cache, hub, &removal).iter().map(PathBuf::as_path))?;
    for path in &removal.names {
        say(path.display());
    }
    let what = format!(
        "Remove {name}, {} files, from the cache that is shared with other programs ({} freed)",
        removal.names.len(),
        human_bytes(removal.bytes_freed)
    );
    if !agrees(&what)? {
        return Ok(None);
    }
    remove::perform(cache, &hub.repo, &removal)?;
    Ok(Some(removal.bytes_freed))
}

/// The files that a program which uses or fetches what goes holds locks on.
fn used(cache: &Cache, hub: &HubRef, removal: &Removal) -> Vec<PathBuf> {
    let locks = cache.locks_dir(&hub.repo);
    let mut files: Vec<PathBuf> = removal.names.iter().chain(&removal.blobs).cloned().collect();
    if removal.is_all {
        let held = std::fs::read_dir(&locks).into_iter().flatten().flatten();
        files.extend(held.map(|lock| lock.path()));
    }
    files
}

fn remove_image(
    name: &str,
    image: &ImageRef,
    library: &Library,
    agrees: Agrees<'_>,
) -> Result<Option<u64>, Failure> {
    // Also one that is not whole any more: it takes room, and its name.
    if !library.images.is_known(image) {
        return Err(Failure::not_found(format!("{name}: no such model here; ingle list shows them")));
    }
    let size = library.images.locate(image).map_or(0, |found| found.size);
    if !agrees(&format!("Remove {image} ({} where nothing else uses it)", human_bytes(size)))? {
        return Ok(None);
    }
    Ok(Some(leftovers::remove_image(library, image)?))
}
