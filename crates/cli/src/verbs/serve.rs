//! `ingle serve MODEL...`: the server and the page, of models that write and of encoders.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_engine::mmap::give_back_large;
use ingle_engine::model_file::{LoadOptions, Pack};
use ingle_engine::residency::budget::room;
use ingle_engine::residency::need::May;
use ingle_engine::sysfs::Tree;
use ingle_kernel::par::Pool;
use ingle_route::policy::Wish;
use ingle_serve::{ApiKey, Feedback, Library, Limits, Options, PATIENCE, Terms, keep_alive, serve};

use super::{Verb, model_arg, text, text_arg};
use crate::accounts::Accounts;
use crate::at_rest;
use crate::elsewhere::Elsewhere;
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::feedback::Keeper;
use crate::guessing::Guesser;
use crate::loading::Loader;
use crate::managing::Managed;
use crate::packing::Writer;
use crate::settings::{Source, size};
use crate::stocking::Stock;
use crate::{descriptors, load, model_ref, packing, pulling, settings};

pub static VERB: Verb = Verb {
    name: "serve",
    about: "Serve models to programs and to the browser",
    examples: &[
        "ingle serve demo",
        "ingle serve qwen3:0.6b --port 8080 --parallel 8",
        "ingle serve qwen3:0.6b all-MiniLM-L6-v2",
        "ingle serve demo --manage",
        "ingle serve qwen3:0.6b qwen3:4b --memory-budget 4GiB --keep-alive 10m",
        "ingle serve model.gguf --host 0.0.0.0 --api-key-file key.txt --allow-host box.lan",
    ],
    args,
    run,
};

/// Answers computed at the same time, when nobody says how many.
const PARALLEL: &str = "4";
/// MiB of files of what answers have been through, when nobody says how many.
const KV_CACHE_MIB: &str = "8192";
/// Requests that may wait for each answer under way.
const WAITING_PER_LANE: usize = 16;
/// Connections at the same time, where the system allows as many.
const CONNECTIONS_MAX: usize = 12_000;
/// The longest name of a key.
const NAME_BYTES_MAX: usize = 64;
/// Descriptors of files for everything else.
const DESCRIPTORS_BESIDE: usize = 64;

fn args(command: Command) -> Command {
    let command = command
        .arg(model_arg().num_args(1..).action(ArgAction::Append))
        .arg(
            text_arg("host", "ADDRESS", "Listen here; another address than the loopback's needs an API key")
                .default_value("127.0.0.1"),
        )
        .arg(
            Arg::new("port")
                .long("port")
                .value_name("N")
                .default_value("8383")
                .value_parser(clap::value_parser!(u16))
                .help("Listen on this port; 0 for any that is free"),
        )
        .arg(
            Arg::new("parallel")
                .long("parallel")
                .value_name("N")
                .default_value(PARALLEL)
                .value_parser(clap::value_parser!(u16).range(1..=256))
                .help("Compute up to N answers at the same time, each with a context of its own"),
        )
        .arg(
            Arg::new("request-timeout")
                .long("request-timeout")
                .value_name("SECONDS")
                .value_parser(clap::value_parser!(u32).range(1..))
                .help("End an answer, with an error, that is not complete so long after it was asked for; default: never"),
        )
        .arg(
            Arg::new("cache-mib")
                .long("cache-mib")
                .value_name("N")
                .value_parser(clap::value_parser!(u64).range(..1 << 30))
                .help(
                    "Keep up to N MiB, of each model, of what answers have been through, for prompts that begin the same; \
                     default: as much as the contexts take, or a quarter of the memory left beside them",
                ),
        )
        .arg(text_arg(
            "kv-cache-dir",
            "DIR",
            "Keep what answers have been through in files here, for the next start; they tell what was asked, and are sealed where you have a key",
        ))
        .arg(
            Arg::new("kv-cache-mib")
                .long("kv-cache-mib")
                .value_name("N")
                .requires("kv-cache-dir")
                .default_value(KV_CACHE_MIB)
                .value_parser(clap::value_parser!(u64).range(..1 << 40))
                .help("Keep up to N MiB there; what was unused for longest goes first"),
        )
        .arg(text_arg(
            "api-key-file",
            "FILE",
            "Ask for one of the keys in this file, one to a line, as KEY or NAME: KEY route=local; or INGLE_API_KEY",
        ))
        .arg(repeated("allow-host", "NAME", "Answer to this host name too"))
        .arg(repeated("allow-origin", "ORIGIN", "Let pages of this origin ask, such as https://chat.example"))
        .arg(Arg::new("or-smaller").long("or-smaller").action(ArgAction::SetTrue).help(
            "With --governor: let a smaller model of those in memory answer conversations while the device is hot, its battery low, or its user saving power",
        ))
        .arg(Arg::new("manage").long("manage").action(ArgAction::SetTrue).help(
            "Let clients use all models on this device by their names, fetch more from the hub and remove some (POST /api/pull, DELETE /api/delete)",
        ))
        .arg(
            text_arg(
                "memory-budget",
                "SIZE",
                "Let the whole server have so much memory, such as 6GiB: models come when they are asked for, and leave when others need the room; \
                 default: what the machine and its control groups can give",
            )
            .value_parser(size::bytes),
        )
        .arg(
            text_arg(
                "keep-alive",
                "TIME",
                "Have a model leave memory that was not asked for so long, such as 10m; default: when others need the room",
            )
            .value_parser(time),
        )
        .arg(repeated("pin", "NAME", "Keep the model of this name in memory, whatever others need"))
        .arg(repeated(
            "model-name",
            "NAME",
            "The name by which requests call the MODEL at the same place; default: MODEL's",
        ));
    let command = settings::args(settings::args(command, &["ctx"]), settings::COMPUTE);
    let command = settings::args(settings::args(command, settings::GUESSING), settings::METERING);
    settings::args(command, settings::AT_REST)
}

fn repeated(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    text_arg(name, value, help).action(ArgAction::Append)
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    let host = text(matches, "host").expect("it has a default");
    let host: IpAddr = if host == "localhost" { "127.0.0.1" } else { host }.parse().map_err(|_| {
        Failure::usage(format!("--host {host}: expected an address such as 127.0.0.1 or ::1"))
    })?;
    let port = *matches.get_one::<u16>("port").expect("it has a default");
    let n_lanes = usize::from(*matches.get_one::<u16>("parallel").expect("it has a default"));
    let many = |name| matches.get_many::<String>(name).into_iter().flatten().cloned().collect();
    let mut options = Options {
        address: SocketAddr::new(host, port),
        api_keys: keys(matches, env)?,
        allow_hosts: many("allow-host"),
        allow_origins: many("allow-origin"),
        library: None,
        residence: None,
        accounts: None,
        elsewhere: Some(Arc::new(Elsewhere::new(env)?)),
        feedback: Keeper::new(env).map(|keeper| Arc::new(keeper) as Arc<dyn Feedback>),
        limits: Limits {
            connections_max: descriptors::allow(CONNECTIONS_MAX + DESCRIPTORS_BESIDE) - DESCRIPTORS_BESIDE,
            answer: matches.get_one("request-timeout").map(|&s: &u32| Duration::from_secs(s.into())),
            ..Limits::usual()
        },
    };
    if !host.is_loopback() && options.api_keys.is_empty() {
        return Err(Failure::usage(format!(
            "--host {host}: others can reach this address, so an API key is needed: --api-key-file FILE"
        )));
    }
    let models: Vec<&String> = matches.get_many("model").into_iter().flatten().collect();
    models.iter().try_for_each(|model| pulling::offer(model, env))?;
    env.catch_ctrl_c();
    let kv_mib = *matches.get_one::<u64>("kv-cache-mib").expect("it has a default");
    let kv_dir = match text(matches, "kv-cache-dir") {
        Some(dir) => Some((PathBuf::from(dir), kv_mib << 20, at_rest::chosen(env)?.form)),
        None => None,
    };
    give_back_large();
    let pool = Arc::new(Pool::new(env.n_threads()));
    let accounts = Arc::new(Accounts::new(env, pool.n_threads(), n_lanes, matches.get_flag("or-smaller"))?);
    let LoadOptions { tier, pack, .. } = load::options(env, pool.n_threads());
    let budget = matches.get_one::<u64>("memory-budget").copied();
    let manages = matches.get_flag("manage");
    let tree = Tree::system();
    let guesser = Guesser::new(env, &pool)?;
    let shared = guesser.n_bytes();
    let loader = Arc::new(Loader {
        guesser,
        allowance: accounts.allowance().clone(),
        pool,
        tier: tier.map(str::to_owned),
        pack,
        ctx: env.settings.count("ctx"),
        kv: env.settings.text("kv").expect("it has a default").to_owned(),
        chunk: env.settings.count("chunk"),
        n_lanes,
        queue_max: WAITING_PER_LANE * n_lanes,
        prefix_bytes: matches.get_one::<u64>("cache-mib").map(|mib| mib << 20),
        kv_dir,
        packed: packing::dir(env).filter(|_| pack != Pack::Off).map(|dir| (dir, Writer::start())),
        is_alone: models.len() == 1 && !manages,
        room: room(&tree).into_iter().chain(budget).min(),
    });
    let managed = match manages {
        true => Some(Arc::new(Managed::new(env)?)),
        false => None,
    };
    env.is_use = true;
    // What a flag or the user's configuration says stays as it is said.
    let is_said = |name| !matches!(env.settings.get(name), None | Some((_, Source::Default)));
    let may = May {
        shrink_caches: matches.get_one::<u64>("cache-mib").is_none(),
        lower_kv: !is_said("kv"),
        shorten_ctx: !is_said("ctx"),
    };
    let mut names = matches.get_many::<String>("model-name").into_iter().flatten();
    let names: Vec<String> =
        models.iter().map(|model| names.next().map_or_else(|| short_name(model), String::clone)).collect();
    if matches.get_many::<String>("model-name").is_some_and(|given| given.len() > models.len()) {
        return Err(Failure::usage("--model-name: there are more names than models"));
    }
    let pinned: Vec<String> = many("pin");
    if let Some(name) = pinned.iter().find(|name| !names.contains(name)) {
        return Err(Failure::usage(format!("--pin {name}: no model of this name is served")));
    }
    let library = pulling::library(env);
    let stock = Arc::new(Stock::new(loader, may, pinned, library, managed.clone()));
    for (model, name) in models.into_iter().zip(&names) {
        let file = model_ref::open(model, env)?;
        if let Some(managed) = &managed {
            managed.serves(Path::new(file.name()), name);
        }
        stock.add(name, model, &file)?;
    }
    options.accounts = Some(accounts);
    options.library = managed.map(|managed| managed as Arc<dyn Library>);
    let keep_alive = matches.get_one::<Option<Duration>>("keep-alive").copied().flatten();
    let (patience, fixed) = (PATIENCE, None);
    options.residence =
        Some(Terms { budget, fixed, shared, keep_alive, patience, tree, stock: stock.clone() });
    let about = || format!("{}, {n_lanes} answers at a time", stock.about());
    let ready =
        |address: SocketAddr| say(format_args!("serving {}: http://{address} (Ctrl-C stops)", about()));
    serve(Vec::new(), options, env.interrupted.clone(), ready).map_err(|e| {
        match (stock.take_failure(), e.kind()) {
            (Some(failure), _) => failure,
            (None, ErrorKind::OutOfMemory) => Failure::memory(e),
            (None, _) => Failure::failed(format!("{host}:{port}: {e}")),
        }
    })?;
    Ok(Exit::OK)
}

/// A time, or none where it has no end.
fn time(text: &str) -> Result<Option<Duration>, String> {
    keep_alive(text).ok_or_else(|| "expected a time such as 10m, seconds, or -1 for no end".to_owned())
}

/// What a model is called: a file without its folder and ending.
fn short_name(model: &str) -> String {
    let name = model.trim_end_matches('/').rsplit('/').next().unwrap_or(model);
    name.strip_suffix(".gguf").unwrap_or(name).to_owned()
}

/// Keys from the file, and from the environment.
fn keys(matches: &ArgMatches, env: &Env) -> Result<Vec<ApiKey>, Failure> {
    let mut keys: Vec<ApiKey> = env.api_key.iter().map(ApiKey::plain).collect();
    if let Some(path) = text(matches, "api-key-file") {
        let lines = std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?;
        let before = keys.len();
        for (at, line) in lines.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |why| Failure::usage(format!("--api-key-file {path}: line {}: {why}", at + 1));
            keys.push(key(line).map_err(wrong)?);
        }
        if keys.len() == before {
            return Err(Failure::usage(format!(
                "--api-key-file {path}: no key in it, expected one to a line"
            )));
        }
    }
    Ok(keys)
}

/// A line of the file: `KEY`, or `NAME: KEY`, and behind either `route=auto`, `local` or `cloud`.
fn key(line: &str) -> Result<ApiKey, String> {
    let line = line.trim();
    let (line, route) = match line.rsplit_once(char::is_whitespace) {
        Some((before, last)) if last.starts_with("route=") => {
            let route = Wish::parse(&last["route=".len()..]);
            let expected = || format!("{last}, expected route=auto, route=local or route=cloud");
            (before.trim_end(), route.ok_or_else(expected)?)
        }
        _ => (line, Wish::Auto),
    };
    // A key may have a colon in it, and no name has a space.
    let (name, key) = match line.split_once(char::is_whitespace) {
        Some((name, key)) if name.len() > 1 && name.ends_with(':') => {
            (Some(&name[..name.len() - 1]), key.trim())
        }
        _ => (None, line),
    };
    if name.is_some_and(|name| name.len() > NAME_BYTES_MAX) {
        return Err(format!("a name of more than {NAME_BYTES_MAX} bytes"));
    }
    Ok(ApiKey { key: key.to_owned(), name: name.map(str::to_owned), route })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_have_a_name_and_a_route_and_old_files_mean_what_they_meant() {
        let read = |line: &str| key(line).map(|key| (key.name, key.key, key.route));
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(read(" sk-1 "), Ok((None, "sk-1".into(), Wish::Auto)));
        assert_eq!(read("a:b"), Ok((None, "a:b".into(), Wish::Auto)));
        assert_eq!(read("mail: sk-1"), Ok((name("mail"), "sk-1".into(), Wish::Auto)));
        assert_eq!(read("mail: sk-1 route=local"), Ok((name("mail"), "sk-1".into(), Wish::Local)));
        assert_eq!(read("sk-1 route=cloud"), Ok((None, "sk-1".into(), Wish::Cloud)));
        assert!(read("sk-1 route=moon").unwrap_err().contains("expected route=auto"));
        assert!(read(&format!("{}: k", "n".repeat(65))).unwrap_err().contains("64 bytes"));
    }

    #[test]
    fn a_model_is_called_by_its_files_name() {
        assert_eq!(short_name("/models/qwen3-0.6b-Q4_0.gguf"), "qwen3-0.6b-Q4_0");
        assert_eq!(short_name("folder/"), "folder");
        assert_eq!(short_name("user/repo:Q4_K_M"), "repo:Q4_K_M");
        assert_eq!(short_name("demo"), "demo");
    }
}
