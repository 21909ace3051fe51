//! `ingle release`: makes keys, signs models, and makes repositories of releases for those who ship models to devices.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ingle_store::release::make::{Contents, Expires, Made, Maker, Release, usual_open};
use ingle_store::release::offer::{Prompt, Revocation, Smoke, Terms};
use ingle_store::release::roles::{KeyFolder, PUBLISHER_PUBLIC, Quorum, ROLES};
use ingle_store::signing::keys::{PrivateKey, PublicKey};
use ingle_store::signing::{BUNDLE_NAME, read_bundle, sign, verify};
use serde::Deserialize;
use serde_json::json;

use super::{Verb, json_arg, print_json, text, text_arg};
use crate::env::{Env, say};
use crate::exit::{Exit, Failure};
use crate::updating::now;

pub static VERB: Verb = Verb {
    name: "release",
    about: "Sign models, and make repositories of releases that devices follow",
    examples: &[
        "ingle release keys KEYS --role root=2/3",
        "ingle release make FOLDER --keys KEYS -o REPOSITORY",
        "ingle release refresh REPOSITORY --keys KEYS",
        "ingle release rotate KEYS --role root",
        "ingle release sign MODEL_FOLDER --key KEYS/publisher.pem",
        "ingle release verify MODEL_FOLDER --key KEYS/publisher.pub.pem",
    ],
    args,
    run,
};

/// What there is to do.
struct Deed {
    name: &'static str,
    about: &'static str,
    run: fn(&Path, &ArgMatches, &Env) -> Result<serde_json::Value, Failure>,
}

static DEEDS: &[&Deed] = &[
    &Deed { name: "keys", about: "make a folder of keys", run: keys },
    &Deed {
        name: "make",
        about: "sign the releases of a folder with a release.toml into a repository",
        run: make,
    },
    &Deed { name: "refresh", about: "say anew that a repository has nothing newer", run: refresh },
    &Deed { name: "rotate", about: "give a role new keys", run: rotate },
    &Deed { name: "sign", about: "sign a model's folder", run: sign_folder },
    &Deed { name: "verify", about: "verify a model's folder", run: verify_folder },
];

fn args(command: Command) -> Command {
    let about: Vec<String> = DEEDS.iter().map(|deed| format!("{}: {}", deed.name, deed.about)).collect();
    let what = Arg::new("what")
        .value_name("WHAT")
        .required(true)
        .value_parser(DEEDS.iter().map(|d| d.name).collect::<Vec<_>>());
    let folder = Arg::new("folder").value_name("FOLDER").required(true).value_hint(clap::ValueHint::DirPath);
    command
        .arg(what.help(about.join("; ")))
        .arg(folder.help("The folder it is about"))
        .arg(text_arg("keys", "FOLDER", "make, refresh: the folder of keys"))
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FOLDER")
                .help("make: the repository, which is made or added to"),
        )
        .arg(
            text_arg(
                "role",
                "ROLE=M/N",
                "keys: N keys for a role, of which M must sign, 1/1 unless given; rotate: the role",
            )
            .action(ArgAction::Append),
        )
        .arg(text_arg("key", "FILE", "sign: the private key; verify: the public one"))
        .arg(text_arg("name", "NAME", "sign: the model's name, the folder's unless given"))
        .arg(json_arg())
}

fn run(matches: &ArgMatches, env: &mut Env) -> Result<Exit, Failure> {
    env.catch_ctrl_c();
    let what = text(matches, "what").expect("clap asks for it");
    let deed = DEEDS.iter().find(|deed| deed.name == what).expect("one of the choices");
    let folder = text(matches, "folder").expect("clap asks for it");
    let done = (deed.run)(Path::new(folder), matches, env)?;
    if matches.get_flag("json") {
        print_json(&done)?;
    }
    Ok(Exit::OK)
}

fn needed<'a>(matches: &'a ArgMatches, name: &str) -> Result<&'a str, Failure> {
    text(matches, name).ok_or_else(|| Failure::usage(format!("--{name} is needed for this")))
}

fn keys(folder: &Path, matches: &ArgMatches, _: &Env) -> Result<serde_json::Value, Failure> {
    let mut quorums = BTreeMap::new();
    for asked in matches.get_many::<String>("role").into_iter().flatten() {
        let parsed = asked.split_once('=').and_then(|(role, quorum)| {
            let (threshold, n_keys) = quorum.split_once('/')?;
            Some((
                role.to_owned(),
                Quorum { threshold: threshold.parse().ok()?, n_keys: n_keys.parse().ok()? },
            ))
        });
        let wrong = || Failure::usage(format!("--role {asked}: expected ROLE=M/N, as root=2/3"));
        quorums.extend([parsed.ok_or_else(wrong)?]);
    }
    let made = KeyFolder::create(folder, &quorums)?;
    let shown = folder.display();
    for role in ROLES {
        let holders = made.holders(role);
        say(format_args!("{role}: {} of {} keys sign", holders.threshold, holders.keys.len()));
    }
    say(format_args!(
        "devices need {shown}/{PUBLISHER_PUBLIC} and, once there is a repository, its metadata/1.root.json"
    ));
    say(format_args!(
        "whoever has the other .pem files of {shown} can publish; keep root.N.pem and publisher.pem offline, and leave their .pub.pem here"
    ));
    Ok(json!({ "folder": folder, "roles": ROLES.map(|role| made.holders(role).clone()) }))
}

fn rotate(folder: &Path, matches: &ArgMatches, _: &Env) -> Result<serde_json::Value, Failure> {
    let role = needed(matches, "role")?;
    let keys = KeyFolder::open(folder)?.rotate(role)?;
    say(format_args!(
        "{role} has new keys; the next `ingle release make` or `refresh` says so, signed by the old root's keys too"
    ));
    Ok(json!({ "role": role, "holders": keys.holders(role) }))
}

/// `release.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    #[serde(default)]
    expires_days: Expires,
    #[serde(default)]
    models: BTreeMap<String, ModelPlan>,
    #[serde(default)]
    revoked: Vec<Revocation>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelPlan {
    version: u64,
    folder: PathBuf,
    open: Option<String>,
    #[serde(default = "everybody")]
    percent: u8,
    #[serde(default)]
    salt: String,
    #[serde(default = "first")]
    minimum_version: u64,
    #[serde(default)]
    smoke: SmokePlan,
}

fn everybody() -> u8 {
    100
}

fn first() -> u64 {
    1
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct SmokePlan {
    text: Option<String>,
    perplexity_max: Option<f64>,
    perplexity_ctx: Option<u32>,
    tokens_per_second_min: Option<f64>,
    ram_bytes_max: Option<u64>,
    prompts: Vec<Prompt>,
}

impl SmokePlan {
    /// With whole numbers, which signed metadata knows.
    fn fixed(self) -> Result<Smoke, Failure> {
        let milli = |name: &str, value: Option<f64>| match value {
            None => Ok(None),
            Some(value) if value > 0.0 && value < 1e12 => Ok(Some((value * 1000.0).round() as u64)),
            Some(value) => {
                Err(Failure::usage(format!("release.toml: {name} = {value}: expected a number above 0")))
            }
        };
        Ok(Smoke {
            perplexity_max_milli: milli("perplexity_max", self.perplexity_max)?,
            tokens_per_second_min_milli: milli("tokens_per_second_min", self.tokens_per_second_min)?,
            text: self.text,
            perplexity_ctx: self.perplexity_ctx,
            ram_bytes_max: self.ram_bytes_max,
            prompts: self.prompts,
        })
    }
}

fn make(folder: &Path, matches: &ArgMatches, env: &Env) -> Result<serde_json::Value, Failure> {
    let path = folder.join("release.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| Failure::file(&path, &e))?;
    let plan: Plan = toml::from_str(&text).map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    let mut releases = Vec::new();
    for (model, ModelPlan { version, folder: below, open, percent, salt, minimum_version, smoke }) in
        plan.models
    {
        let from = folder.join(below);
        let open = open.map_or_else(|| usual_open(&from), Ok)?;
        let terms = Terms { open, percent, salt, minimum_version, smoke: smoke.fixed()? };
        releases.push(Release { model, version, folder: from, terms });
    }
    let repository = Path::new(needed(matches, "output")?);
    let keys = KeyFolder::open(Path::new(needed(matches, "keys")?))?;
    let maker = Maker { repository, keys: &keys, now: now() };
    let stop = || env.interrupted.load(Relaxed);
    let contents = Contents { releases, revoked: plan.revoked, expires: plan.expires_days };
    let made = maker.make(&contents, &stop, &mut |_| {})?.ok_or_else(Failure::interrupted)?;
    Ok(told(repository, &made))
}

fn refresh(repository: &Path, matches: &ArgMatches, _: &Env) -> Result<serde_json::Value, Failure> {
    let keys = KeyFolder::open(Path::new(needed(matches, "keys")?))?;
    let made = Maker { repository, keys: &keys, now: now() }.refresh()?;
    Ok(told(repository, &made))
}

fn told(repository: &Path, made: &Made) -> serde_json::Value {
    let versions: BTreeMap<&str, u64> = ROLES.into_iter().zip(made.versions).collect();
    let said: Vec<String> = versions.iter().map(|(role, version)| format!("{role} {version}")).collect();
    let n_targets = made.n_targets;
    say(format_args!(
        "{}: {n_targets} targets; {}; any web server can serve it",
        repository.display(),
        said.join(", ")
    ));
    json!({ "repository": repository, "n_targets": n_targets, "versions": versions })
}

fn key_text(matches: &ArgMatches) -> Result<(&str, String), Failure> {
    let path = needed(matches, "key")?;
    Ok((path, std::fs::read_to_string(path).map_err(|e| Failure::file(path, &e))?))
}

fn sign_folder(folder: &Path, matches: &ArgMatches, env: &Env) -> Result<serde_json::Value, Failure> {
    let (path, pem) = key_text(matches)?;
    let key = PrivateKey::from_pem(path, &pem)?;
    let own = folder.canonicalize().map_err(|e| Failure::file(folder, &e))?;
    let own = own.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = text(matches, "name").unwrap_or(&own);
    let stop = || env.interrupted.load(Relaxed);
    let bundle = sign(folder, name, &key, &stop, &mut |_| {})?.ok_or_else(Failure::interrupted)?;
    let to = folder.join(BUNDLE_NAME);
    std::fs::write(&to, bundle).map_err(|e| Failure::file(&to, &e))?;
    say(format_args!("{}: signed as {name} with the key {}", to.display(), key.public().hint()));
    Ok(json!({ "bundle": to, "name": name, "key": key.public().hint() }))
}

fn verify_folder(folder: &Path, matches: &ArgMatches, env: &Env) -> Result<serde_json::Value, Failure> {
    let (path, pem) = key_text(matches)?;
    let key = PublicKey::from_pem(path, &pem)?;
    let bundle = folder.join(BUNDLE_NAME);
    if !bundle.is_file() {
        return Err(Failure::not_found(format!(
            "{}: no such file; ingle release sign makes one",
            bundle.display()
        )));
    }
    let stop = || env.interrupted.load(Relaxed);
    let statement = verify(folder, &read_bundle(folder)?, &key, &stop, &mut |_| {})?;
    let statement = statement.ok_or_else(Failure::interrupted)?;
    let (name, n_files) = (statement.name(), statement.files().len());
    say(format_args!("{}: {n_files} files are what {path} signed as {name}", folder.display()));
    Ok(json!({ "name": name, "digest": statement.root(), "n_files": n_files }))
}
